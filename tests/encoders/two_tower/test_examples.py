"""What the two-tower encoder learns from: prefixes, held-out events, event dropout."""

import numpy as np
import pytest

from skue import Histories
from skue.encoders._events import Events
from skue.encoders.two_tower._examples import batch_of, examples_of, held_out_events, sequences_of


def events_of(lists, timestamps=None, weights=None):
    batch = Histories.from_lists(lists, timestamps=timestamps, weights=weights)
    return Events(batch.codes, batch.offsets, batch.timestamps, batch.weights)


def test_a_prefix_is_all_events_before_the_instant_of_its_target():
    sequences = sequences_of(events_of([[5, 6, 7, 8], [5, 5]], [[0.0, 1, 1, 2], [3.0, 3]]))
    examples, events = examples_of(sequences)
    assert events.tolist() == [1, 2, 3]
    assert examples.starts.tolist() == [0, 0, 0]
    assert examples.stops.tolist() == [1, 1, 3]
    assert examples.targets.tolist() == [1, 2, 3]


def test_disliked_items_are_not_targets():
    sequences = sequences_of(events_of([[5, 6, 7, 8]], weights=[[1.0, -1, 0, 2]]))
    assert examples_of(sequences)[1].tolist() == [3]


@pytest.mark.parametrize("fraction", [0.2, 0.999])
def test_validation_never_holds_out_a_whole_history_or_part_of_an_instant(fraction):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, size=300)
    times = [np.sort(rng.integers(0, 6, size=n)).astype(float) for n in lengths]
    events = events_of([rng.integers(5, size=n) for n in lengths], times)
    sequences = sequences_of(events)
    held_out = held_out_events(events.offsets, sequences.opens, fraction, rng)
    touched = 0
    for start, stop in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        kept, own = ~held_out[start:stop], events.timestamps[start:stop]
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


def test_event_dropout_keeps_at_least_one_event():
    sequences = sequences_of(events_of([[1], [2, 3]] * 50))
    starts, stops = sequences.offsets[:-1], sequences.offsets[1:]
    batch = batch_of(sequences, starts, stops, event_dropout=0.99, rng=np.random.default_rng(0))
    assert (batch.present.sum(axis=1) >= 1).all()
