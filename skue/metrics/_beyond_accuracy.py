"""What the first k items of all users are like, whether or not they are hits."""

from __future__ import annotations

import numpy as np

_BLOCK_VALUES = 2**22


def catalogue_coverage(lists: np.ndarray, n_items: int) -> float:
    """Return the share of all items that are in the list of at least one user.

    Parameters
    ----------
    lists : ndarray of shape (n_users, k)
        Item rows; -1 where a list has fewer than k items.
    n_items : int
    """
    return len(np.unique(lists[lists >= 0])) / n_items


def mean_self_information(lists: np.ndarray, n_takers: np.ndarray, n_users: int) -> float:
    """Return the mean over users of the mean self-information of their items, in bits.

    The self-information of an item is ``-log2((1 + n_takers) / (1 + n_users))``: 0 if every user
    has taken it.

    Parameters
    ----------
    lists : ndarray of shape (n_users, k)
    n_takers : ndarray of shape (n_items,)
        Number of users who have taken each item.
    n_users : int
    """
    bits = np.log2((1 + n_users) / (1 + n_takers))
    listed = lists >= 0
    totals = np.where(listed, bits[lists], 0.0).sum(axis=1)
    lengths = listed.sum(axis=1)
    return _mean((totals / np.maximum(lengths, 1))[lengths > 0])


def intra_list_similarity(lists: np.ndarray, vectors: np.ndarray) -> float:
    """Return the mean over users of the mean cosine of two different items of their list.

    Lists of fewer than two items are left out.

    Parameters
    ----------
    lists : ndarray of shape (n_users, k)
    vectors : ndarray of shape (n_items, n_dims)
        Rows of length 1 (or 0).
    """
    found = [np.empty(0)]
    size = max(1, _BLOCK_VALUES // max(lists.shape[1] * vectors.shape[1], 1))
    for start in range(0, len(lists), size):
        rows = lists[start : start + size]
        listed = rows >= 0
        own = np.where(listed[:, :, None], vectors[rows], 0.0)
        # All pairs, also of an item with itself, sum to the squared length of the sum.
        pairs = (own.sum(axis=1) ** 2).sum(axis=1) - (own**2).sum(axis=(1, 2))
        lengths = listed.sum(axis=1)
        many = lengths > 1
        found.append(pairs[many] / (lengths * (lengths - 1))[many])
    return _mean(np.concatenate(found))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
