"""Ids are never changed or merged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories, ItemEmbeddings
from skue.reading._ids import as_ids, unpack_text

briefly = settings(max_examples=30)

TEXT = st.text(st.characters(exclude_categories=()), min_size=1, max_size=6)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
ID_LISTS = st.one_of(st.lists(TEXT, min_size=1), st.lists(INTEGERS, min_size=1))


@briefly
@given(ID_LISTS)
def test_ids_are_not_changed(ids):
    assert as_ids(ids).tolist() == ids


@briefly
@given(st.lists(TEXT, min_size=1, unique=True))
def test_text_ids_round_trip_through_a_file(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("ids") / "batch.npz"
    Histories.from_lists([ids], user_ids=[ids[0]]).save(path)
    for mmap in (False, True):
        loaded = Histories.load(path, mmap=mmap)
        assert loaded[0].tolist() == ids
        assert loaded.user_ids.tolist() == [ids[0]]


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (2.0**53, 53),
        (np.float32(2**24), 24),
    ],
)
def test_floats_that_may_merge_ids_are_refused(value, limit):
    array = np.array([value, 3], dtype=np.asarray(value).dtype)
    said = rf"hold the float .* at position 0.*From 2\*\*{limit} on"
    for values in ([value, 3], array, np.array([value, 3], dtype=object)):
        with pytest.raises(ValueError, match=said):
            as_ids(values)


@pytest.mark.parametrize("value", [np.inf, np.nan, 0.5])
def test_fractions_are_refused_as_ids(value):
    with pytest.raises(ValueError, match=r"whole numbers or strings, got .* at position 1"):
        as_ids([1, value])


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2**63 + 5], dtype=np.uint64),
        [1, 2**63 + 5],
        [1, np.uint64(2**63 + 5)],
        [np.float64(1), 2**63 + 5],
    ],
)
def test_integers_beyond_64_bits_are_refused(values):
    with pytest.raises(ValueError, match=r"9223372036854775813 at position 1, beyond 64 bits"):
        as_ids(values)


@pytest.mark.parametrize("rows", [[np.array([2**60 + 1]), np.array([3], dtype=np.uint64)]])
def test_arrays_of_different_types_are_joined_without_rounding(rows):
    assert Histories.from_lists(rows).item_ids.tolist() == [3, 2**60 + 1]


def test_catalogues_whose_ids_differ_have_different_hashes():
    catalogues = (["a\0b", "c"], ["a", "b\0c"], ["a\0", "bc"], ["\ud800", "a"])
    assert len({ItemEmbeddings(np.eye(2), ids).catalog_id for ids in catalogues}) == 4


def test_text_offsets_that_do_not_fit_are_refused():
    for offsets in ([0, 5], [1, 3], [0, 3, 2, 3], []):
        with pytest.raises(ValueError, match="offsets of the text do not fit"):
            unpack_text(np.frombuffer(b"abc", dtype=np.uint8), np.array(offsets))


def test_histories_copy_the_given_arrays():
    weights, times = np.array([1.0, 2.0]), np.array([5.0, 6.0])
    codes, items, users = np.array([0, 1], dtype=np.int32), np.array([5, 6]), np.array([7])
    histories = Histories(codes, [0, 2], items, timestamps=times, weights=weights, user_ids=users)
    for array in (weights, times, codes, items, users):
        array[:] = 0
    assert histories.weights.tolist() == [1, 2]
    assert histories.timestamps.tolist() == [5, 6]
    assert histories[0].tolist() == [5, 6]
    assert histories.user_ids.tolist() == [7]


def test_histories_copy_the_columns_of_a_frame():
    log = {"user": np.array([1, 1]), "item": np.array([5, 6]), "time": np.array([1.0, 2.0])}
    log["weight"] = np.array([1.0, 2.0])
    names = {"user": "user", "item": "item", "time": "time", "weight": "weight"}
    histories = Histories.from_frame(log, **names)
    for column in log.values():
        column[:] = 0
    assert histories[0].tolist() == [5, 6]
    assert histories.timestamps.tolist() == [1, 2]
    assert histories.weights.tolist() == [1, 2]
