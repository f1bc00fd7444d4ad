"""Items similar to an item."""

import numpy as np
import pytest

from skue import ItemEmbeddings

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(30, 4)), ids=[f"i{n}" for n in range(30)])


def test_similar_items_equal_a_full_sort():
    ids, scores = ITEMS.similar_items(["i3", "i7"], k=5)
    cosines = ITEMS.vectors[[3, 7]] @ ITEMS.vectors.T
    cosines[[0, 1], [3, 7]] = -np.inf
    order = np.argsort(-cosines, axis=1)[:, :5]
    np.testing.assert_array_equal(ids, ITEMS.ids[order])
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, order, axis=1), atol=1e-6)


def test_an_item_is_left_out_but_its_copy_is_not():
    items = ItemEmbeddings([[1, 0], [1, 0], [0, 1]])
    assert items.similar_items([1, 0], k=1)[0].tolist() == [[0], [1]]


def test_missing_items_are_filled_if_there_are_fewer_than_k():
    ids, scores = ItemEmbeddings([[1, 0], [0, 1]]).similar_items([0], k=3)
    assert ids.tolist() == [[1, -1, -1]]
    assert scores.tolist() == [[0.0, -np.inf, -np.inf]]
    ids, _ = ItemEmbeddings([[1, 0]], ids=["tea"]).similar_items(["tea"], k=1)
    assert ids.tolist() == [[""]]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["i1", "pot", "pan"], "ids holds 2 unknown id.s.: 'pot', 'pan'. The catalogue has"),
        ([1], "ids holds 1 unknown id.s.: 1. The catalogue has ids such as 'i0'"),
        ("i1", r"ids must be a list of ids, got 'i1'. Write one id as \['i1'\]"),
        (1, r"ids must be a list of ids, got 1. Write one id as \[1\]"),
    ],
)
def test_unknown_ids_raise(ids, message):
    with pytest.raises(ValueError, match=message):
        ITEMS.similar_items(ids)
