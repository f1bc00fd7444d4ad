"""The two-tower with item features: items without events, and items that come later."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from skue import (
    Histories,
    ItemFeatures,
    TwoTowerUserEncoder,
)

N_GROUPS, N_EACH = 8, 12
GROUP_OF = np.repeat(np.arange(N_GROUPS), N_EACH)
IS_NEW = np.arange(N_GROUPS * N_EACH) % N_EACH == 0


def make_world(n_users=120):
    """People who stay in one group. The first item of each group is not in the log."""
    rng = np.random.default_rng(0)
    groups = rng.integers(N_GROUPS, size=n_users)
    rows = [(N_EACH * g + rng.integers(1, N_EACH, size=9)).tolist() for g in groups]
    rows += [[N_EACH * g + i for i in range(1, N_EACH)] for g in range(N_GROUPS)]
    return Histories.from_lists(rows), groups


HISTORIES, GROUPS = make_world()
FEATURES = ItemFeatures(sp.csr_array(np.eye(N_GROUPS)[GROUP_OF]))
LATER = ItemFeatures(sp.csr_array(np.eye(N_GROUPS)), [f"{g}" for g in range(N_GROUPS)])


def fitted(**parameters):
    options = {"max_iter": 2, "batch_size": 1024, "hidden_layer_sizes": (16,), "random_state": 0}
    return TwoTowerUserEncoder(**options | {"item_features": FEATURES} | parameters).fit(HISTORIES)


@pytest.fixture(scope="module")
def encoder():
    return fitted(negatives="sampled", early_stopping=False)


def later(n=N_GROUPS):
    return ItemFeatures(sp.csr_array(np.eye(N_GROUPS)[:n]), np.arange(n) + 1000)


def test_all_items_with_features_are_in_the_catalogue(encoder):
    assert set(encoder.item_embeddings_.ids.tolist()) == set(FEATURES.ids.tolist())
    np.testing.assert_array_equal(
        np.sort(encoder.item_embeddings_.ids[encoder.is_new_item_]), np.flatnonzero(IS_NEW)
    )


def test_new_items_are_found_by_people_of_their_group(encoder):
    assert encoder.best_iter_ == 2
    queries = HISTORIES[: len(GROUPS)]
    ids, _ = encoder.recommend(queries, N_EACH)
    is_new = IS_NEW[ids]
    assert is_new.any()
    assert (GROUP_OF[ids] == GROUPS[:, None])[is_new].mean() > 0.9


def test_histories_of_new_items_only_have_a_vector_of_their_own(encoder):
    new = np.flatnonzero(IS_NEW)
    ids, _ = encoder.recommend(Histories.from_lists(new[:, None].tolist()), 5)
    assert (GROUP_OF[ids] == GROUP_OF[new][:, None]).mean() > 0.9


def test_embed_items_gives_later_items_a_place_beside_items_with_the_same_features(encoder):
    new = encoder.embed_items(later())
    assert new.space_id == encoder.space_id_
    nearest = encoder.item_vectors_ @ new.vectors.T
    assert (GROUP_OF[encoder.item_embeddings_.ids[nearest.argmax(axis=0)]] == range(N_GROUPS)).all()


def test_embed_items_agrees_with_the_vectors_of_items_without_events(encoder):
    new = encoder.embed_items(later())
    rows = encoder.item_embeddings_.lookup(np.flatnonzero(IS_NEW))
    np.testing.assert_allclose(new.vectors, encoder.item_vectors_[rows], atol=1e-6)


def test_a_short_prediction_is_a_small_part_of_the_vector(encoder):
    rng = np.random.default_rng(0)
    values = rng.random((20, N_GROUPS)) * rng.choice([1.0, 0.2], size=(20, 1))
    new = encoder.embed_items(ItemFeatures(sp.csr_array(values), np.arange(20) + 3000))
    towers, n_towers = encoder.feature_map_.towers, len(encoder.feature_map_.towers)
    scaled = encoder.feature_map_.scale.rows(sp.csr_array(values)).toarray()
    for tower, block in zip(towers, np.split(new.vectors, n_towers, axis=1), strict=True):
        for row, vector in zip(scaled, block * np.sqrt(n_towers), strict=True):
            predicted = row.astype(np.float64) @ tower.weights
            length = np.linalg.norm(predicted)
            assert np.isclose(vector @ predicted / length, min(1, 1.8 * length), atol=1e-5)
            assert np.isclose(np.linalg.norm(vector), 1, atol=1e-5)


def test_a_frozen_tower_keeps_given_vectors_and_places_the_others(encoder):
    start = encoder.item_embeddings_
    known = start.lookup(np.flatnonzero(~IS_NEW))
    given = type(start)(start.vectors[known], start.ids[known], space_id="shop")
    frozen = fitted(item_embeddings=given, warm_start=True, early_stopping=False)
    assert frozen.space_id_ == "shop"
    np.testing.assert_array_equal(frozen.item_vectors_[: len(given)], given.vectors)
    rows = frozen.item_embeddings_.lookup(np.flatnonzero(IS_NEW))
    nearest = (frozen.item_vectors_[rows] @ given.vectors.T).argmax(axis=1)
    np.testing.assert_array_equal(GROUP_OF[given.ids[nearest]], range(N_GROUPS))
    before = frozen.item_embeddings_
    frozen.fit(HISTORIES)
    assert frozen.space_id_ == "shop"
    rows = frozen.item_embeddings_.lookup(before.ids)
    np.testing.assert_allclose(frozen.item_vectors_[rows], before.vectors, atol=1e-6)


def test_a_fit_is_repeatable_and_survives_pickle_and_clone(encoder):
    again = clone(encoder).fit(HISTORIES)
    assert again.encoder_id_ == encoder.encoder_id_
    restored = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(
        restored.embed_items(later()).vectors, encoder.embed_items(later()).vectors
    )


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (ItemFeatures([[1.0]]), "8 columns of item_features, got 1"),
        (LATER, "features must be of one type, got '0'"),
        (np.eye(N_GROUPS), "must be ItemFeatures, got ndarray"),
    ],
)
def test_embed_items_refuses_what_does_not_fit(encoder, features, message):
    with pytest.raises(ValueError, match=message):
        encoder.embed_items(features)


def test_a_warm_start_keeps_all_items_and_places_new_ones_again():
    encoder = fitted(warm_start=True, early_stopping=False, item_features=FEATURES)
    before = encoder.item_embeddings_
    newer = Histories.from_lists([[*row, row[0] // N_EACH * N_EACH] for row in HISTORIES[:120]])
    larger = FEATURES.extend(sp.csr_array(np.eye(N_GROUPS)[:1]), [1000])
    encoder.set_params(item_features=larger).fit(newer)
    assert encoder.item_embeddings_.aligned_with == before.space_id
    assert set(encoder.item_embeddings_.ids.tolist()) == {*before.ids.tolist(), 1000}
    # The first items of the groups have events now.
    assert encoder.item_embeddings_.ids[encoder.is_new_item_].tolist() == [1000]
    new = encoder.embed_items(ItemFeatures(larger.values[-1:], [2000]))
    cosines = encoder.item_vectors_ @ new.vectors[0]
    assert encoder.item_embeddings_.ids[cosines.argmax()] == 1000
    assert GROUP_OF[encoder.recommend(newer[:1], 1)[0][0, 0]] == GROUPS[0]
    encoder.set_params(item_features=ItemFeatures(np.ones((len(FEATURES), 2)), FEATURES.ids))
    with pytest.raises(ValueError, match="columns of item_features was 8 in the last fit and is 2"):
        encoder.fit(HISTORIES)
