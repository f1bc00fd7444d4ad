"""Every gradient of the learned encoder against finite differences."""

import numpy as np
import pytest
from scipy.special import logsumexp

from skue.encoders.two_tower._examples import Batch, grouped_by_item
from skue.encoders.two_tower._losses import full_softmax, sampled_softmax
from skue.encoders.two_tower._model import (
    head,
    head_gradient,
    pool,
    pool_gradient,
    start_of_dense,
    start_of_pooling,
)
from skue.encoders.two_tower._optimizer import AdamW, add_at_rows

N_ITEMS, N_DIMS, N_USERS, N_EVENTS = 7, 4, 6, 5


def unit(table):
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def make_batch(rng, *, weighted):
    present = rng.random((N_USERS, N_EVENTS)) < 0.8
    present[:, 0] = True
    present[0, 1:] = False  # one history of a single event
    rows = np.where(present, rng.integers(N_ITEMS, size=present.shape), 0)
    assert len(np.unique(rows[1])) < N_EVENTS  # some item comes up twice
    weights = np.where(present, rng.normal(size=present.shape) + 0.5, 0) if weighted else None
    ages = np.where(present, np.arange(N_EVENTS), 0).astype(float)
    elapsed = np.where(present, rng.random(present.shape), 0)
    return Batch(rows, present, ages, elapsed, weights, *grouped_by_item(rows, present))


def make_parameters(rng):
    parameters = start_of_pooling(np.array([0.1, 0.7]), 0.4, N_ITEMS)
    parameters |= start_of_dense(2, N_DIMS, (3,), rng)
    parameters |= {"mix": np.zeros(2), "items": np.zeros((N_ITEMS, N_DIMS))}
    parameters = {
        name: value + rng.normal(size=value.shape) * 0.4 for name, value in parameters.items()
    }
    return parameters | {"log_temperature": np.array([-1.0])}


def loss_and_gradients(parameters, batch, targets, kept):
    items = unit(parameters["items"])
    pooled = pool(batch, parameters, items)
    output = head(pooled.channels, parameters, kept)
    temperature = float(parameters["log_temperature"][0])
    loss = full_softmax(output.users, items, targets, temperature, label_smoothing=0.1)
    gradients, channels = head_gradient(pooled.channels, parameters, output, loss.users_gradient)
    of_pooling, of_events = pool_gradient(
        batch, parameters, pooled, channels, n_items=N_ITEMS, learn_items=True
    )
    gradients |= of_pooling
    of_items = loss.items_gradient
    add_at_rows(of_items, batch.rows.ravel(), of_events.reshape(-1, N_DIMS))
    of_items -= items * np.sum(of_items * items, axis=1, keepdims=True)
    gradients["items"] = of_items / np.linalg.norm(parameters["items"], axis=1, keepdims=True)
    gradients["log_temperature"] = np.array([loss.log_temperature_gradient])
    return loss.value, gradients


def finite_differences(function, array, step=1e-5):
    result = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        below = function()
        array[index] = kept
        result[index] = (above - below) / (2 * step)
    return result


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "name",
    [
        "decay",
        "elapsed",
        "repeat",
        "support",
        "gate",
        "mix",
        "linear",
        "weight0",
        "bias0",
        "weight1",
        "bias1",
        "items",
        "log_temperature",
    ],
)
def test_gradients_match_finite_differences(name, weighted):
    rng = np.random.default_rng(1)
    batch = make_batch(rng, weighted=weighted)
    parameters = make_parameters(rng)
    targets = rng.integers(N_ITEMS, size=N_USERS)
    kept = (rng.random((N_USERS, 2 * N_DIMS)) > 0.3) / 0.7
    _, gradients = loss_and_gradients(parameters, batch, targets, kept)
    expected = finite_differences(
        lambda: loss_and_gradients(parameters, batch, targets, kept)[0], parameters[name]
    )
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(gradients[name], expected, atol=2e-8)


def test_the_full_loss_follows_the_formula():
    rng = np.random.default_rng(0)
    users, items = unit(rng.normal(size=(5, 4))), unit(rng.normal(size=(9, 4)))
    targets = rng.integers(9, size=5)
    scores = users @ items.T / 0.2
    q = np.full((5, 9), 0.1 / 9)
    q[np.arange(5), targets] += 0.9
    expected = np.mean(logsumexp(scores, axis=1) - np.sum(q * scores, axis=1))
    loss = full_softmax(users, items, targets, np.log(0.2), label_smoothing=0.1)
    assert loss.value == pytest.approx(expected)


def sampled_inputs(rng, n_users=6, n_uniform=5):
    users = unit(rng.normal(size=(n_users, N_DIMS)))
    rows = rng.integers(N_ITEMS, size=n_users + n_uniform)
    candidates = unit(rng.normal(size=(N_ITEMS, N_DIMS)))[rows]
    log_expected = np.log(rng.uniform(0.5, 3.0, size=N_ITEMS))[rows]
    return users, candidates, rows, log_expected


