"""Approximate backends reach the target recall or search exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import ItemEmbeddings, ann_recall, export_index, open_index
from skue.serving import VectorIndex

METHODS = {"faiss": "cells", "hnswlib": "graph"}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(n_items, n_dims, seed=0):
    """Return items around centres of unequal popularity, with a common direction."""
    rng = np.random.default_rng(seed)
    n_centres = int(np.sqrt(n_items))
    popularity = 1 / np.arange(1, n_centres + 1) ** 0.8
    centres = rng.normal(size=(n_centres, n_dims)) + 0.5 * rng.normal(size=n_dims)
    own = centres[rng.choice(n_centres, size=n_items, p=popularity / popularity.sum())]
    return unit(own + 0.6 * rng.normal(size=(n_items, n_dims))).astype(np.float32)


def users_of(items, n_users=300, seed=7):
    """Return averages of a few items with decaying weights, as users have."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, size=n_users)
    weights = np.where(np.arange(7) < lengths[:, None], 0.8 ** np.arange(7), 0)
    histories = items[rng.integers(len(items), size=(n_users, 7))]
    return unit(np.einsum("ij,ijk->ik", weights, histories))


N_ITEMS = 8000
ITEMS = ItemEmbeddings(clustered(N_ITEMS, 8))


@pytest.fixture(scope="module", params=list(METHODS))
def index(request):
    pytest.importorskip(request.param)
    return VectorIndex(ITEMS, backend=request.param)


def test_the_target_recall_is_reached_for_users(index):
    info = index.backend_info
    assert info["method"] == METHODS[index.backend]
    assert info["recall_at"] == 20 and 0.95 <= info["recall"] < 1 and info["work"] < 1
    users = users_of(ITEMS.vectors)
    exact = [set(row) for row in VectorIndex(ITEMS).search(users, 20, space_id=None)[0]]
    found = index.search(users, 20, space_id=None)[0]
    by_hand = np.mean([len(set(row) & best) / 20 for row, best in zip(found, exact, strict=True)])
    assert ann_recall(index, users, 20) == pytest.approx(by_hand, abs=1e-3)
    assert by_hand >= 0.95


@pytest.mark.parametrize("k", [1, 50, 150])
def test_the_target_recall_is_reached_for_other_k(index, k):
    assert ann_recall(index, users_of(ITEMS.vectors), k) >= 0.95


def test_approximate_search_does_less_work_than_exact_search(index):
    """Compares the numbers of cells and candidates instead of times."""
    info = index.backend_info
    if index.backend == "faiss":
        assert info["n_cells_read"] < info["n_cells"] / 5
    else:
        assert info["n_candidates"] < len(ITEMS) / 150


def test_the_same_items_give_the_same_index(index):
    again = VectorIndex(ITEMS, backend=index.backend)
    assert again.backend_info == index.backend_info
    users = users_of(ITEMS.vectors)
    for one, other in zip(
        *(i.search(users, 20, space_id=None) for i in (index, again)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_higher_target_takes_more_work():
    pytest.importorskip("faiss")
    works = [
        VectorIndex(ITEMS, backend="faiss", target_recall=target).backend_info["work"]
        for target in (0.5, 0.99)
    ]
    assert works[0] < works[1] / 3


@pytest.mark.parametrize("backend", list(METHODS))
@pytest.mark.parametrize(
    ("items", "target"),
    [
        (np.random.default_rng(0).normal(size=(1500, 48)), 0.95),
        (np.eye(40), 0.5),
        (clustered(3000, 16), 1.0),
    ],
    ids=["random", "few", "all-of-them"],
)
def test_search_is_exact_if_that_is_as_fast(tmp_path, backend, items, target):
    pytest.importorskip(backend)
    export_index(ItemEmbeddings(items), tmp_path)
    index = open_index(tmp_path, backend=backend, target_recall=target)
    assert index.backend_info["method"] == "exact" and index.backend_info["recall"] == 1
    assert "exact search of" in index.backend_info["reason"]
    queries = np.random.default_rng(1).normal(size=(50, items.shape[1]))
    assert ann_recall(index, queries, 20) == 1


@pytest.mark.parametrize("backend", list(METHODS))
def test_equal_items_are_all_found(backend):
    pytest.importorskip(backend)
    index = VectorIndex(ItemEmbeddings(np.ones((2000, 4))), backend=backend)
    ids, scores = index.search(np.ones((3, 4)), 30, space_id=None)
    assert all(len(set(row)) == 30 for row in ids.tolist())
    np.testing.assert_allclose(scores, 1, atol=1e-6)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_limits_hold_and_every_user_gets_k_items(index, data):
    seed = data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    users = users_of(ITEMS.vectors, n_users=3, seed=seed)
    k = data.draw(st.sampled_from([1, 20, 60]))

    def limit():
        n = data.draw(st.sampled_from([0, 3, 400, 6_000]))
        if data.draw(st.booleans()):
            return rng.choice(N_ITEMS, size=n, replace=False).tolist()
        return [rng.choice(N_ITEMS, size=n, replace=False).tolist() for _ in users]

    exclude = (data.draw(st.booleans()) and limit()) or None
    allow = (data.draw(st.booleans()) and limit()) or None
    ids, scores = index.search(users, k, space_id=None, exclude=exclude, allow=allow)
    for user in range(3):
        left = set(range(N_ITEMS))
        if allow is not None:
            left &= set(allow[user] if isinstance(allow[0], list) else allow)
        if exclude is not None:
            left -= set(exclude[user] if isinstance(exclude[0], list) else exclude)
        found = [item for item in ids[user].tolist() if item >= 0]
        assert len(found) == min(k, len(left)) and len(set(found)) == len(found)
        assert set(found) <= left
        cosines = ITEMS.vectors[found] @ users[user]
        np.testing.assert_allclose(scores[user, : len(found)], cosines, atol=1e-5)
        assert (np.diff(scores[user, : len(found)]) <= 1e-6).all()
        assert np.isneginf(scores[user, len(found) :]).all()
