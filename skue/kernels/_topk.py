"""The k nearest items of each user, by exact search in blocks."""

from __future__ import annotations

import numpy as np

from skue.kernels._arrays import is_among, owners, pairs_of_block, user_item_keys

_BLOCK_BYTES = 64 * 2**20
_SCORE_BYTES = 32 * 2**20
_GROUP_SIZE = 64


def top_k(
    user_vectors: np.ndarray,
    item_vectors: np.ndarray,
    k: int,
    *,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
    allowed: tuple[np.ndarray, np.ndarray | None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and scores of the k items with the largest inner products, best first.

    Items with equal scores are ordered by row.

    Parameters
    ----------
    user_vectors : ndarray of shape (n_users, n_dims), float32
    item_vectors : ndarray of shape (n_items, n_dims), float32
    k : int
    excluded : (rows, offsets), default=None
        Items to leave out for each user, as flat rows with offsets of shape (n_users + 1,).
    allowed : (rows, offsets), default=None
        The only items to return for each user; with offsets of None, for all users.

    Returns
    -------
    rows : ndarray of shape (n_users, k), int64
        -1 where fewer than k items are left.
    scores : ndarray of shape (n_users, k), float32
        ``-inf`` where fewer than k items are left.
    """
    n_users, n_items = len(user_vectors), len(item_vectors)
    limited = excluded is not None or allowed is not None
    if n_users == 1 and not limited and 0 < k <= n_items:
        # One user is usually an online request: skip the preparation for blocks.
        best, found = best_of_row((user_vectors @ item_vectors.T)[0], k)
        return best[None], found[None]
    rows = np.full((n_users, k), -1, dtype=np.int64)
    scores = np.full((n_users, k), -np.inf, dtype=np.float32)
    block = max(1, _BLOCK_BYTES // max(4 * n_items, 1))
    n_best = min(k, n_items)
    if not n_best:
        return rows, scores
    for start in range(0, n_users, block):
        stop = min(start + block, n_users)
        products = user_vectors[start:stop] @ item_vectors.T
        apply_limits(products, start, excluded, allowed)
        rows[start:stop, :n_best], scores[start:stop, :n_best] = best_of_rows(products, n_best)
    if limited:
        rows[np.isneginf(scores)] = -1
    return rows, scores


def apply_limits(
    scores: np.ndarray,
    start: int,
    excluded: tuple[np.ndarray, np.ndarray] | None,
    allowed: tuple[np.ndarray, np.ndarray | None] | None,
) -> None:
    """Set the scores of items that users may not get to ``-inf``, in a block of users."""
    stop, n_items = start + len(scores), scores.shape[1]
    if allowed is not None:
        scores[_not_allowed(allowed, start, stop, n_items)] = -np.inf
    if excluded is not None:
        scores[pairs_of_block(*excluded, start, stop)] = -np.inf


def are_permitted(
    users: np.ndarray,
    items: np.ndarray,
    n_items: int,
    excluded: tuple[np.ndarray, np.ndarray] | None,
    allowed: tuple[np.ndarray, np.ndarray | None] | None,
) -> np.ndarray:
    """Mark the pairs of a user and an item that the limits permit."""
    keys = user_item_keys(users, items, n_items)
    permitted = np.ones(len(keys), dtype=bool)
    if allowed is not None:
        rows, offsets = allowed
        if offsets is None:
            permitted = is_among(items, rows)
        else:
            permitted = is_among(keys, _keys(rows, offsets, n_items))
    if excluded is not None:
        permitted &= ~is_among(keys, _keys(*excluded, n_items))
    return permitted


def _keys(rows: np.ndarray, offsets: np.ndarray, n_items: int) -> np.ndarray:
    return user_item_keys(owners(offsets), rows, n_items)


def _not_allowed(
    allowed: tuple[np.ndarray, np.ndarray | None], start: int, stop: int, n_items: int
) -> np.ndarray | tuple[slice, np.ndarray]:
    """Return an index of the items that the users of a block may not get."""
    rows, offsets = allowed
    if offsets is None:
        others = np.ones(n_items, dtype=bool)
        others[rows] = False
        return slice(None), np.flatnonzero(others)
    others = np.ones((stop - start, n_items), dtype=bool)
    others[pairs_of_block(rows, offsets, start, stop)] = False
    return others


def blocks_of_users(n_users: int, n_items: int) -> list[tuple[int, int]]:
    """Return the ranges of users that are scored at a time, which bound the memory."""
    size = max(1, _SCORE_BYTES // (8 * max(n_items, 1)))
    return [(start, min(start + size, n_users)) for start in range(0, n_users, size)]


def best_of_rows(scores: np.ndarray, n_best: int) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and values of the n_best largest scores of each row, best first."""
    rows = np.empty((len(scores), n_best), dtype=np.int64)
    found = np.empty((len(scores), n_best), dtype=scores.dtype)
    for user, own in enumerate(scores):
        rows[user], found[user] = best_of_row(own, n_best)
    return rows, found


def best_of_row(scores: np.ndarray, n_best: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and values of the n_best largest scores, best first, ties by position."""
    candidates = (scores >= _lower_bound(scores, n_best)).nonzero()[0]
    found = scores[candidates]
    order = (-found).argsort(kind="stable")[:n_best]
    return candidates[order], found[order]


def _lower_bound(scores: np.ndarray, n_best: int) -> np.floating:
    """Return a threshold that at least n_best scores reach."""
    width = min(_GROUP_SIZE, len(scores) // (2 * n_best))
    if width >= 8:
        # At least n_best scores reach the n_best-th largest of the group maxima, and rarely many
        # more. Maxima are far cheaper to find than a partition of all scores.
        scores = scores[: len(scores) // width * width].reshape(width, -1).max(axis=0)
    return np.partition(scores, -n_best)[-n_best]