def slow_sampled_loss(users, candidates, rows, log_expected, temperature):
    losses = []
    for user in range(len(users)):
        scores = users[user] @ candidates.T / temperature
        others = [scores[c] - log_expected[c] for c in range(len(rows)) if rows[c] != rows[user]]
        losses.append(logsumexp([scores[user], *others]) - scores[user])
    return np.mean(losses)


def test_the_sampled_loss_follows_the_formula():
    users, candidates, rows, log_expected = sampled_inputs(np.random.default_rng(0))
    loss = sampled_softmax(users, candidates, rows, log_expected, np.log(0.3))
    expected = slow_sampled_loss(users, candidates, rows, log_expected, 0.3)
    assert loss.value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["users", "items"])
def test_the_gradient_of_the_sampled_loss_matches_finite_differences(name):
    users, candidates, rows, log_expected = sampled_inputs(np.random.default_rng(0))
    log_expected = log_expected.astype(np.float32).astype(float)
    loss = sampled_softmax(users, candidates, rows, log_expected, np.log(0.3))
    expected = finite_differences(
        lambda: sampled_softmax(users, candidates, rows, log_expected, np.log(0.3)).value,
        users if name == "users" else candidates,
    )
    np.testing.assert_allclose(getattr(loss, f"{name}_gradient"), expected, atol=1e-8)


def test_the_temperature_gradient_of_the_sampled_loss_matches_finite_differences():
    inputs = sampled_inputs(np.random.default_rng(0))
    above, below = (sampled_softmax(*inputs, -1 + step).value for step in (1e-5, -1e-5))
    expected = (above - below) / 2e-5
    assert sampled_softmax(*inputs, -1.0).log_temperature_gradient == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize(("corrected", "agrees"), [(True, True), (False, False)])
def test_only_the_corrected_sampled_loss_approximates_the_full_softmax(corrected, agrees):
    """Its gradient, averaged over draws, is that of the full loss under skewed popularity."""
    rng = np.random.default_rng(0)
    n_items, batch, n_uniform = 30, 400, 100
    items = unit(rng.normal(size=(n_items, 4)))
    share = 1 / np.arange(1, n_items + 1)
    share /= share.sum()
    user = unit(rng.normal(size=(1, 4)))
    target = 11
    full = full_softmax(user, items, np.array([target]), np.log(0.5)).users_gradient[0]
    means = []
    for _ in range(600):
        others = rng.choice(n_items, size=batch - 1, p=share)
        rows = np.concatenate([[target], others, rng.integers(n_items, size=n_uniform)])
        expected = np.log((batch - 1) * share[rows] + n_uniform / n_items)
        log_expected = expected if corrected else np.zeros(len(rows))
        means.append(
            sampled_softmax(user, items[rows], rows, log_expected, np.log(0.5)).users_gradient[0]
        )
    distance = np.linalg.norm(np.mean(means, axis=0) - full) / np.linalg.norm(full)
    assert (distance < 0.03) == agrees
    if not agrees:
        assert distance > 0.1


def test_a_row_updated_lazily_has_the_same_average_as_with_dense_updates():
    def optimiser(by_row):
        return AdamW(
            {"items": np.ones((3, 2), dtype=np.float32)},
            learning_rate=0.1,
            weight_decay=0.0,
            decayed=frozenset(),
            by_row=frozenset(by_row),
            averaging=0.9,
        )

    dense, lazy = optimiser([]), optimiser(["items"])
    gradient = np.array([[1.0, -1.0]], dtype=np.float32)
    for step in range(6):
        full = np.zeros((3, 2), dtype=np.float32)
        full[0] = gradient
        dense.step({"items": full})
        if step == 0:
            lazy.step({"items": full}, rows=np.arange(3))
        else:
            lazy.step({"items": gradient}, rows=np.array([0]))
    np.testing.assert_allclose(lazy.parameters["items"][0], dense.parameters["items"][0], rtol=1e-6)
    np.testing.assert_allclose(lazy.averages()["items"], dense.averages()["items"], rtol=1e-5)


def test_weight_decay_applies_only_to_the_named_weights():
    parameters = {"a": np.ones(2, dtype=np.float32), "b": np.ones(2, dtype=np.float32)}
    optimiser = AdamW(
        parameters,
        learning_rate=0.1,
        weight_decay=0.5,
        decayed=frozenset("a"),
        by_row=frozenset(),
        averaging=0.0,
    )
    optimiser.step({name: np.zeros(2, dtype=np.float32) for name in "ab"})
    np.testing.assert_allclose(parameters["a"], 0.95)
    np.testing.assert_allclose(parameters["b"], 1.0)
