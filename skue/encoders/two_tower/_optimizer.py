"""AdamW with a moving average of the weights, and the loops that take most of its time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.encoders.two_tower._model import Arrays
from skue.kernels._threads import pooling_backend

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_BETAS = (_BETA_1, 1 - _BETA_1, _BETA_2, 1 - _BETA_2, _EPSILON)


class AdamW:
    r"""Adam with decoupled weight decay, and a moving average of the weights.

    Step :math:`t` with gradient :math:`g` changes the means :math:`m` of gradients, those
    :math:`s` of their squares, the weights :math:`\theta` and their average :math:`a`:

    .. math:: m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
              s &\leftarrow \beta_2 s + (1 - \beta_2)\, g^2 \\
              \theta &\leftarrow (1 - \eta \alpha)\, \theta - \eta\,
              \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{m}{\sqrt{s} + \epsilon} \\
              a &\leftarrow a + (1 - \gamma)\, (\theta - a)

    with learning rate :math:`\eta`, weight decay :math:`\alpha` and averaging :math:`\gamma`. A
    step may be limited to some rows of the arrays in ``by_row``. The other rows do not change, and
    their average is brought up to date when they are used next.

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
        self.n_steps = t = self.n_steps + 1
        size = self.learning_rate * np.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
        # Forget the start faster during the first steps.
        averaging = min(max(self.averaging, 1e-30), t / (t + 10))
        compiled = _compiled()
        update: Callable[..., None] = update_rows if compiled is None else compiled.update_rows
        for name, gradient in gradients.items():
            tables = [
                _as_table(arrays[name])
                for arrays in (self.parameters, self._averages, self._means, self._squares)
            ]
            decay = 1 - self.learning_rate * self.weight_decay if name in self.decayed else 1
            rates = size, decay, 1 - averaging
            own, unchanged = np.arange(len(tables[0])), np.empty(0, dtype=np.float32)
            if rows is not None and name in self._averaged_at:
                own, at = rows, self._averaged_at[name]
                unchanged = np.exp(self._log_past - at[rows]).astype(np.float32)
                at[rows] = self._log_past + np.log(averaging)
            gradient = _as_table(np.ascontiguousarray(gradient, dtype=np.float32))
            update(*tables, gradient, own, unchanged, np.array((*_BETAS, *rates), np.float32))
        self._log_past += np.log(averaging)

    def averages(self) -> Arrays:
        """Return copies of the averaged parameters."""
        averages = {name: average.copy() for name, average in self._averages.items()}
        for name, at in self._averaged_at.items():
            if at.any():
                value = _as_table(self.parameters[name])
                average, unchanged = _as_table(averages[name]), np.exp(self._log_past - at)
                average[:] = value + (average - value) * unchanged.astype(np.float32)[:, None]
        return averages


def _as_table(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


def update_rows(
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
    ``factors`` are the betas with what each leaves, epsilon, the size of the step, the factor of
    weight decay, and the weight of the new value in the average.
    """
    beta_1, rest_1, beta_2, rest_2, epsilon, size, decay, average_rest = factors
    value, average, mean, square = values[rows], averages[rows], means[rows], squares[rows]
    if len(unchanged):
        average = value + (average - value) * unchanged[:, None]
    mean = mean * beta_1 + gradients * rest_1
    square = square * beta_2 + gradients * gradients * rest_2
    value = value * decay - mean / (np.sqrt(square) + epsilon) * size
    average = average + (value - average) * average_rest
    values[rows], averages[rows], means[rows], squares[rows] = value, average, mean, square


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


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return the module with the compiled loops, or None without numba."""
    if pooling_backend() == "scipy":
        return None
    from skue.encoders.two_tower import _optimizer_numba

    return _optimizer_numba
