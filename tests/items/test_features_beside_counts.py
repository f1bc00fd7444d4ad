"""CooccurrenceItemEmbedder with item features, and its parts against independent routes."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from skue import CooccurrenceItemEmbedder, Histories, ItemFeatures
from skue.items._item_features import scale_of, scaled_features
from skue.items._spectral import DEFAULT_SHARE, SHARES, chosen_share, spectral_vectors
from skue.kernels import _ridge
from skue.kernels._ridge import best_ridge, ridge

N_GROUPS, N_EACH = 6, 10


def world(n_users=200, seed=0):
    """People who choose items of one group, and features that tell the group of an item."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(N_GROUPS, size=n_users)
    # The last item of each group is never chosen.
    rows = [(N_EACH * g + rng.integers(N_EACH - 1, size=8)).tolist() for g in groups]
    group_of = np.repeat(np.arange(N_GROUPS), N_EACH)
    table = sp.csr_array(np.eye(N_GROUPS)[group_of])
    return Histories.from_lists(rows), ItemFeatures(table), group_of


def nearest_groups(items, group_of, ids):
    found, _ = items.similar_items(ids, k=5)
    return group_of[found]


def test_items_without_events_lie_among_items_with_the_same_features():
    histories, features, group_of = world()
    items = CooccurrenceItemEmbedder(n_dims=16, item_features=features).fit(histories)
    items = items.item_embeddings_
    new = np.setdiff1d(features.ids, histories.item_ids)
    assert len(new) == N_GROUPS
    assert set(items.ids.tolist()) == set(features.ids.tolist())
    assert (nearest_groups(items, group_of, new) == group_of[new][:, None]).mean() > 0.9


def test_an_item_with_few_events_leans_on_its_features_more_than_one_with_many():
    rng = np.random.default_rng(0)
    table = np.zeros((20, 20), dtype=np.float32)
    table[:10, :10] = table[10:, 10:] = rng.random((10, 10)) + 0.5
    features = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
    # Items 0 and 1 are counted with the second group, and have features of the first.
    table[:2], table[:, :2] = 0, 0
    table[0, 10:], table[1, 10:] = 0.01, 1.0
    table = np.maximum(table, table.T)
    options = {"features": features, "share": 0.3}
    vectors = spectral_vectors(sp.csr_array(table), 4, np.random.RandomState(0), **options)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors[:2] @ np.stack([vectors[2:10].mean(axis=0), vectors[10:].mean(axis=0)]).T
    assert cosines[0, 0] > cosines[0, 1]
    assert cosines[1, 0] < cosines[1, 1]


def test_items_without_features_are_counted_in_a_warning():
    histories, features, _ = world(50)
    some = np.arange(len(features)) % N_EACH < 7
    some = ItemFeatures(features.values[some], features.ids[some])
    with pytest.warns(UserWarning, match=r"\d+ of the \d+ items of X have no row"):
        items = CooccurrenceItemEmbedder(n_dims=8, item_features=some).fit(histories)
    assert (items.item_embeddings_.lookup(histories.item_ids) >= 0).all()


def test_columns_of_zeros_are_told_and_have_no_effect():
    histories, features, _ = world(50)
    wider = sp.hstack([features.values, sp.csr_array((len(features), 2))], format="csr")
    embedder = CooccurrenceItemEmbedder(n_dims=8, item_features=ItemFeatures(wider))
    with pytest.warns(UserWarning, match=r"2 of the 8 columns .* zeros, such as column 6"):
        wide = embedder.fit(histories).item_embeddings_
    narrow = CooccurrenceItemEmbedder(n_dims=8, item_features=features).fit(histories)
    narrow = narrow.item_embeddings_
    np.testing.assert_allclose(
        wide.vectors @ wide.vectors.T, narrow.vectors @ narrow.vectors.T, atol=1e-3
    )


