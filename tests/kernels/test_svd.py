"""The truncated decomposition of large tables, beside a dense one."""

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from skue.kernels import _svd


def decaying_table(n_rows, n_columns):
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.normal(size=(n_rows, 40)))
    right, _ = np.linalg.qr(rng.normal(size=(n_columns, 40)))
    return sp.csr_array(((left * 0.8 ** np.arange(40)) @ right.T).astype(np.float32))


@pytest.mark.parametrize("shape", [(120, 120), (90, 150), (12, 12)])
def test_the_krylov_space_has_the_largest_singular_values(shape):
    table = decaying_table(*shape) if min(shape) > 40 else sp.csr_array(np.eye(12, k=1))
    left, values, right = _svd.krylov_svd(table, 10, np.random.RandomState(0))
    expected_left, expected, expected_right = np.linalg.svd(table.toarray())
    np.testing.assert_allclose(values, expected[:10], atol=1e-5)
    np.testing.assert_allclose(left.T @ left, np.eye(10), atol=1e-5)
    if min(shape) > 40:
        product = (expected_left[:, :10] * expected[:10]) @ expected_right[:10]
        np.testing.assert_allclose((left * values) @ right, product, atol=1e-5)


def test_products_have_the_same_bits_for_every_number_of_threads():
    table = decaying_table(120, 120)
    dense = np.random.default_rng(1).normal(size=(120, 9)).astype(np.float32)
    for side in (table, table.T):
        for limit in (1, 2):
            with threadpool_limits(limit):
                np.testing.assert_array_equal(_svd._product(side, dense), side @ dense)


def test_large_tables_are_decomposed_in_a_krylov_space(monkeypatch):
    table = decaying_table(120, 120)
    monkeypatch.setattr(_svd, "LARGE", table.nnz - 1)
    found = _svd.truncated_svd(table, 10, np.random.RandomState(0))
    expected = _svd.krylov_svd(table, 10, np.random.RandomState(0))
    np.testing.assert_array_equal(found[0], expected[0])
