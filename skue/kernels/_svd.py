"""Truncated singular value decomposition of a sparse table."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
from scipy import linalg
from sklearn.utils.extmath import randomized_svd, svd_flip

from skue.kernels._threads import blas_threads, one_blas_thread, spread

# Above this number of entries, products with the table take most of the time.
LARGE = 4_000_000
# The Krylov space has this many blocks of n_dims / 4 columns.
_N_BLOCKS = 12


def truncated_svd(
    table: sp.csr_array,
    n_dims: int,
    random_state: np.random.RandomState,
    *,
    n_iter: int | Literal["auto"] = "auto",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the left singular vectors, the singular values and the right singular vectors.

    Small tables are decomposed by scikit-learn's randomized power iterations, large ones in a
    block Krylov space, which needs about a third of the products for the same accuracy. Fewer power
    iterations than ``n_iter="auto"`` are faster and less accurate. The result does not depend on
    the number of threads.
    """
    if table.nnz > LARGE:
        return krylov_svd(table, n_dims, random_state)
    with one_blas_thread():
        return randomized_svd(table, n_dims, n_iter=n_iter, random_state=random_state)


def krylov_svd(
    table: sp.csr_array, n_dims: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Return the largest singular values of a table :math:`A` in a block Krylov space.

    The space is spanned by :math:`G, (A^T A) G, (A^T A)^2 G, \dots` for a random block :math:`G`
    (Musco and Musco 2015. Randomized block Krylov methods for stronger and faster approximate
    singular value decomposition. NeurIPS). The columns of a block are orthogonal to those before.
    """
    width = min(-(-n_dims // 4), min(table.shape))
    n_blocks = min(_N_BLOCKS, min(table.shape) // width)
    basis = np.empty((table.shape[1], n_blocks * width), dtype=table.dtype)
    images = np.empty((table.shape[0], n_blocks * width), dtype=table.dtype)
    block = random_state.normal(size=(table.shape[0], width)).astype(table.dtype)
    for start in range(0, n_blocks * width, width):
        own = slice(start, start + width)
        block = _product(table.T, block)
        with one_blas_thread():
            for _ in range(2):  # Once leaves rounding errors.
                block -= basis[:, :start] @ (basis[:, :start].T @ block)
            basis[:, own], _ = linalg.qr(block, mode="economic", check_finite=False)
        images[:, own] = block = _product(table, basis[:, own])
    with one_blas_thread():
        left, small = linalg.qr(images, mode="economic", overwrite_a=True, check_finite=False)
        turned, values, right = linalg.svd(small, full_matrices=False)
        left, right = svd_flip(left @ turned[:, :n_dims], right[:n_dims] @ basis.T)
    return left, values[:n_dims], right


def _product(table: sp.sparray, dense: np.ndarray) -> np.ndarray:
    """Return ``table @ dense``; threads share the columns."""
    parts = np.array_split(dense, blas_threads(), axis=1)
    parts = [np.ascontiguousarray(part) for part in parts if part.shape[1]]
    return np.hstack(spread(table.__matmul__, parts))
