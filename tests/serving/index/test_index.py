"""The index: what it finds, and in which space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    SpaceMismatchError,
    export_index,
    open_index,
)

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(
    RNG.normal(size=(40, 5)), ids=[f"item-{i}" for i in range(40)], space_id="shop-1"
)
LISTS = [[f"item-{i}" for i in RNG.integers(40, size=6)] for _ in range(20)]
BACKENDS = ["exact", "faiss", "hnswlib"]


@pytest.fixture
def encoder():
    return DecayAverageUserEncoder(ITEMS).fit(LISTS)


@pytest.fixture
def folder(tmp_path, encoder):
    export_index(encoder, tmp_path / "index")
    return tmp_path / "index"


def opened(folder, backend="exact"):
    if backend != "exact":
        pytest.importorskip(backend)
    return open_index(folder, backend=backend)


def slow_search(users, k, exclude=(), allow=None):
    """Return ids sorted by their cosines in float64."""
    found = []
    for row, user in enumerate(np.asarray(users, dtype=float)):
        cosines = ITEMS.vectors.astype(float) @ user / np.linalg.norm(user)
        out = exclude[row] if exclude and isinstance(exclude[0], list) else exclude
        only = allow[row] if allow and isinstance(allow[0], list) else allow
        ranked = [str(ITEMS.ids[i]) for i in np.argsort(-cosines, kind="stable")]
        ranked = [i for i in ranked if i not in out and (only is None or i in only)]
        found.append((ranked + [""] * k)[:k])
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_index_finds_what_the_encoder_recommends(folder, encoder, backend):
    index = opened(folder, backend)
    ids, scores = index.search(encoder.transform(LISTS), 7, space_id=encoder.space_id_)
    expected_ids, expected_scores = encoder.recommend(LISTS, 7)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_limit_agrees_with_a_slow_loop(data):
    index = IN_MEMORY[data.draw(st.sampled_from(list(IN_MEMORY)))]
    n_users = data.draw(st.integers(1, 4))
    users = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(n_users, 5))
    some = st.lists(st.sampled_from(ITEMS.ids.tolist()), max_size=45, unique=True)
    each = st.lists(some, min_size=n_users, max_size=n_users)
    exclude = data.draw(st.one_of(st.none(), some, each))
    allow = data.draw(st.one_of(st.none(), some, each))
    k = data.draw(st.integers(1, 50))
    ids, _ = index.search(users, k, space_id=None, exclude=exclude, allow=allow)
    assert ids.tolist() == slow_search(users, k, exclude or (), allow)


def in_memory():
    from skue.serving import VectorIndex

    indexes = {}
    for backend in BACKENDS:
        try:
            indexes[backend] = VectorIndex(ITEMS, backend=backend)
        except ImportError:
            continue
    return indexes


IN_MEMORY = in_memory()


def test_limits_can_be_sets_and_histories(folder, encoder):
    users, histories = encoder.transform(LISTS), Histories.from_lists(LISTS)
    index = open_index(folder)
    ids, _ = index.search(users, 5, space_id="shop-1", exclude=histories, allow=set(LISTS[0]))
    assert ids.tolist() == slow_search(users, 5, LISTS, LISTS[0])


def test_vectors_of_another_space_raise_an_error_that_names_both(folder, encoder):
    other = DecayAverageUserEncoder(ItemEmbeddings(ITEMS.vectors, ITEMS.ids)).fit(LISTS)
    index = open_index(folder)
    with pytest.raises(SpaceMismatchError, match=f"'{other.space_id_}'.*'shop-1'"):
        index.search(other.transform(LISTS), space_id=other.space_id_)
    with pytest.raises(SpaceMismatchError, match="'shop-1'"):
        index.recommend(other, LISTS)


def test_scores_are_cosines_whatever_the_length_of_the_vectors(folder, encoder):
    users = encoder.transform(LISTS)
    index = open_index(folder)
    ids, scores = index.search(users * 7.5, space_id="shop-1")
    np.testing.assert_array_equal(ids, index.search(users, space_id="shop-1")[0])
    assert scores.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 4)), "have 4 dimensions, but the items of this index have 5"),
        (np.full((2, 5), np.nan), "row 0 holds NaN"),
        (np.ones(5), r"shape \(5,\). Pass a single user as \[vector\]"),
        ([["a"] * 5], "must be numbers"),
    ],
)
def test_invalid_user_vectors_raise(folder, vectors, message):
    with pytest.raises(ValueError, match=message):
        open_index(folder).search(vectors, space_id="shop-1")


def test_recommend_encodes_and_searches(folder, encoder):
    ids, scores = open_index(folder).recommend(encoder, LISTS, 4, exclude=LISTS)
    expected = encoder.recommend(LISTS, 4, exclude_seen=True)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)


def test_the_items_of_a_pipeline_pass_through_its_later_steps(tmp_path, encoder):
    pipeline = Pipeline([("encode", encoder), ("turn", PCA(3))]).fit(LISTS)
    export_index(pipeline, tmp_path)
    index = open_index(tmp_path)
    users = pipeline.transform(LISTS)
    items = pipeline["turn"].transform(ITEMS.vectors)
    cosines = (users / np.linalg.norm(users, axis=1, keepdims=True)) @ (
        items / np.linalg.norm(items, axis=1, keepdims=True)
    ).T
    ids, _ = index.recommend(pipeline, LISTS, 3)
    assert ids.tolist() == ITEMS.ids[np.argsort(-cosines, axis=1)[:, :3]].tolist()
    with pytest.raises(SpaceMismatchError):
        index.recommend(encoder, LISTS)


def test_exporting_anything_but_an_encoder_raises(tmp_path):
    with pytest.raises(ValueError, match="PCA has no user encoder"):
        export_index(PCA(), tmp_path)


def test_an_unknown_backend_raises(folder):
    with pytest.raises(ValueError, match=r"backend must be one of .*got 'annoy'"):
        open_index(folder, backend="annoy")
