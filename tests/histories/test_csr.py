"""Histories as a table of users × items, and their arrays in scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories

briefly = settings(max_examples=30)

EVENTS = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1.0, 0.0, 0.5, 1.0])), max_size=6),
    max_size=5,
)


@briefly
@given(EVENTS, st.booleans())
def test_entries_are_counts_or_sums_of_weights(rows, weighted):
    histories = Histories.from_lists(
        [[item for item, _ in row] for row in rows],
        weights=[[weight for _, weight in row] for row in rows] if weighted else None,
    )
    table = histories.to_csr()
    assert table.shape == (len(rows), len(histories.item_ids))
    expected = np.zeros(table.shape)
    for user, row in enumerate(rows):
        for item, weight in row:
            expected[user, histories.item_ids.tolist().index(item)] += weight if weighted else 1
    np.testing.assert_array_equal(table.toarray(), expected)
    assert table.nnz == np.count_nonzero(expected)
    assert table.has_canonical_format


@briefly
@given(EVENTS)
def test_the_table_of_a_table_is_the_same(rows):
    table = np.zeros((len(rows), 5))
    for user, row in enumerate(rows):
        for item, weight in row:
            table[user, item] = weight
    again = Histories.from_matrix(table).to_csr()
    np.testing.assert_array_equal(again.toarray(), table)


@pytest.mark.parametrize("mmap", [False, True])
def test_the_table_can_be_changed_and_the_histories_stay_as_they_are(tmp_path, mmap):
    Histories.from_lists([[3, 1, 3], [2]], weights=[[1, 2, 3], [4]]).save(tmp_path / "h.npz")
    histories = Histories.load(tmp_path / "h.npz", mmap=mmap)
    before = histories.to_csr().toarray()
    table = histories.to_csr()
    table.data[:], table.indices[:], table.indptr[:] = 7, 0, 0
    assert [row.tolist() for row in histories] == [[3, 1, 3], [2]]
    np.testing.assert_array_equal(histories.to_csr().toarray(), before)
