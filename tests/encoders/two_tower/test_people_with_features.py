"""The two-tower with user features: people without events, and people with few."""

import copy

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skue import (
    CooccurrenceItemEmbedder,
    Histories,
    TwoTowerUserEncoder,
)

N_GROUPS, N_EACH, N_USERS = 6, 10, 180
RNG = np.random.default_rng(0)
GROUPS = RNG.integers(N_GROUPS, size=N_USERS)
# People stay in one group, and every sixth has no event.
LENGTHS = np.where(np.arange(N_USERS) % 6 == 0, 0, RNG.integers(2, 7, size=N_USERS))
LISTS = [
    (N_EACH * group + RNG.integers(N_EACH, size=n)).tolist()
    for group, n in zip(GROUPS, LENGTHS, strict=True)
]
FEATURES = np.hstack([np.eye(N_GROUPS)[GROUPS], RNG.normal(50, 20, size=(N_USERS, 1))])
PLAIN = Histories.from_lists(LISTS, user_ids=np.arange(N_USERS))
X = PLAIN.with_user_features(FEATURES)
COLD = np.flatnonzero(LENGTHS == 0)


def fitted(histories=X, **parameters):
    settings = {"max_iter": 2, "hidden_layer_sizes": (16,), "random_state": 0} | parameters
    return TwoTowerUserEncoder(CooccurrenceItemEmbedder(n_dims=16), **settings).fit(histories)


@pytest.fixture(scope="module")
def encoder():
    return fitted()


def without_features(encoder):
    plain = copy.copy(encoder)
    plain.user_map_ = None
    return plain


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_people_without_events_find_the_items_of_people_like_them(encoder):
    ids, _ = encoder.recommend(X[COLD], k=5)
    assert (ids // N_EACH == GROUPS[COLD][:, None]).mean() > 0.95


@pytest.mark.parametrize("most", [100, 2])
def test_vectors_are_those_of_a_slow_loop_over_people(encoder, most):
    of_features = encoder.user_map_._replace(n_events=1.5)
    changed = copy.copy(encoder).set_params(max_history=most)
    changed.user_map_ = of_features
    of_histories = without_features(changed).transform(PLAIN)
    found = changed.transform(X)
    for user in range(N_USERS):
        predicted = unit(FEATURES[user] @ of_features.weights + of_features.intercept)
        n_events = min(LENGTHS[user], most)
        expected = unit(n_events * of_histories[user].astype(float) + 1.5 * predicted)
        if not n_events:
            expected = predicted
        np.testing.assert_allclose(found[user], expected, atol=1e-6)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_map_is_a_ridge_regression_of_mean_item_vectors_without_held_out_events(early_stopping):
    encoder = fitted(early_stopping=early_stopping)
    assert (len(encoder.held_out_) > 0) == early_stopping
    learned = X._keep_events(~np.isin(np.arange(len(X.codes)), encoder.held_out_))
    items = encoder.item_embeddings_
    means = {
        user: np.mean([items.vectors[items.lookup([item])[0]] for item in row], axis=0)
        for user, row in enumerate(learned)
        if len(row)
    }
    rows = FEATURES.astype(np.float32).astype(float)[list(means)]
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    Z, V = (rows - centre) / scale, np.array(list(means.values()), dtype=float)
    found = []
    for penalty in 10.0 ** np.arange(0, 6):
        B = np.linalg.solve(Z.T @ Z + penalty * np.eye(len(Z.T)), Z.T @ (V - V.mean(axis=0)))
        hat = Z @ np.linalg.solve(Z.T @ Z + penalty * np.eye(len(Z.T)), Z.T) + 1 / len(Z)
        left_out = (V - V.mean(axis=0) - Z @ B) / (1 - np.diag(hat))[:, None]
        found.append((np.mean(left_out**2), B))
    _, best = min(found, key=lambda one: one[0])
    np.testing.assert_allclose(encoder.user_map_.weights, best / scale[:, None], atol=1e-5)
    expected = V.mean(axis=0) - centre @ (best / scale[:, None])
    np.testing.assert_allclose(encoder.user_map_.intercept, expected, atol=1e-5)


def test_without_validation_features_count_only_for_people_without_events():
    encoder = fitted(early_stopping=False)
    assert encoder.user_map_.n_events == 0
    some = np.flatnonzero(LENGTHS > 0)
    expected = without_features(encoder).transform(PLAIN[some])
    np.testing.assert_allclose(encoder.transform(X[some]), expected, atol=1e-6)


def test_validation_lets_features_count_where_histories_are_noisy():
    rng = np.random.default_rng(1)
    groups = rng.integers(N_GROUPS, size=600)
    own = 50 * groups[:, None] + rng.integers(50, size=(600, 4))
    rows = np.where(rng.random(own.shape) < 0.4, own, rng.integers(50 * N_GROUPS, size=own.shape))
    histories = Histories.from_lists(rows.tolist()).with_user_features(np.eye(N_GROUPS)[groups])
    assert fitted(histories, max_iter=1).user_map_.n_events > 0


def test_a_row_of_nan_leaves_the_vector_of_the_history_and_the_fallback(encoder):
    unknown = PLAIN.with_user_features(np.full_like(FEATURES, np.nan))
    expected = without_features(encoder).transform(PLAIN)
    np.testing.assert_array_equal(encoder.transform(unknown), expected)
    np.testing.assert_array_equal(encoder.transform(unknown)[COLD[0]], encoder.fallback_vector_)


def test_people_of_whom_nothing_is_known_are_left_out_of_the_regression():
    half = FEATURES.copy()
    half[::2] = np.nan
    encoder = fitted(PLAIN.with_user_features(half))
    assert all(np.isfinite(array).all() for array in encoder.user_map_.arrays())
    ids, _ = encoder.recommend(X[COLD], k=5)
    assert (ids // N_EACH == GROUPS[COLD][:, None]).mean() > 0.9


def test_results_do_not_depend_on_workers_or_chunks(encoder):
    many = X[np.resize(np.arange(N_USERS), 4500)]
    whole = encoder.transform(many)
    changed = copy.copy(encoder).set_params(n_jobs=2)
    with parallel_config(backend="threading"):
        np.testing.assert_array_equal(changed.transform(many), whole)
    parts = [part for _, part in changed.iter_transform(many, chunk_size=777)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PLAIN, r"X has 0 user features, but the encoder was fitted with 7.*with_user_features"),
        (PLAIN.with_user_features(FEATURES[:, :3]), r"X has 3 user features.* fitted with 7"),
        (LISTS[:3], r"X has 0 user features"),
    ],
)
def test_features_must_have_the_columns_of_fit(encoder, given, message):
    with pytest.raises(ValueError, match=message):
        encoder.transform(given)


