"""Counting compiled by numba: both counts of ``_ranking`` in one pass over the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from skue.kernels._pooling_numba import compiled

_FLOATS = types.Array(types.float32, 1, "C", readonly=True)
_TYPES: Any = (
    types.Array(types.float32, 2, "A", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True),
    _FLOATS,
    _FLOATS,
    types.int64[::1],
    types.int64[::1],
)


@njit(nogil=True)
def _count(row, lower, upper):  # type: ignore[no-untyped-def]
    above, reached = np.int32(0), np.int32(0)
    for score in row:
        above += np.int32(score > upper)
        reached += np.int32(score >= lower)
    return above, reached


def _count_around(scores, users, lower, upper, above, reached):  # type: ignore[no-untyped-def]
    for target in range(len(users)):
        n_above, n_reached = _count(scores[users[target]], lower[target], upper[target])
        above[target] += n_above
        reached[target] += n_reached


count_around = compiled(_count_around, _TYPES)