def test_wide_sparse_features_are_never_made_dense():
    histories, _, _ = world(60)
    n_items = N_GROUPS * N_EACH
    table = sp.csr_array(
        (np.ones(n_items), (np.arange(n_items), np.arange(n_items) * 1000)), (n_items, 10**6)
    )
    with pytest.warns(UserWarning, match="all zeros"):  # Dense, they would need 240 MB a copy.
        CooccurrenceItemEmbedder(n_dims=4, item_features=ItemFeatures(table)).fit(histories)


def test_rare_indicators_weigh_more_and_numbers_are_centred():
    table = np.array([[1, 0, 2.5], [1, 0, 3.5], [1, 1, 4.5], [0, 0, 1.5]])
    scale = scale_of(ItemFeatures(table))
    expected = [np.log(4 / 3) / np.log(4), 1.0, 1.0]
    np.testing.assert_allclose(scale.weights, expected, rtol=1e-6)
    np.testing.assert_allclose(scale.centre, [0, 0, 3], rtol=1e-6)
    rows = scale.rows(table)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    sparse = scale_of(ItemFeatures(sp.csr_array(table[:, :2])))
    np.testing.assert_allclose(sparse.weights, expected[:2], rtol=1e-6)


def test_features_beside_the_counts_are_the_columns_of_one_table():
    rng = np.random.default_rng(0)
    counts, features = rng.random((8, 8)), rng.random((8, 3))
    factor = 0.5 * np.linalg.norm(counts) / np.linalg.norm(features)
    left, values, _ = np.linalg.svd(np.hstack([counts, factor * features]))
    found = spectral_vectors(
        sp.csr_array(counts.astype(np.float32)),
        4,
        np.random.RandomState(0),
        features=features.astype(np.float32),
        share=0.5,
    )
    expected = left[:, :4] * values[:4] ** 0.25
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)


@pytest.mark.parametrize("most_direct", [2048, 1], ids=["direct", "conjugate gradients"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_the_ridge_regression_is_that_of_scikit_learn(monkeypatch, most_direct, kind):
    monkeypatch.setattr(_ridge, "_MOST_DIRECT", most_direct)
    monkeypatch.setattr(_ridge, "_TOLERANCE", 1e-9)
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(40, 6)), rng.normal(size=(40, 3))
    expected = Ridge(alpha=2.0, fit_intercept=False).fit(rows, targets).coef_.T
    np.testing.assert_allclose(ridge(kind(rows), targets, 2.0), expected, atol=1e-7)


def test_held_out_rows_choose_the_penalty():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 20))
    exact = rows @ rng.normal(size=(20, 5))
    np.testing.assert_allclose(best_ridge(rows, exact), ridge(rows, exact, 1.0))
    noise = rng.normal(size=exact.shape)
    cosines = [np.abs(best_ridge(rows, targets)).mean() for targets in (exact, noise)]
    assert cosines[1] < cosines[0]


def share_chosen(histories, table):
    features = scaled_features(ItemFeatures(table), histories)
    return chosen_share(features, histories, 16, window=5, smoothing=0.1)


def test_held_out_events_choose_the_weight_of_features():
    rng = np.random.default_rng(0)
    n_groups, n_each = 40, 25
    groups = rng.integers(n_groups, size=300)
    lists = [(n_each * g + rng.choice(n_each, 4, replace=False)).tolist() for g in groups]
    histories = Histories.from_lists(lists)
    of_group = np.eye(n_groups)[np.repeat(np.arange(n_groups), n_each)]
    assert share_chosen(histories, of_group) == SHARES[-1]
    noise = rng.normal(size=(n_groups * n_each, 8))
    assert share_chosen(histories, noise) < DEFAULT_SHARE


@pytest.mark.parametrize("n_users", [50, 400])
def test_without_enough_events_to_choose_by_the_weight_is_the_default(n_users):
    histories, features, _ = world(n_users)
    pairs = Histories.from_lists([row[:2].tolist() for row in histories])
    assert share_chosen(pairs, features.values) == DEFAULT_SHARE
