"""The averages against a slow loop in float64, and the notebook's figures."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    MixedUserEncoder,
    RecallAtK,
    leave_last_out,
)
from skue.datasets import make_user_histories

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(6, 4)))
SECONDS = {"s": 1, "m": 60, "h": 3600, "D": 86400, "W": 604800}


def slow_average(events, decay, unit, exponent, max_history=None):
    """Average of (item, time, weight) events, oldest first; None where there is no direction."""
    known = [event for event in events if event[0] < len(ITEMS)]
    known = known[-max_history:] if max_history else known
    ages = []
    for position, (_, time, _) in enumerate(known):
        if unit == "step":
            ages.append(len(known) - 1 - position)
        elif unit == "instant":
            ages.append(len({later for _, later, _ in known if later > time}))
        else:
            ages.append((known[-1][1] - time) / SECONDS[unit])
    sums, masses = {}, {}
    for (item, _, weight), age in zip(known, ages, strict=True):
        if exponent == 0:  # only signs count, and a factor common to an item's events has none
            age -= min(a for (other, _, _), a in zip(known, ages, strict=True) if other == item)
        pull = np.exp(-decay * age)
        sums[item] = sums.get(item, 0.0) + weight * pull
        masses[item] = masses.get(item, 0.0) + abs(weight) * pull
    total, mass = np.zeros(4), 0.0
    for item, value in sums.items():
        if masses[item] == 0 or abs(value) <= 1e-12 * masses[item]:
            continue
        coefficient = np.sign(value) * abs(value) ** exponent
        total += coefficient * ITEMS.vectors[item].astype(float)
        mass += abs(coefficient)
    if mass < 1e-290:  # after a late event of weight 0, the sums themselves lose their digits
        return None
    total /= mass  # so that squares do not underflow
    norm = np.linalg.norm(total)
    # Between the rule's bound and the reach of rounding either answer is right.
    return total / norm if norm > 1e-4 else None


events = st.tuples(
    st.integers(0, 8),
    st.integers(0, 60 * 365 * 86400),
    st.sampled_from([1.0, 2.0, 0.25, -1.0, 0.0]),
)
histories = st.lists(
    st.lists(events, max_size=7).map(lambda h: sorted(h, key=lambda event: event[1])),
    min_size=1,
    max_size=4,
)


def as_batch(users):
    return Histories.from_lists(
        [[item for item, _, _ in user] for user in users],
        timestamps=[[float(time) for _, time, _ in user] for user in users],
        time_unit="s",
        weights=[[weight for _, _, weight in user] for user in users],
    )


@settings(max_examples=80, deadline=None)
@given(
    histories,
    st.sampled_from([0.0, 0.07, 1.0, 30.0]),
    st.sampled_from(["step", "instant", *SECONDS]),
    st.sampled_from([1.0, 0.5, 0.0]),
    st.sampled_from([None, 1, 3]),
)
@example([[(0, 0, 1.0), (0, 5268, 0.0)]], 0.07, "s", 1.0, None)
def test_the_average_matches_a_slow_loop(users, decay, unit, exponent, max_history):
    encoder = DecayAverageUserEncoder(
        ITEMS,
        decay=decay,
        age_unit=unit,
        repeat_exponent=exponent,
        max_history=max_history,
        cold_start="popular",
    ).fit([[0, 1, 2]])
    vectors = encoder.transform(as_batch(users))
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for vector, user in zip(vectors, users, strict=True):
        expected = slow_average(user, decay, unit, exponent, max_history)
        if expected is not None:
            np.testing.assert_allclose(vector, expected, atol=2e-4)


@settings(max_examples=30, deadline=None)
@given(histories, st.sampled_from([0.0, 0.2, 1.0]))
def test_the_mix_matches_a_slow_loop(users, share):
    encoder = MixedUserEncoder(
        ITEMS, long_decay=0.01, short_decay=0.5, short_weight=share, cold_start="popular"
    ).fit([[0, 1, 2]])
    vectors = encoder.transform(as_batch(users))
    assert np.isfinite(vectors).all()
    for vector, user in zip(vectors, users, strict=True):
        slow = slow_average(user, 0.01, "step", 1.0)
        fast = slow_average(user, 0.5, "step", 1.0)
        if slow is None or fast is None:
            continue
        mixed = (1 - share) * slow + share * fast
        if np.linalg.norm(mixed) > 1e-3:
            np.testing.assert_allclose(vector, mixed / np.linalg.norm(mixed), atol=5e-4)


def test_unknown_events_do_not_age_the_known_ones():
    """With their steps counted, the weights of both known events would underflow to zero."""
    encoder = DecayAverageUserEncoder(ITEMS, decay=0.5).fit([[0]])
    vector = encoder.transform([[0, 1, *[99] * 30_000]])[0]
    expected = np.exp(-0.5) * ITEMS.vectors[0] + ITEMS.vectors[1]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_events_of_sixty_years_ago_do_not_underflow():
    batch = Histories.from_lists([[0, 1]], timestamps=[[0.0, 60 * 365.25 * 86400]], time_unit="s")
    encoder = DecayAverageUserEncoder(ITEMS, decay=1.0, age_unit="s").fit(batch)
    np.testing.assert_allclose(encoder.transform(batch)[0], ITEMS.vectors[1], atol=1e-6)


def test_repeat_exponent_zero_keeps_the_oldest_item():
    encoder = DecayAverageUserEncoder(ITEMS, decay=5.0, repeat_exponent=0.0).fit([[0]])
    vector = encoder.transform([[0, *[1] * 30_000]])[0]
    expected = ITEMS.vectors[0] + ITEMS.vectors[1]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_an_event_loses_half_its_weight_in_one_half_life(exponent):
    items = ItemEmbeddings(np.eye(2))
    decay = 0.07
    half_life = np.log(2) / (exponent * decay)
    batch = Histories.from_lists([[0, 1]], timestamps=[[0.0, half_life * 86400]], time_unit="s")
    encoder = DecayAverageUserEncoder(
        items, decay=decay, age_unit="D", repeat_exponent=exponent
    ).fit(batch)
    old, new = encoder.transform(batch)[0]
    assert old / new == pytest.approx(0.5, rel=1e-4)


@pytest.fixture(scope="module")
def notebook():
    data = make_user_histories()
    return data, *leave_last_out(data.histories)


def test_the_generated_data_match_the_notebook(notebook):
    first = notebook[0].histories[0][:10]
    assert first.tolist() == [1348, 355, 880, 446, 1348, 1348, 1348, 1348, 1348, 862]


@pytest.mark.parametrize(
    ("encoder", "at_20", "at_50"),
    [
        (DecayAverageUserEncoder(decay=0.07), 0.7387, 0.7727),
        (MixedUserEncoder(long_decay=0.01, short_decay=0.15, short_weight=0.6), 0.7380, 0.7717),
    ],
    ids=["decay", "mix"],
)
def test_the_averages_reach_the_recalls_of_the_notebook(notebook, encoder, at_20, at_50):
    data, X, y = notebook
    encoder.set_params(item_embeddings=data.item_embeddings).fit(X)
    assert RecallAtK(20)(encoder, X, y) == pytest.approx(at_20, abs=5e-4)
    assert RecallAtK(50)(encoder, X, y) == pytest.approx(at_50, abs=5e-4)


@pytest.mark.slow
def test_the_average_reaches_its_documented_recall_on_reviews(real_data):
    from skue import load_interactions

    log = load_interactions(real_data / "amazon-beauty.txt")
    queries, targets = leave_last_out(log)
    # The last item but one is for validation: nothing is learned from it.
    encoder = DecayAverageUserEncoder(decay=0.5).fit(leave_last_out(queries)[0])
    assert RecallAtK(10, exclude_seen=True)(encoder, queries, targets) >= 0.063
