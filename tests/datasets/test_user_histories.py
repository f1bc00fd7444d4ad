"""The generator against a literal loop over events."""

import numpy as np

from skue.datasets import make_user_histories


def test_events_equal_those_of_a_loop_over_events():
    n_users, n_events, n_items, n_dims = 6, 12, 40, 8
    data = make_user_histories(n_users, n_events, n_items, n_dims, random_state=5)
    rng = np.random.default_rng(5)
    tastes = rng.normal(size=(n_users, n_dims)).astype(np.float32)
    items = rng.normal(size=(n_items, n_dims)).astype(np.float32)
    popularity = rng.power(a=2.0, size=n_items).astype(np.float32)
    popularity = popularity / popularity.sum()
    for user in range(n_users):
        drift = (0.4 * rng.normal(size=(n_dims,))).astype(np.float32)
        for event in range(n_events):
            taste = tastes[user] + (drift if event > n_events // 2 else 0.0)
            scores = (taste @ items.T).astype(np.float32)
            affinity = np.exp(scores - scores.max()).astype(np.float64)
            chance = 0.85 * (affinity / affinity.sum()) + 0.15 * popularity
            assert data.histories[user][event] == rng.choice(n_items, p=chance)
        np.testing.assert_array_equal(data.drift_vectors[user], drift)
    noisy = items + 0.15 * rng.normal(size=items.shape).astype(np.float32)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    np.testing.assert_allclose(data.item_embeddings.vectors, noisy, atol=1e-6)


def test_a_later_drift_does_not_change_earlier_events():
    early = make_user_histories(5, 20, 50, 4, drift_after=10)
    late = make_user_histories(5, 20, 50, 4, drift_after=15)
    for user in range(5):
        np.testing.assert_array_equal(early.histories[user][:11], late.histories[user][:11])


def test_a_shared_drift_is_the_same_rotation_of_all_tastes():
    data = make_user_histories(40, 4, 20, 5, drift_scale=0.5, drift_shared=True)
    tastes, drifts = data.true_user_vectors, data.drift_vectors
    rotation = np.linalg.lstsq(tastes, drifts / 0.5, rcond=None)[0]
    np.testing.assert_allclose(tastes @ rotation * 0.5, drifts, atol=1e-5)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(5), atol=1e-5)
