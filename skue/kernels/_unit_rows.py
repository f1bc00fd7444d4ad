"""Unit vectors: bringing rows to length 1, and when a sum is too short to have a direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# A sum no longer than this share of the mass of its weights has no direction.
NEGLIGIBLE_NORM = 1e-6
# A float32 sum no longer than this share has mostly cancelled, and what is left is mostly
# rounding error, so it is recomputed in float64.
CANCELS = 1e-3
# Weights below this share of the user's largest do not change a float32 sum, and count as zero.
# Decay leads to ever smaller ones, and many processors multiply numbers below 1e-38 very slowly.
NEGLIGIBLE_WEIGHT = 1e-30

_CACHE_LINE = 64


def row_norms(vectors: np.ndarray, dtype: Any = None) -> np.ndarray:
    """Return the length of each vector along the last axis, computed in the given dtype."""
    return np.sqrt(np.einsum("...d,...d->...", vectors, vectors, dtype=dtype))


def unit_rows(vectors: np.ndarray, norms: np.ndarray | None = None) -> np.ndarray:
    """Return rows of length 1; rows of zeros stay zero."""
    if norms is None:
        norms = np.linalg.norm(vectors, axis=1)
    return vectors / np.where(norms > 0, norms, 1)[:, None]


def unit_sums(
    sums: np.ndarray, mass: np.ndarray, exact: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Scale sums of vectors to length 1 in place, and tell which of them have a direction.

    Parameters
    ----------
    sums : ndarray of shape (n_users, n_dims), float32
    mass : ndarray of shape (n_users,), float64
        Sum of the absolute weights of each user's vectors.
    exact : callable
        ``exact(users)`` returns the sums of these users in float64.

    Returns
    -------
    sums : ndarray of shape (n_users, n_dims), float32
        Zero where a sum has no direction.
    defined : ndarray of shape (n_users,), bool
    """
    norms = row_norms(sums, np.float64)
    cancelled = np.flatnonzero((norms <= CANCELS * mass) & (mass > 0))
    if len(cancelled):
        recomputed = exact(cancelled)
        norms[cancelled] = np.linalg.norm(recomputed, axis=1)
        sums[cancelled] = recomputed
    defined = norms > NEGLIGIBLE_NORM * mass
    sums /= np.where(defined, norms, np.inf).astype(np.float32)[:, None]
    return sums, defined


def aligned_rows(shape: tuple[int, ...]) -> np.ndarray:
    """Return an empty float32 array that starts at a cache line, so that rows span fewer lines."""
    n_bytes = 4 * int(np.prod(shape))
    buffer = np.empty(n_bytes + _CACHE_LINE, dtype=np.uint8)
    start = -buffer.ctypes.data % _CACHE_LINE
    return buffer[start : start + n_bytes].view(np.float32).reshape(shape)
