"""Pooling with both backends, compared with a slow loop in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skue
from skue.kernels import _pooling
from skue.kernels import _threads as _backend
from skue.kernels._arrays import offsets_of, step_ages
from skue.kernels._pooling import decayed_averages, mixed_unit_vectors

DECAYS = [0.0, 0.3]


@pytest.fixture(params=["scipy", "numba"])
def backend(request, monkeypatch):
    """Pool with one of the backends."""
    if request.param == "scipy":
        monkeypatch.setattr(_pooling, "_compiled", lambda: None)
    else:
        pytest.importorskip("numba")
        assert _pooling._compiled() is not None
    return request.param


def batch(rng, n_users, n_dims, n_items=40, longest=12):
    lengths = rng.integers(0, longest, n_users)
    offsets = offsets_of(lengths)
    rows = rng.integers(0, n_items, offsets[-1]).astype(np.int32)
    vectors = rng.normal(size=(n_items, n_dims)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows, offsets, vectors


def slow_average(rows, ages, weights, decay, exponent, vectors):
    """Return a user's unit vector and its norm as a share of the mass, computed in float64."""
    sums, masses = {}, {}
    for row, age, weight in zip(rows.tolist(), ages, weights, strict=True):
        pull = weight * np.exp(-decay * age)
        sums[row] = sums.get(row, 0.0) + pull
        masses[row] = masses.get(row, 0.0) + abs(pull)
    total, mass = np.zeros(vectors.shape[1]), 0.0
    for row, value in sums.items():
        if abs(value) > 1e-12 * masses[row]:
            coefficient = np.sign(value) * abs(value) ** exponent
            total += coefficient * vectors[row].astype(np.float64)
            mass += abs(coefficient)
    norm = np.linalg.norm(total)
    return (total / norm, norm / mass) if mass and norm else (total, 0.0)


def check(rows, offsets, ages, weights, exponent, vectors, tolerance=1e-5):
    pooled, defined = decayed_averages(rows, offsets, ages, weights, DECAYS, exponent, vectors)
    given_ages = step_ages(offsets) if ages is None else ages
    given_weights = np.ones(len(rows)) if weights is None else weights
    assert pooled.shape == (len(DECAYS), len(offsets) - 1, vectors.shape[1])
    assert pooled.dtype == np.float32
    n_compared = 0
    for part, decay in enumerate(DECAYS):
        for user in range(len(offsets) - 1):
            own = slice(offsets[user], offsets[user + 1])
            expected, share = slow_average(
                rows[own], given_ages[own], given_weights[own], decay, exponent, vectors
            )
            if share > 1e-5:
                assert defined[part, user]
                np.testing.assert_allclose(pooled[part, user], expected, atol=tolerance / share)
                n_compared += 1
            elif share < 1e-7:
                assert not defined[part, user]
                assert not pooled[part, user].any()
    return n_compared


# 7 dimensions are cut into 4, 2 and 1 columns, 200 into several tiles and a rest.
@pytest.mark.parametrize("n_dims", [7, 200])
@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
def test_averages_by_step_equal_a_slow_loop(backend, n_dims, exponent):
    rows, offsets, vectors = batch(np.random.default_rng(n_dims), 60, n_dims)
    assert check(rows, offsets, None, None, exponent, vectors) > 80


@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("kind", ["positive", "signed", "huge", "times"])
def test_averages_with_weights_or_times_equal_a_slow_loop(backend, exponent, kind):
    rng = np.random.default_rng(3)
    rows, offsets, vectors = batch(rng, 60, 7, n_items=8)
    weights, ages = rng.choice([0.25, 1.0, 3.0, 0.0], len(rows)), None
    if kind == "signed":
        weights *= rng.choice([-1.0, 1.0], len(rows))
    elif kind == "huge":
        weights *= 1e120
    elif kind == "times":
        weights, ages = None, rng.random(len(rows)) * 40
    assert check(rows, offsets, ages, weights, exponent, vectors) > 80


