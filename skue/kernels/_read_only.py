"""Arrays that nobody can change."""

from __future__ import annotations

from typing import Any

import numpy as np


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written to. Whoever holds the array itself still can."""
    array = array.view()
    array.flags.writeable = False
    return array


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only array that nobody else can write to: a copy, unless it is one already.

    Arrays mapped from a file that was opened for reading are returned as they are.
    """
    holder: Any = array
    while isinstance(holder, np.ndarray):
        if holder.flags.writeable:
            array = array.copy()
            break
        holder = holder.base
    return read_only(array)
