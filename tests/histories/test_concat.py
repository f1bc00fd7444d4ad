"""Batches of histories are joined by user, events in order of time, and nothing is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories

briefly = settings(max_examples=30)

ITEMS, USERS = ["tea", "cup", "pot", "äxe"], ["bob", "ann", "Ann", "0"]


@st.composite
def logs(draw):
    """Return one to four logs of (user, item, time, weight), and which columns are used."""
    texts = draw(st.booleans())
    items = st.sampled_from(ITEMS if texts else [3, 0, 2**40, 7])
    users = st.sampled_from(USERS if texts else [-1, 5, 0, 2**33])
    times, weights = st.integers(0, 4), st.sampled_from([-1.0, 0.0, 2.5])
    event = st.tuples(users, items, times, weights)
    log = st.tuples(st.lists(event, max_size=8), st.sets(users, max_size=2))
    batches = draw(st.lists(log, min_size=1, max_size=4))
    return batches, draw(st.sampled_from(["s", "us", None])), draw(st.booleans())


def batch_of(log, unit, weighted):
    """Return the events and the users without events as Histories, users as they appear."""
    events, others = log
    users = list(dict.fromkeys([*(event[0] for event in events), *sorted(others)]))
    rows = [[event for event in events if event[0] == user] for user in users]
    times = [[event[2] for event in row] for row in rows]
    if unit == "us":
        times = [[np.datetime64(time, "D") for time in row] for row in times]
    return Histories.from_lists(
        [[event[1] for event in row] for row in rows],
        timestamps=times if unit else None,
        weights=[[event[3] for event in row] for row in rows] if weighted else None,
        user_ids=users,
    )


@briefly
@given(logs())
def test_the_result_is_that_of_a_slow_loop(drawn):
    batches, unit, weighted = drawn
    expected = {}
    for events, others in batches:
        for user in dict.fromkeys([*(event[0] for event in events), *sorted(others)]):
            expected.setdefault(user, []).extend(event for event in events if event[0] == user)
    joined = Histories.concat([batch_of(log, unit, weighted) for log in batches])
    assert joined.user_ids.tolist() == list(expected)
    for row, events in enumerate(expected.values()):
        events = sorted(events, key=lambda event: event[2]) if unit else events
        at = slice(joined.offsets[row], joined.offsets[row + 1])
        assert joined[row].tolist() == [event[1] for event in events]
        if unit and events:
            days = joined.timestamps[at].astype("datetime64[D]" if unit == "us" else float)
            assert days.astype(float).tolist() == [event[2] for event in events]
        if weighted and events:
            assert joined.weights[at].tolist() == [event[3] for event in events]
    # The parts are valid, as the constructor sees them.
    Histories(
        joined.codes,
        joined.offsets,
        joined.item_ids,
        timestamps=joined.timestamps,
        weights=joined.weights,
        user_ids=joined.user_ids,
    )


def histories(**columns):
    return Histories.from_lists([[1, 2], [3]], user_ids=["ann", "bob"], **columns)


def test_an_event_that_is_in_two_batches_is_kept_twice():
    one = histories(timestamps=[[1, 2], [3]])
    twice = Histories.concat([one, one])
    assert [row.tolist() for row in twice] == [[1, 1, 2, 2], [3, 3]]
    pytest.importorskip("pandas")
    once = Histories.from_frame(twice.to_frame().drop_duplicates())
    assert once.to_frame().equals(one.to_frame())


def test_a_batch_without_events_needs_no_columns_and_brings_its_users():
    empty = Histories.from_lists([[], []], user_ids=["bob", "eve"])
    full = histories(timestamps=[[1, 2], [3]], weights=[[1, 2], [3]])
    joined = Histories.concat([empty, full])
    assert joined.user_ids.tolist() == ["bob", "eve", "ann"]
    assert joined.timestamps.tolist() == [3, 1, 2]
    assert Histories.concat([empty, empty]).timestamps is None


def test_the_newest_features_that_are_known_count():
    one = histories().with_user_features([[1, 1], [2, 2]])
    two = Histories.from_lists([[1], [1], [1]], user_ids=["bob", "ann", "eve"])
    later = two.with_user_features([[3, 3], [np.nan] * 2, [np.nan] * 2])
    joined = Histories.concat([one, later, two])
    np.testing.assert_array_equal(joined.user_features, [[1, 1], [3, 3], [np.nan] * 2])
    with pytest.raises(ValueError, match=r"same columns in all batches, got \[1, 2\] columns"):
        Histories.concat([one, two.with_user_features([[1], [1], [1]])])


@pytest.mark.parametrize("name", ["timestamps", "weights"])
def test_a_column_that_only_some_batches_have_is_refused(name):
    with_column = histories(**{name: [[1, 2], [3]]})
    for batches, lacks, has in (
        ([with_column, histories()], 1, 0),
        ([histories(), with_column], 0, 1),
    ):
        message = rf"position {lacks} has no {name}, but the one at position {has} has.*or none"
        with pytest.raises(ValueError, match=message):
            Histories.concat(batches)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Histories.from_lists([[1]]), r"batch at position 1 has none\. Build it with user_ids"),
        (
            Histories.from_lists([[1], [2]], user_ids=["a", "a"]),
            r"user_ids of the batch at position 1 must be distinct.*'a' \(row 1\)",
        ),
        (Histories.from_lists([[1]], user_ids=[1]), r"user_ids must be of one type, got 1"),
        (Histories.from_lists([["1"]], user_ids=["a"]), r"item_ids must be of one type, got '1'"),
    ],
)
def test_batches_that_cannot_be_joined_are_named(other, message):
    with pytest.raises(ValueError, match=message):
        Histories.concat([histories(), other])