numbers = st.tuples(st.integers(0, 5), st.sampled_from([1.0, -1.0, 2.0, 0.5, 0.0]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(numbers, max_size=6), min_size=1, max_size=5),
    st.sampled_from([1.0, 0.5, 0.0]),
    st.booleans(),
)
@pytest.mark.parametrize("by", ["scipy", "numba"])
def test_averages_with_cancelling_weights_equal_a_slow_loop(by, users, exponent, in_steps):
    if by == "numba":
        pytest.importorskip("numba")
    offsets = offsets_of(np.array([len(user) for user in users]))
    events = [event for user in users for event in user]
    rows = np.array([row for row, _ in events], dtype=np.int32)
    weights = np.array([weight for _, weight in events], dtype=np.float64)
    vectors = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    # Two opposite items cancel.
    vectors[1] = -vectors[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        if by == "scipy":
            patch.setattr(_pooling, "_compiled", lambda: None)
        check(rows, offsets, None if in_steps else np.zeros(len(rows)), weights, exponent, vectors)


def test_a_nearly_cancelled_sum_is_computed_in_float64(backend):
    vectors = np.array([[1, 0], [-np.cos(1e-4), np.sin(1e-4)]], dtype=np.float32)
    rows, offsets = np.array([0, 1], dtype=np.int32), np.array([0, 2])
    pooled, defined = decayed_averages(rows, offsets, None, None, [0.0], 1.0, vectors)
    exact = vectors.astype(np.float64).sum(axis=0)
    assert defined.all()
    np.testing.assert_allclose(pooled[0, 0], exact / np.linalg.norm(exact), atol=1e-6)


def test_a_user_alone_gets_the_same_bits_as_in_a_batch(backend):
    rng = np.random.default_rng(5)
    rows, offsets, vectors = batch(rng, 400, 200, n_items=900, longest=40)
    whole, _ = decayed_averages(rows, offsets, None, None, DECAYS, 1.0, vectors)
    assert 4 * len(rows) >= len(vectors)
    for user in range(40):
        own = rows[offsets[user] : offsets[user + 1]]
        assert 4 * len(own) < len(vectors)
        alone, _ = decayed_averages(own, np.array([0, len(own)]), None, None, DECAYS, 1.0, vectors)
        np.testing.assert_array_equal(alone[:, 0], whole[:, user])


def test_read_only_memory_maps_give_the_same_result(backend, tmp_path):
    rows, offsets, vectors = batch(np.random.default_rng(1), 20, 7)
    expected, _ = decayed_averages(rows, offsets, None, None, DECAYS, 1.0, vectors)
    mapped = []
    for name, array in (("rows", rows), ("offsets", offsets), ("vectors", vectors)):
        np.save(tmp_path / f"{name}.npy", array)
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    pooled, _ = decayed_averages(mapped[0], mapped[1], None, None, DECAYS, 1.0, mapped[2])
    np.testing.assert_array_equal(pooled, expected)


def test_a_cancelled_mix_is_undefined_and_a_nearly_cancelled_mix_is_exact():
    parts = np.array([[[1, 0], [1, 0], [0, 0]], [[-1, 0], [-1, 1e-5], [0, 0]]], dtype=np.float32)
    mixed, defined = mixed_unit_vectors(parts, np.array([0.5, 0.5]))
    assert defined.tolist() == [False, True, False]
    np.testing.assert_allclose(mixed, [[0, 0], [0, 1], [0, 0]], atol=1e-6)


def test_without_numba_the_backend_is_scipy(monkeypatch):
    monkeypatch.setattr(_backend, "find_spec", lambda name: None)
    assert skue.pooling_backend() == "scipy"
    assert _pooling._compiled.__wrapped__() is None


@pytest.mark.parametrize("given", ["steps", "ages", "weights"])
def test_weights_below_1e_30_of_the_largest_count_as_zero(backend, given):
    vectors = np.eye(2, dtype=np.float32)
    # exp(-0.6 * 100) is 9e-27, and exp(-0.6 * 120) is 5e-32. The exponent 0.5 takes the root.
    for age, exponent, counts in (
        (100, 1.0, True),
        (100, 0.5, True),
        (120, 1.0, False),
        (120, 0.5, True),
    ):
        rows = np.r_[0, np.ones(age)].astype(np.int32)
        offsets = np.array([0, len(rows)])
        ages = None if given == "steps" else step_ages(offsets) + 1000.0  # only gaps matter
        weights = np.full(len(rows), 1e-9) if given == "weights" else None
        options = rows, offsets, ages, weights, [0.6], exponent, vectors
        pooled, defined = decayed_averages(*options)
        assert defined.all()
        assert (pooled[0, 0, 0] > 0) == counts
        np.testing.assert_allclose(pooled[0, 0, 1], 1)
