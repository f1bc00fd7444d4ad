"""AdamW with a moving average of the weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.kernels._threads import pooling_backend


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return the module of compiled loops, or None without numba."""
    if pooling_backend() == "scipy":
        return None
    from skue.encoders.two_tower import _optimizer_numba as _loops_numba

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


Arrays = dict[str, np.ndarray]

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8


class AdamW:
    """Adam with decoupled weight decay, and a moving average of the weights.

    A step may be limited to some rows of the arrays in ``by_row``. The other rows do not change,
    and their average is brought up to date when they are used next.

    Parameters
    ----------
    parameters : dict of ndarrays, float32
        Updated in place.
    learning_rate : float
    weight_decay : float
    decayed : frozenset of str
        Names of the arrays with weight decay.
    by_row : frozenset of str
        Names of the arrays of which a step may update only some rows.
    averaging : float
        Weight of the past in the moving average, per step; 0 is no averaging.

    References
    ----------
    I. Loshchilov, F. Hutter (2019). Decoupled weight decay regularization. ICLR.
    """

    def __init__(
        self,
        parameters: Arrays,
        *,
        learning_rate: float,
        weight_decay: float,
        decayed: frozenset[str],
        by_row: frozenset[str],
        averaging: float,
    ) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.decayed = decayed
        self.by_row = by_row
        self.averaging = averaging
        self.n_steps = 0
        self._averages = {name: value.copy() for name, value in parameters.items()}
        self._means = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._squares = {name: np.zeros_like(value) for name, value in parameters.items()}
        # Logarithm of the weight of the start in the average, now and when each row was last
        # averaged.
        self._log_past = 0.0
        self._averaged_at = {name: np.zeros(len(parameters[name])) for name in by_row}

    def step(self, gradients: Arrays, rows: np.ndarray | None = None) -> None:
        """Update the parameters.

        Parameters
        ----------
        gradients : dict
            Gradients of arrays in ``by_row`` have the given rows only.
        rows : ndarray of int64, default=None
            Distinct rows in increasing order; None means all rows.
        """
        self.n_steps += 1
        # Forget the start faster during the first steps.
        averaging = min(max(self.averaging, 1e-30), self.n_steps / (self.n_steps + 10))
        before = self._log_past
        self._log_past += np.log(averaging)
        for name, gradient in gradients.items():
            by_row = rows is not None and name in self.by_row
            self._update(name, gradient, rows if by_row else None, averaging, before)
            if by_row:
                self._averaged_at[name][rows] = self._log_past

    def averages(self) -> Arrays:
        """Return copies of the averaged parameters."""
        averages = {name: average.copy() for name, average in self._averages.items()}
        for name, at in self._averaged_at.items():
            if at.any():
                value = self.parameters[name]
                unchanged = _as_column(np.exp(self._log_past - at), value)
                averages[name] = value + (averages[name] - value) * unchanged
        return averages

    def _update(
        self,
        name: str,
        gradient: np.ndarray,
        rows: np.ndarray | None,
        averaging: float,
        log_past: float,
    ) -> None:
        tables = [
            _as_table(of[name])
            for of in (self.parameters, self._averages, self._means, self._squares)
        ]
        unchanged = np.empty(0, dtype=np.float32)
        if rows is not None:
            unchanged = np.exp(log_past - self._averaged_at[name][rows]).astype(np.float32)
        size = self.learning_rate * np.sqrt(1 - _SECOND**self.n_steps) / (1 - _FIRST**self.n_steps)
        decay = 1 - self.learning_rate * self.weight_decay if name in self.decayed else 1
        factors = [_FIRST, 1 - _FIRST, _SECOND, 1 - _SECOND, _EPSILON, size, decay, 1 - averaging]
        if rows is None:
            rows = np.arange(len(tables[0]))
        gradient = _as_table(np.ascontiguousarray(gradient, dtype=np.float32))
        update_rows(*tables, gradient, rows, unchanged, np.array(factors, np.float32))


def _as_table(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


def _as_column(factors: np.ndarray, like: np.ndarray) -> np.ndarray:
    return factors.astype(np.float32).reshape((-1,) + (1,) * (like.ndim - 1))
