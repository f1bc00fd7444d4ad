"""The inner loops of training, with numba or numpy: the step of AdamW, and sums by row."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.kernels._backend import pooling_backend


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return the module of compiled loops, or None without numba."""
    if pooling_backend() == "scipy":
        return None
    from skue.encoders.two_tower import _loops_numba

    return _loops_numba


def update_rows(*arguments: np.ndarray) -> None:
    """Do what :func:`update_rows_with_numpy` does, with the same bits, in one pass with numba."""
    compiled = _compiled()
    (update_rows_with_numpy if compiled is None else compiled.update_rows)(*arguments)


def update_rows_with_numpy(
    values: np.ndarray,
    averages: np.ndarray,
    means: np.ndarray,
    squares: np.ndarray,
    gradients: np.ndarray,
    rows: np.ndarray,
    unchanged: np.ndarray,
    factors: np.ndarray,
) -> None:
    """Take a step of AdamW on some rows of a table, and update their average.

    ``rows`` are distinct and in increasing order. ``unchanged`` is the weight that each row's
    average keeps because of the steps since its last update; empty if every step updates all rows.
    """
    first, first_rest, second, second_rest, epsilon, size, decay, average_rest = factors
    every = len(rows) == len(values)
    at = slice(None) if every else rows
    value, average, mean, square = (of[at] for of in (values, averages, means, squares))
    if len(unchanged):
        average = value + (average - value) * unchanged[:, None]
    scratch = gradients * first_rest
    mean *= first
    mean += scratch
    np.multiply(gradients, gradients, out=scratch)
    scratch *= second_rest
    square *= second
    square += scratch
    np.sqrt(square, out=scratch)
    scratch += epsilon
    np.divide(mean, scratch, out=scratch)
    scratch *= size
    value *= decay
    value -= scratch
    np.subtract(value, average, out=scratch)
    scratch *= average_rest
    average += scratch
    values[at], averages[at], means[at], squares[at] = value, average, mean, square


def add_at_rows(total: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Add each row of ``values`` to the row of ``total`` that it names; rows may repeat."""
    compiled = _compiled()
    if compiled is not None and total.dtype == values.dtype == np.float32:
        compiled.add_at_rows(total, rows.astype(np.int64, copy=False), values)
        return
    chosen = sp.csr_array(
        (np.ones(len(rows), dtype=np.float32), rows, np.arange(len(rows) + 1)),
        shape=(len(rows), len(total)),
    )
    total += chosen.T @ values
