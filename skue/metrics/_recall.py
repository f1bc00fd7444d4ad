"""Recall at k of given vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.encoders._recommender import check_positive
from skue.histories._targets import target_rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._ranking import Products, rank_positives
from skue.kernels._ties import TiedGroups, expected_hits, tied_groups
from skue.metrics._evaluation import checked_unit_rows
from skue.reading._ids import is_text


def recall_at_k(user_vectors: Any, item_vectors: Any, targets: Any, k: int = 20) -> float:
    """Return the mean share of each user's targets among the k items with the largest cosines.

    Ties count with their expected value, as in :class:`RecallAtK`.

    Parameters
    ----------
    user_vectors : array-like of shape (n_users, n_dims)
        Scaled to length 1 here.
    item_vectors : array-like of shape (n_items, n_dims), or ItemEmbeddings
    targets : array-like of shape (n_users,)
        Row number of each user's item, or an array of row numbers. With ItemEmbeddings, ids
        instead of row numbers.
    k : int, default=20

    Returns
    -------
    recall : float

    Raises
    ------
    ValueError
        If k is below 1, a vector is not finite, or lengths differ.

    Examples
    --------
    >>> from skue import recall_at_k
    >>> recall_at_k([[1, 0], [0, 1]], [[1, 0], [1, 1], [0, 1]], [0, 1], k=1)
    0.5
    """
    check_positive("k", k)
    groups = ranked_targets(user_vectors, item_vectors, targets)
    return float(np.mean(expected_hits(groups, k) / groups.n_relevant))


def ranked_targets(user_vectors: Any, item_vectors: Any, targets: Any) -> TiedGroups:
    """Rank each user's targets among all items, by cosine."""
    given = isinstance(item_vectors, ItemEmbeddings)
    items = item_vectors.vectors if given else checked_unit_rows(item_vectors)
    users = checked_unit_rows(user_vectors)
    if users.shape[1] != items.shape[1]:
        raise ValueError(
            f"user_vectors and item_vectors must have the same number of dimensions, got "
            f"{users.shape[1]} and {items.shape[1]}."
        )
    lookup = item_vectors.lookup if given else _row_lookup(len(items))
    rows, offsets = target_rows(targets, len(users), lookup)
    positives, _ = rank_positives(Products(users, items), len(items), rows, offsets)
    return tied_groups(positives)


def _row_lookup(n_items: int) -> Any:
    def lookup(ids: np.ndarray) -> np.ndarray:
        if is_text(ids):
            raise ValueError(
                "targets must be row numbers. To use ids, pass ItemEmbeddings as item_vectors."
            )
        return np.where((ids >= 0) & (ids < n_items), ids, -1)

    return lookup
