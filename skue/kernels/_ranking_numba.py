"""Counting compiled by numba: both counts of ``_ranking`` in one pass over the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from skue.kernels._threads import compiled

_FLOATS = types.Array(types.float32, 1, "C", readonly=True)
_TYPES: Any = (
    types.Array(types.float32, 2, "C", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True),
    _FLOATS,
    _FLOATS,
    types.int64[::1],
    types.int64[::1],
)


@njit(nogil=True)
def _count(row, lower, upper):  # type: ignore[no-untyped-def]
    # Adding an int32 that is 0 or 1 is vectorised. Adding the bool itself is not, and takes nine
    # times as long.
    one, none = np.int32(1), np.int32(0)
    above, reached = none, none
    for column in range(len(row)):
        above = np.int32(above + (one if row[column] > upper else none))
        reached = np.int32(reached + (one if row[column] >= lower else none))
    return above, reached


def _count_around(scores, users, lower, upper, above, reached):  # type: ignore[no-untyped-def]
    for target in range(len(users)):
        n_above, n_reached = _count(scores[users[target]], lower[target], upper[target])
        above[target] += n_above
        reached[target] += n_reached


count_around = compiled(_count_around, _TYPES)
