"""A fitted two-tower encoder: its formula and its id."""

import numpy as np
from scipy.special import softmax

from skue import (
    Histories,
    ItemEmbeddings,
    TwoTowerUserEncoder,
)

MONTH = 30 * 86400.0
N_ITEMS = 9


def made_up_histories(rng, n_users=12):
    """Items that come back, baskets, likes and dislikes."""
    lengths = rng.integers(1, 8, size=n_users)
    return Histories.from_lists(
        [rng.integers(N_ITEMS, size=n) for n in lengths],
        timestamps=[np.sort(rng.integers(0, 4, size=n)) * 0.4 * MONTH for n in lengths],
        weights=[rng.choice([1.0, 2.5, 1.3, -0.7], size=n) for n in lengths],
    )


def slow_vector(rows, times, weights, parameters, items):
    """The documented formula, event by event in float64."""
    n_events, channels = len(rows), []
    vectors = [items[row].astype(float) for row in rows]
    liked = [e for e in range(n_events) if weights[e] > 0]
    for j in range(len(parameters["decay"])):
        log_decayed = [
            np.log(abs(weights[e]))
            - parameters["decay"][j] * len({t for t in times if t > times[e]})
            - parameters["elapsed"][j] * (times[-1] - times[e]) / MONTH
            for e in range(n_events)
        ]
        total = np.zeros(items.shape[1])
        for e in range(n_events):
            same = [f for f in range(n_events) if rows[f] == rows[e]]
            item_sum = sum(np.sign(weights[f]) * np.exp(log_decayed[f]) for f in same)
            others = [f for f in liked if f != e]
            support = 0.0
            if e in liked and others:
                support = np.mean([vectors[e] @ vectors[f] for f in others])
            total += (
                np.sign(weights[e])
                * np.exp(
                    log_decayed[e]
                    - parameters["repeat"][j] * np.log(abs(item_sum))
                    + parameters["support"][j] * support
                    + parameters["gate"][rows[e]]
                )
                * vectors[e]
            )
        channels.append(total / np.linalg.norm(total))
    x = np.concatenate(channels)
    hidden = np.maximum(x @ parameters["weight0"] + parameters["bias0"], 0)
    user = softmax(parameters["mix"]) @ np.array(channels) + x @ parameters["linear"]
    user = user + hidden @ parameters["weight1"] + parameters["bias1"]
    return user / np.linalg.norm(user)


def test_a_user_vector_follows_the_formula():
    rng = np.random.default_rng(0)
    X = made_up_histories(rng)
    assert (X.weights < 0).any()
    assert max(np.bincount(row).max() for row in X) > 1
    items = ItemEmbeddings(rng.normal(size=(N_ITEMS, 4)))
    encoder = TwoTowerUserEncoder(
        items, decays=(0.1, 0.9), hidden_layer_sizes=(3,), max_iter=1, early_stopping=False
    ).fit(X)
    for name, value in encoder.parameters_[0].items():
        noise = rng.normal(size=value.shape) * 0.3
        encoder.parameters_[0][name] = (np.abs(value + noise)).astype(np.float32)
    vectors = encoder.transform(X)
    for user in range(len(X)):
        own = slice(X.offsets[user], X.offsets[user + 1])
        rows = items.lookup(X.item_ids[X.codes[own]])
        expected = slow_vector(
            rows, X.timestamps[own], X.weights[own], encoder.parameters_[0], items.vectors
        )
        np.testing.assert_allclose(vectors[user], expected, atol=2e-5)


def fitted(**parameters):
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(rng.normal(size=(30, 5)))
    X = rng.integers(30, size=(60, 6))
    settings = {"max_iter": 2, "early_stopping": False, "random_state": 0, **parameters}
    return TwoTowerUserEncoder(items, **settings).fit(X)


def test_a_parameter_used_only_by_fit_keeps_the_id_and_the_vectors():
    encoder = fitted()
    X = [[1, 2, 3, 4, 5]]
    before, vectors = encoder.encoder_id_, encoder.transform(X)
    encoder.set_params(learning_rate_init=0.5, hidden_layer_sizes=(3,), decays=(7.0,))
    encoder.set_params(random_state=9, negatives="sampled", item_tower="trained", alpha=3.0)
    encoder.set_params(dropout=0.9, event_dropout=0.9, n_jobs=2, unknown_item="raise")
    assert encoder.encoder_id_ == before
    np.testing.assert_array_equal(encoder.transform(X), vectors)
