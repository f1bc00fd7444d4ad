"""What the two-tower encoder learns from: prefixes, held-out events, event dropout."""

import numpy as np
import pytest

from skue import Histories
from skue.encoders._events import Events
from skue.encoders.two_tower import _examples
from skue.encoders.two_tower._examples import (
    Targets,
    batch_of,
    examples_of,
    sequences_of,
    target_events,
)
from skue.encoders.two_tower._start_spaces import held_out_of


def events_of(lists, timestamps=None, weights=None):
    batch = Histories.from_lists(lists, timestamps=timestamps, weights=weights)
    return Events(batch.codes, batch.offsets, batch.timestamps, batch.weights)


def test_a_prefix_is_all_events_before_the_instant_of_its_target():
    sequences = sequences_of(events_of([[5, 6, 7, 8], [5, 5]], [[0.0, 1, 1, 2], [3.0, 3]]))
    events = np.flatnonzero(target_events(sequences))
    assert events.tolist() == [1, 2, 3]
    examples = examples_of(sequences, events)
    assert examples.starts.tolist() == [0, 0, 0]
    assert examples.stops.tolist() == [1, 1, 3]
    assert examples.targets.tolist() == [1, 2, 3]


@pytest.mark.parametrize("fraction", [0.2, 0.999])
def test_validation_never_holds_out_a_whole_history_or_part_of_an_instant(fraction):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, size=300)
    times = [np.sort(rng.integers(0, 6, size=n)).astype(float) for n in lengths]
    log = Histories.from_lists([rng.integers(5, size=n) for n in lengths], timestamps=times)
    held_out = held_out_of(log, fraction, rng)
    touched = 0
    for start, stop in zip(log.offsets[:-1], log.offsets[1:], strict=True):
        kept, own = ~held_out[start:stop], log.timestamps[start:stop]
        assert kept.any()
        if kept.all():
            continue
        touched += 1
        assert own[kept].max() < own[~kept].min()
    able = sum(len(set(own)) > 1 for own in times)
    assert touched == round(fraction * able)


def test_event_dropout_drops_its_share_and_does_not_age_the_rest():
    n_users, n_events, share = 400, 30, 0.4
    sequences = sequences_of(events_of([list(range(n_events))] * n_users))
    stops = sequences.offsets[1:]
    batch = batch_of(
        sequences,
        sequences.offsets[:-1],
        stops,
        event_dropout=share,
        rng=np.random.default_rng(0),
    )
    assert batch.present.mean(axis=None) * batch.present.shape[1] == pytest.approx(
        (1 - share) * n_events, rel=0.02
    )
    for user in range(n_users):
        shown = batch.present[user]
        assert shown.any()
        rows, ages = batch.rows[user][shown], batch.ages[user][shown]
        assert (np.diff(rows) < 0).all()
        np.testing.assert_array_equal(ages, np.arange(len(ages)))


def random_log(rng, n_users=60):
    lengths = rng.integers(0, 90, size=n_users)
    times = [np.sort(rng.integers(0, 40, size=n)).astype(float) for n in lengths]
    return events_of([rng.integers(5, size=n) for n in lengths], times)


def test_targets_and_places_are_the_same_when_a_log_is_read_in_stretches(monkeypatch):
    events = random_log(np.random.default_rng(0))
    whole = sequences_of(events)
    targets, shares = target_events(whole), Targets(whole, target_events(whole)).shares(5)
    monkeypatch.setattr(_examples, "_STRETCH", 50)
    assert len(list(_examples.stretches(events.offsets))) > 20
    parts = sequences_of(events)
    np.testing.assert_array_equal(parts.place, whole.place)
    np.testing.assert_array_equal(target_events(parts), targets)
    np.testing.assert_allclose(Targets(parts, targets).shares(5), shares)


def test_ages_in_a_batch_count_the_later_instants_of_the_prefix():
    events = random_log(np.random.default_rng(1))
    sequences = sequences_of(events)
    chosen = np.flatnonzero(target_events(sequences))[::7]
    examples = examples_of(sequences, chosen)
    batch = batch_of(sequences, examples.starts, examples.stops)
    for row, (start, stop) in enumerate(zip(examples.starts, examples.stops, strict=True)):
        own = events.timestamps[start:stop][::-1]
        expected = [len({later for later in own if later > time}) for time in own]
        assert batch.ages[row][batch.present[row]].tolist() == expected


def test_an_epoch_draws_about_50_targets_of_a_user_with_many():
    sequences = sequences_of(events_of([list(range(1000)), [1, 2, 3]]))
    targets = Targets(sequences, target_events(sequences))
    assert len(targets) == 999 + 2
    rng = np.random.default_rng(0)
    drawn = [targets.draw(rng) for _ in range(200)]
    long = [np.count_nonzero(events < 1000) for events in drawn]
    assert np.mean(long) == pytest.approx(50, abs=2)
    assert all({1001, 1002} <= set(events) for events in drawn)