def test_an_encoder_fitted_without_features_refuses_them():
    with pytest.raises(ValueError, match=r"fitted with 0. Fit it on histories with user features"):
        fitted(PLAIN).transform(X)


def test_features_of_nobody_with_events_are_an_error_before_training():
    features = np.full_like(FEATURES, np.nan)
    features[COLD] = 1
    with pytest.raises(ValueError, match=r"No user with events of known items has user_features"):
        fitted(PLAIN.with_user_features(features))


def test_a_warm_start_without_the_features_of_the_last_fit_is_refused():
    encoder = fitted(warm_start=True, max_iter=1)
    before = encoder.encoder_id_
    with pytest.raises(ValueError, match=r"encoder with 7 user features, but X has 0"):
        encoder.fit(PLAIN)
    assert encoder.encoder_id_ == before


def test_columns_of_a_frame_become_features_in_a_pipeline():
    frame = pd.DataFrame({"items": LISTS, "group": [f"g{group}" for group in GROUPS]})

    def histories_of(found):
        return Histories.from_lists(found[:, 0].tolist()).with_user_features(found[:, 1:])

    columns = ColumnTransformer(
        [
            ("items", "passthrough", ["items"]),
            ("group", OneHotEncoder(sparse_output=False), ["group"]),
        ]
    )
    encoder = TwoTowerUserEncoder(CooccurrenceItemEmbedder(n_dims=16), max_iter=1, random_state=0)
    pipeline = make_pipeline(columns, FunctionTransformer(histories_of), encoder).fit(frame)
    assert len(np.unique(pipeline.transform(frame.iloc[COLD]), axis=0)) == N_GROUPS
