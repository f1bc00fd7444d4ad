"""The inner loops of training are the same with and without numba."""

import numpy as np
import pytest

from skue.encoders.two_tower import _optimizer


@pytest.mark.parametrize("sparse", [True, False], ids=["some rows", "all rows"])
def test_the_compiled_step_of_adamw_gives_the_same_bits(sparse):
    compiled = pytest.importorskip("skue.encoders.two_tower._optimizer_numba", reason="needs numba")
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(30, 7)).astype(np.float32) for _ in range(4)]
    tables[3] = np.abs(tables[3])
    rows = np.sort(rng.choice(30, 11, replace=False)) if sparse else np.arange(30)
    unchanged = rng.random(len(rows)).astype(np.float32) if sparse else np.empty(0, np.float32)
    gradients = rng.normal(size=(len(rows), 7)).astype(np.float32)
    factors = np.array([0.9, 0.1, 0.999, 0.001, 1e-8, 0.003, 0.98, 0.005], dtype=np.float32)
    updated = []
    for update in (_optimizer.update_rows, compiled.update_rows):
        copies = [table.copy() for table in tables]
        update(*copies, gradients, rows, unchanged, factors)
        updated.append(copies)
    for ours, theirs, before in zip(*updated, tables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert (ours[rows] != before[rows]).all()
        untouched = np.setdiff1d(np.arange(30), rows)
        np.testing.assert_array_equal(ours[untouched], before[untouched])


def test_sums_by_row_are_the_same_with_and_without_numba(monkeypatch):
    pytest.importorskip("numba", reason="needs numba")
    rng = np.random.default_rng(0)
    rows, values = rng.integers(9, size=200), rng.normal(size=(200, 5)).astype(np.float32)
    start = rng.normal(size=(9, 5)).astype(np.float32)
    expected = start.astype(np.float64)
    for row, value in zip(rows, values, strict=True):
        expected[row] += value
    for backend in ("numba", "scipy"):
        monkeypatch.setattr(_optimizer, "pooling_backend", lambda backend=backend: backend)
        _optimizer._compiled.cache_clear()
        total = start.copy()
        _optimizer.add_at_rows(total, rows, values)
        np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-5)
    _optimizer._compiled.cache_clear()
