"""Read-only arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a read-only view. The array itself stays writeable."""
    array = array.view()
    array.flags.writeable = False
    return array


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only array whose memory is not writeable through another array.

    Copies the array if necessary. An array mapped from a file opened for reading is not copied.
    """
    holder: Any = array
    while isinstance(holder, np.ndarray):
        if holder.flags.writeable:
            array = array.copy()
            break
        holder = holder.base
    return read_only(array)
