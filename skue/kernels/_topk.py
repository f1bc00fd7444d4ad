"""The k nearest items of each user, by exact search in blocks."""

from __future__ import annotations

import numpy as np

from skue.kernels._segments import owners

_BLOCK_BYTES = 64 * 2**20
_GROUP_SIZE = 64


def top_k(
    user_vectors: np.ndarray,
    item_vectors: np.ndarray,
    k: int,
    *,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the k items with the largest products, largest first.

    Equal scores come in the order of the rows.

    Parameters
    ----------
    user_vectors : ndarray of shape (n_users, n_dims), float32
    item_vectors : ndarray of shape (n_items, n_dims), float32
    k : int
    excluded : (rows, offsets), default=None
        Items that a user must not get, as flat rows with offsets of shape (n_users + 1,).

    Returns
    -------
    rows : ndarray of shape (n_users, k), int64
        -1 where fewer than k items are left.
    scores : ndarray of shape (n_users, k), float32
        ``-inf`` where fewer than k items are left.
    """
    n_users, n_items = len(user_vectors), len(item_vectors)
    rows = np.full((n_users, k), -1, dtype=np.int64)
    scores = np.full((n_users, k), -np.inf, dtype=np.float32)
    block = max(1, _BLOCK_BYTES // max(4 * n_items, 1))
    n_best = min(k, n_items)
    for start in range(0, n_users, block):
        stop = min(start + block, n_users)
        products = user_vectors[start:stop] @ item_vectors.T
        if excluded is not None:
            out_rows, out_offsets = excluded
            own = out_offsets[start : stop + 1]
            products[owners(own), out_rows[own[0] : own[-1]]] = -np.inf
        rows[start:stop, :n_best], scores[start:stop, :n_best] = _best(products, n_best)
    if excluded is not None:
        rows[np.isneginf(scores)] = -1
    return rows, scores


def _best(products: np.ndarray, n_best: int) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and values of each row's n_best largest, largest first, ties by column."""
    at_least = _lower_bounds(products, n_best)
    places = np.flatnonzero(products >= at_least[:, None])
    rows, columns = np.divmod(places, products.shape[1])
    found = products[rows, columns]
    starts = np.searchsorted(rows, np.arange(len(products)))
    best = np.lexsort((-found, rows))[starts[:, None] + np.arange(n_best)]
    return columns[best], found[best]


def _lower_bounds(products: np.ndarray, n_best: int) -> np.ndarray:
    """Return, for each row, a score that at least n_best of its products reach."""
    n_users, n_items = products.shape
    if n_best == n_items:
        return products.min(axis=1, initial=np.inf)
    width = min(_GROUP_SIZE, n_items // (2 * n_best))
    if width < 8:
        return np.partition(products, -n_best, axis=1)[:, -n_best]
    # The n_best-th largest of the maxima of groups: that many products reach it, seldom many
    # more, and maxima are far cheaper to find than a partition of the whole row.
    whole = n_items // width * width
    maxima = products[:, :whole].reshape(n_users, width, -1).max(axis=1)
    return np.partition(maxima, -n_best, axis=1)[:, -n_best]
