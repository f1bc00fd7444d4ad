"""The k nearest items of each user, by exact search in blocks."""

from __future__ import annotations

import numpy as np

from skue.kernels._segments import owners

_BLOCK_BYTES = 64 * 2**20


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
        best = _best_columns(products, n_best)
        found = np.take_along_axis(products, best, axis=1)
        scores[start:stop, :n_best] = found
        rows[start:stop, :n_best] = np.where(np.isneginf(found), -1, best)
    return rows, scores


def _best_columns(products: np.ndarray, n_best: int) -> np.ndarray:
    """Return the columns of the n_best largest of each row, largest first, ties by column."""
    if n_best < products.shape[1]:
        # The smallest score that still gets in; all above it are in, ties fill up by column.
        threshold = np.partition(products, -n_best, axis=1)[:, -n_best, None]
        above = products > threshold
        open_places = n_best - above.sum(axis=1, keepdims=True)
        tied = products == threshold
        chosen = above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= open_places))
        best = np.nonzero(chosen)[1].reshape(len(products), n_best)
    else:
        best = np.tile(np.arange(products.shape[1]), (len(products), 1))
    order = np.argsort(-np.take_along_axis(products, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)
