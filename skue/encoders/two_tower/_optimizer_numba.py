"""Loops of training compiled by numba: each passes over its arrays once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from skue.kernels._threads import compiled

_TABLE = types.float32[:, ::1]
_READ_ONLY_TABLE = types.Array(types.float32, 2, "C", readonly=True)
_ROWS = types.Array(types.int64, 1, "C", readonly=True)
_FLOATS = types.Array(types.float32, 1, "C", readonly=True)
_UPDATE: Any = (*4 * (_TABLE,), _READ_ONLY_TABLE, _ROWS, _FLOATS, _FLOATS)


def _update_rows(  # type: ignore[no-untyped-def]
    values, averages, means, squares, gradients, rows, unchanged, factors
):
    # The same operations as in numpy, in the same order, so the rounding is the same.
    beta_1, rest_1, beta_2, rest_2, epsilon, size, decay, average_rest = factors
    for at in range(len(rows)):
        row = rows[at]
        value, average, mean, square = values[row], averages[row], means[row], squares[row]
        gradient = gradients[at]
        if len(unchanged):
            for column in range(len(value)):
                old = value[column]
                average[column] = old + (average[column] - old) * unchanged[at]
        for column in range(len(value)):
            of = gradient[column]
            mean[column] = mean[column] * beta_1 + of * rest_1
            square[column] = square[column] * beta_2 + (of * of) * rest_2
            step = mean[column] / (np.sqrt(square[column]) + epsilon) * size
            value[column] = value[column] * decay - step
            average[column] += (value[column] - average[column]) * average_rest


update_rows = compiled(_update_rows, _UPDATE)


def _add_at_rows(total, rows, values):  # type: ignore[no-untyped-def]
    for at in range(len(rows)):
        sums, added = total[rows[at]], values[at]
        for column in range(len(sums)):
            sums[column] += added[column]


add_at_rows = compiled(_add_at_rows, (_TABLE, _ROWS, _READ_ONLY_TABLE))
