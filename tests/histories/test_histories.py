"""The container: building, slicing, and errors for invalid input."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories, as_histories
from skue.histories._vocabulary import Vocabulary

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=3)
ids = st.one_of(
    st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6),
    st.lists(st.lists(texts, max_size=5), max_size=6),
)


def listed(histories):
    return [row.tolist() for row in histories]


@given(ids)
def test_lists_round_trip(lists):
    assert listed(Histories.from_lists(lists)) == lists


@given(ids, st.data())
def test_slicing_equals_that_of_a_list(lists, data):
    histories = Histories.from_lists(lists)
    key = data.draw(st.slices(len(lists)))
    assert listed(histories[key]) == lists[key]


@given(ids, st.data())
def test_a_mask_and_its_positions_select_the_same_users(lists, data):
    histories = Histories.from_lists(lists)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists))))
    mask = mask.astype(bool)
    expected = [row for row, keep in zip(lists, mask, strict=True) if keep]
    assert listed(histories[mask]) == expected
    assert listed(histories[np.flatnonzero(mask)]) == expected
    assert listed(histories[np.flatnonzero(mask), ...]) == expected


@given(ids)
def test_slices_share_the_item_ids(lists):
    histories = Histories.from_lists(lists)
    assert histories[::2].vocabulary is histories.vocabulary


def test_slices_keep_times_weights_and_user_ids():
    histories = Histories.from_lists(
        [[1, 2], [3]], timestamps=[[5, 6], [7]], weights=[[1, -1], [2]], user_ids=["a", "b"]
    )
    part = histories[1:]
    assert part.timestamps.tolist() == [7]
    assert part.weights.tolist() == [2]
    assert part.user_ids.tolist() == ["b"]


def test_histories_look_like_a_column_to_scikit_learn():
    histories = Histories.from_lists([[1], [2], [3]])
    assert len(histories) == 3
    assert histories.shape == (3,)


def test_columns_are_read_only():
    histories = Histories.from_lists([[1, 2]])
    with pytest.raises(ValueError, match="read-only"):
        histories.codes[0] = 1


@settings(max_examples=50)
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


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_every_kind_of_frame_gives_the_same_histories(library):
    module = pytest.importorskip(library)
    data = {"u": ["b", "a", "b"], "i": [7, 8, 9], "w": [1.0, 2.0, -1.0], "t": [3, 1, 2]}
    make = module.table if library == "pyarrow" else module.DataFrame
    histories = Histories.from_frame(make(data), user="u", item="i", time="t", weight="w")
    assert histories.user_ids.tolist() == ["a", "b"]
    assert listed(histories) == [[8], [9, 7]]
    assert histories.weights.tolist() == [2.0, -1.0, 1.0]


def test_to_frame_round_trips():
    pytest.importorskip("pandas")
    histories = Histories.from_lists(
        [[1, 2], [3]], timestamps=[[5, 6], [7]], weights=[[1, -1], [2]], user_ids=["a", "b"]
    )
    again = Histories.from_frame(
        histories.to_frame(), user="user", item="item", time="time", weight="weight"
    )
    assert listed(again) == listed(histories)
    assert again.weights.tolist() == histories.weights.tolist()


def test_lists_are_sorted_by_time():
    histories = Histories.from_lists([["b", "a", "c"]], timestamps=[[2, 1, 2]])
    assert listed(histories) == [["a", "b", "c"]]


def test_a_negative_item_in_a_list_is_refused():
    with pytest.raises(ValueError, match="must not be negative or empty, got -1 at row 1, event 1"):
        Histories.from_lists([[4], [5, -1]])


def test_negative_numbers_in_a_2d_array_are_padding():
    histories = as_histories(np.array([[-1, 4, -1], [5, -2, -1]]))
    assert listed(histories) == [[4], [5]]


def test_negative_user_ids_are_ids():
    log = {"user": [-1, 3, -7], "item": [5, 6, 7]}
    assert Histories.from_frame(log, user="user", item="item").user_ids.tolist() == [-7, -1, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 5], [0, 2], [1, 2]), "positions in item_ids .0 to 1., got 5 at event 1"),
        (([0, 1], [0, 2, 1, 2], [1, 2]), "must not decrease, got 2 then 1 at user 1"),
        (([0, 1], [0, 1], [1, 2]), "offsets end at 1, but there are 2 codes"),
        (([0, 1], [1, 2], [1, 2]), "must start at 0"),
        (([0, 0], [0, 2], [1, 1]), "must be distinct, but these appear again: 1 .row 1."),
    ],
)
def test_inconsistent_columns_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Histories(*arguments)


def test_decreasing_times_are_refused():
    with pytest.raises(ValueError, match=r"must not decrease within a user.*at user 1"):
        Histories([0, 0, 0], [0, 1, 3], [1], timestamps=[9.0, 2.0, 1.0])


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
        ([[True]], {}, "integers or strings, got True"),
        ([1, 2], {}, "one sequence per user, got 1 at row 0"),
        ([[5, 2**70]], {}, "hold 1180591620717411303424 at row 0, event 1, beyond 64 bits"),
    ],
)
def test_invalid_lists_are_refused(lists, options, message):
    with pytest.raises(ValueError, match=message):
        Histories.from_lists(lists, **options)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("i", "row 1: column 'i' is empty"),
        ("t", "row 1: column 't' is empty"),
    ],
)
def test_a_missing_id_or_time_is_named_by_row(column, message):
    data = {"u": np.array([1.0, 2.0]), "i": np.array([1.0, 2.0]), "t": np.array([1.0, 2.0])}
    data[column] = np.array([1.0, np.nan])
    with pytest.raises(ValueError, match=message):
        Histories.from_frame(data, user="u", item="i", time="t")


def test_columns_can_be_named_by_numbers():
    log = {0: np.array([1, 1]), 1: np.array([7, 8]), 3: np.array([20.0, 10.0])}
    assert Histories.from_frame(log, user=0, item=1, time=3)[0].tolist() == [8, 7]


@given(st.lists(st.integers(-50, 50), unique=True), st.lists(st.integers(-60, 60)))
def test_look_up_of_integers_equals_that_of_a_dict(known, values):
    positions = {value: position for position, value in enumerate(known)}
    expected = [positions.get(value, -1) for value in values]
    assert Vocabulary(known).lookup(values).tolist() == expected


@given(st.lists(texts, unique=True), st.lists(texts))
def test_look_up_of_strings_equals_that_of_a_dict(known, values):
    positions = {value: position for position, value in enumerate(known)}
    expected = [positions.get(value, -1) for value in values]
    assert Vocabulary(known).lookup(values).tolist() == expected


def test_ids_of_the_other_type_are_unknown():
    assert Vocabulary([1, 2]).lookup(["1"]).tolist() == [-1]


@pytest.mark.slow
def test_a_million_users_can_be_sliced():
    lengths = np.full(1_000_000, 5)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    histories = Histories(np.zeros(offsets[-1], dtype=np.int32), offsets, [7])
    rows = np.arange(999_999, -1, -3)
    assert len(histories[rows]) == len(rows)
    assert histories[rows].lengths.sum() == 5 * len(rows)


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


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["soon", "later"], "row 0: the timestamp holds 'soon'"),
        ([dt.date(2026, 1, 1), 3], "row 1: the timestamp holds 3, a number, but row 0"),
        (np.array(["2026", "300000"], dtype="M8[Y]"), "row 1: .* out of the range"),
        ([1.0, np.inf], "must not be missing or infinite, got inf at row 1"),
        ([1, None], "row 1: the timestamp is empty"),
        (5, "one value for each of 2 codes"),
    ],
)
def test_invalid_times_of_the_constructor_are_named(times, message):
    with pytest.raises(ValueError, match=message):
        Histories([0, 1], [0, 2], ["a", "b"], timestamps=times)


@pytest.mark.parametrize("key", [True, np.True_, [[0, 1]], [0.5]])
def test_other_indices_are_refused(key):
    with pytest.raises(IndexError, match="Users are selected by an integer, a slice"):
        Histories.from_lists([["a"], ["b"]])[key]
