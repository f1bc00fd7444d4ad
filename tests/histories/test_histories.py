"""The container: building, slicing, and errors for invalid input."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories
from skue.histories._vocabulary import Vocabulary

briefly = settings(max_examples=30)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=3)
ids = st.one_of(
    st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6),
    st.lists(st.lists(texts, max_size=5), max_size=6),
)


def listed(histories):
    return [row.tolist() for row in histories]


@briefly
@given(ids)
def test_lists_round_trip(lists):
    assert listed(Histories.from_lists(lists)) == lists


@briefly
@given(ids, st.data())
def test_slicing_equals_that_of_a_list(lists, data):
    histories = Histories.from_lists(lists)
    key = data.draw(st.slices(len(lists)))
    assert listed(histories[key]) == lists[key]


@briefly
@given(ids, st.data())
def test_a_mask_and_its_positions_select_the_same_users(lists, data):
    histories = Histories.from_lists(lists)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists))))
    mask = mask.astype(bool)
    expected = [row for row, keep in zip(lists, mask, strict=True) if keep]
    assert listed(histories[mask]) == expected
    assert listed(histories[np.flatnonzero(mask)]) == expected
    assert listed(histories[np.flatnonzero(mask), ...]) == expected


@briefly
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 5)), max_size=20))
def test_a_frame_is_sorted_by_user_then_time_and_the_sort_is_stable(rows):
    columns = {
        "u": np.array([row[0] for row in rows], dtype=np.int64),
        "i": np.array([row[1] for row in rows], dtype=np.int64),
        "t": np.array([row[2] for row in rows], dtype=np.float64),
    }
    histories = Histories.from_frame(columns, user="u", item="i", time="t")
    users = sorted({row[0] for row in rows})
    expected = [
        [item for _, item in sorted(((t, i) for u, i, t in rows if u == user), key=lambda e: e[0])]
        for user in users
    ]
    assert histories.user_ids.tolist() == users
    assert listed(histories) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 5], [0, 2], [1, 2]), "positions in item_ids .0 to 1., got 5 at event 1"),
        (([0, 1], [0, 2, 1, 2], [1, 2]), "start at 0 and not decrease, got 1 at position 2"),
        (([0, 1], [0, 1], [1, 2]), "offsets end at 1, but there are 2 codes"),
        (([0, 1], [1, 2], [1, 2]), "must start at 0 and not decrease, got 1 at position 0"),
        (([0, 0], [0, 2], [1, 1]), "must be distinct, but these appear again: 1 .row 1."),
    ],
)
def test_inconsistent_columns_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Histories(*arguments)


@pytest.mark.parametrize(
    ("lists", "options", "message"),
    [
        ([[1, 2]], {"timestamps": [[1]]}, "got 1 timestamps for 2 items at row 0"),
        ([[1, 2]], {"weights": [[1, np.nan]]}, "weights must be finite, got nan at row 0, event 1"),
        ([[1, 2]], {"timestamps": [[1, np.nan]]}, "row 0, event 1: the timestamp is empty"),
        ([[1, 2]], {"timestamps": [["x", "y"]]}, "row 0, event 0: the timestamp holds 'x'"),
        ([[1], [2]], {"user_ids": ["a"]}, "user_ids must have one value for each of 2 histories"),
        ([[1], ["a"]], {}, "mix types.*'a' at row 1, event 0"),
        ([[], [1, 1.5]], {}, "whole numbers or strings, got 1.5 at row 1, event 1"),
        ([[1], [None]], {}, "integers or strings, got None at row 1, event 0"),
        ([[4], [5, -1]], {}, "must not be negative or empty, got -1 at row 1, event 1"),
        ([1, 2], {}, "one sequence per user, got 1 at row 0"),
    ],
)
def test_invalid_lists_are_refused(lists, options, message):
    with pytest.raises(ValueError, match=message):
        Histories.from_lists(lists, **options)


@briefly
@given(st.lists(st.integers(-50, 50), unique=True), st.lists(st.integers(-60, 60)))
def test_look_up_of_integers_equals_that_of_a_dict(known, values):
    positions = {value: position for position, value in enumerate(known)}
    expected = [positions.get(value, -1) for value in values]
    assert Vocabulary(known).lookup(values).tolist() == expected


@briefly
@given(st.lists(texts, unique=True), st.lists(texts))
def test_look_up_of_strings_equals_that_of_a_dict(known, values):
    positions = {value: position for position, value in enumerate(known)}
    expected = [positions.get(value, -1) for value in values]
    assert Vocabulary(known).lookup(values).tolist() == expected


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (np.array([1.7e9, 1.8e9], dtype=object), [1.7e9, 1.8e9]),
        (np.array([1, 2], dtype=np.int8), [1.0, 2.0]),
        ([dt.date(2026, 1, 1), dt.date(2026, 1, 2)], ["2026-01-01", "2026-01-02"]),
    ],
)
def test_times_of_the_constructor_are_seconds_or_dates(times, expected):
    histories = Histories([0, 1], [0, 2], ["a", "b"], timestamps=times)
    expected = np.array(expected, dtype=None if isinstance(expected[0], float) else "M8[us]")
    assert histories.timestamps.dtype == expected.dtype
    np.testing.assert_array_equal(histories.timestamps, expected)


@pytest.mark.parametrize("key", [True, np.True_, [[0, 1]], [0.5]])
def test_other_indices_are_refused(key):
    with pytest.raises(IndexError, match="Users are selected by an integer, a slice"):
        Histories.from_lists([["a"], ["b"]])[key]
