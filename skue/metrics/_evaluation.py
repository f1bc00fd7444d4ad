"""One ranking of the whole catalogue, from which every metric is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config

from skue.encoders._events import known_events
from skue.encoders._pipelines import find_encoder, find_ranker
from skue.encoders._recommender import check_positive
from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.histories._targets import refuse_other_type, target_rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._arrays import owners, user_item_keys
from skue.kernels._ranking import BLOCK_BYTES, Products, rank_positives
from skue.kernels._ties import (
    TiedGroups,
    expected_average_precision,
    expected_dcg,
    expected_hit_rate,
    expected_hits,
    expected_reciprocal_rank,
    ideal_dcg,
    tied_groups,
)
from skue.kernels._topk import apply_limits, best_of_rows
from skue.kernels._unit_rows import row_norms, unit_rows
from skue.reading._ids import is_text

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


class Evaluation:
    """The ranks of each user's held-out items, and metrics per user.

    Attributes
    ----------
    n_relevant : ndarray of shape (n_users,)
        Number of held-out items of each user.
    cold : ndarray of shape (n_users,), bool
        Users without a known event.
    repeated : ndarray of shape (n_targets,), bool
        Held-out items that occur in the user's history.
    unknown : ndarray of shape (n_targets,), bool
        Held-out items outside the catalogue. They count as misses.
    lists : ndarray of shape (n_users, n_listed)
        Rows of the best items of each user, best first, tied items by row; -1 if fewer are left.
    new : ndarray of shape (n_targets,), bool
        Held-out items without an event that the estimator was fitted on, unknown ones included.
    """

    def __init__(
        self,
        scores: Products | Callable[[int, int], np.ndarray],
        items: ItemEmbeddings,
        histories: Histories,
        y: Any,
        *,
        exclude_seen: bool = False,
        tolerance: float | None = None,
        n_listed: int = 0,
        is_new_item: np.ndarray | None = None,
    ) -> None:
        def lookup(ids: np.ndarray) -> np.ndarray:
            refuse_other_type(ids, items.ids)
            return items.lookup(ids)

        rows, offsets = target_rows(y, len(histories), lookup)
        events = known_events(items, histories)
        seen, seen_offsets = events.rows, events.offsets
        self.n_relevant = np.diff(offsets)
        self.cold = np.diff(seen_offsets) == 0
        self.unknown = rows < 0
        self.new = self.unknown if is_new_item is None else self.unknown | is_new_item[rows]
        self._owners = owners(offsets)
        seen_keys = user_item_keys(owners(seen_offsets), seen, len(items))
        keys = user_item_keys(self._owners, rows, len(items))
        self.repeated = ~self.unknown & np.isin(keys, seen_keys)
        self._seen_keys, self._catalogue = seen_keys, items
        excluded = (seen, seen_offsets) if exclude_seen else None
        self.lists = np.full((len(histories), n_listed), -1, dtype=np.int64)
        if isinstance(scores, Products):
            self._vectors: np.ndarray | None = scores.item_vectors
            if n_listed:
                self.lists = scores.best(n_listed, excluded)
        else:
            # Items that are only counted have no vectors.
            self._vectors = getattr(items, "vectors", None)
            if n_listed:
                scores = self._listing(scores, excluded)
        self._positives, self._listed = rank_positives(
            scores,
            len(items),
            rows,
            offsets,
            excluded=excluded,
            tolerance=tolerance,
            block_bytes=min(BLOCK_BYTES, int(get_config()["working_memory"] * 2**20)),
        )
        self._groups = tied_groups(self._positives)

    def recall(self, k: int, normalize: str = "relevant") -> np.ndarray:
        """Return the recall of each user, normalised as in :class:`RecallAtK`."""
        return _recall(self._groups, self.n_relevant, k, normalize)

    def ndcg(self, k: int) -> np.ndarray:
        """Return the normalised discounted cumulative gain of each user."""
        return expected_dcg(self._groups, k) / ideal_dcg(self.n_relevant, k)

    def average_precision(self, k: int) -> np.ndarray:
        """Return the average precision at k of each user, divided by min(k, relevant items)."""
        return expected_average_precision(self._groups, k) / np.minimum(self.n_relevant, k)

    def coverage(self, k: int) -> float:
        """Return the share of the catalogue that is among the first k items of anybody."""
        return catalogue_coverage(self.lists[:, :k], len(self._catalogue))

    def novelty(self, k: int) -> float:
        """Return the mean self-information of the first k items, in bits."""
        n_items = len(self._catalogue)
        takers = np.bincount(np.unique(self._seen_keys) % n_items, minlength=n_items)
        return mean_self_information(self.lists[:, :k], takers, len(self.lists))

    def similarity(self, k: int, items: ItemEmbeddings | None = None) -> float:
        """Return the mean cosine of two of the first k items; NaN if the items have no vectors.

        By the vectors of the given items, or else by those of the estimator.
        """
        lists, vectors = self.lists[:, :k], self._vectors
        if items is not None:
            lists = np.append(items.lookup(self._catalogue.ids), -1)[lists]
            vectors = items.vectors
        return float("nan") if vectors is None else intra_list_similarity(lists, vectors)

    def reciprocal_rank(self) -> np.ndarray:
        """Return the reciprocal rank of each user's first hit."""
        return expected_reciprocal_rank(self._groups)

    def _listing(
        self, scores: Callable[[int, int], np.ndarray], excluded: Any
    ) -> Callable[[int, int], np.ndarray]:
        """Return the scores, and keep the best items of each user when they are computed."""
        n_best = min(self.lists.shape[1], len(self._catalogue))

        def listed(start: int, stop: int) -> np.ndarray:
            table = scores(start, stop)
            apply_limits(table, start, excluded, None)
            best, found = best_of_rows(table, n_best)
            self.lists[start:stop, :n_best] = np.where(np.isneginf(found), -1, best)
            return table

        return listed

    def recall_of(self, k: int, chosen: np.ndarray, normalize: str) -> float:
        """Return the recall of some of the held-out items, NaN if there are none.

        The mean over users that have such items.
        """
        relevant = np.bincount(self._owners[chosen], minlength=len(self.n_relevant))
        has = relevant > 0
        groups = tied_groups(self._positives, chosen[self._listed])
        recalls = _recall(groups, np.maximum(relevant, 1), k, normalize)
        return float(np.mean(recalls[has])) if has.any() else float("nan")


def _recall(groups: TiedGroups, n_relevant: np.ndarray, k: int, normalize: str) -> np.ndarray:
    if normalize == "hit":
        return expected_hit_rate(groups, k)
    most = np.minimum(n_relevant, k) if normalize == "min" else n_relevant
    return expected_hits(groups, k) / most


def evaluate(
    estimator: Any, X: Any, y: Any, *, exclude_seen: bool = False, n_listed: int = 0
) -> Evaluation:
    """Rank the held-out items of every user with the estimator's vectors, or its own scores.

    Parameters
    ----------
    estimator : encoder, Pipeline or ColumnTransformer, or one that ends with an item scorer
        Fitted.
    X : Histories or any form that the estimator takes
    y : array-like of shape (n_users,)
        Held-out item ids, one or an array of ids per user.
    exclude_seen : bool, default=False
    n_listed : int, default=0
        Length of the list of best items that is kept for each user.

    Returns
    -------
    evaluation : Evaluation
    """
    found = find_ranker(estimator)
    if found is not None:
        ranker = found.ranker
        histories = ranker._read(found.histories(X))
        return Evaluation(
            ranker._scores(histories, ranker._seen(histories) if exclude_seen else None),
            ranker.item_embeddings_,
            histories,
            y,
            exclude_seen=exclude_seen,
            n_listed=n_listed,
            is_new_item=getattr(getattr(ranker, "encoder_", None), "is_new_item_", None),
        )
    inside = find_encoder(estimator)
    users, items = checked_unit_rows(estimator.transform(X)), inside.item_vectors()
    return Evaluation(
        Products(users, checked_unit_rows(items)),
        inside.encoder.item_embeddings_,
        as_histories(inside.histories(X)),
        y,
        exclude_seen=exclude_seen,
        n_listed=n_listed,
        is_new_item=inside.encoder.is_new_item_,
    )


def checked_unit_rows(vectors: Any) -> np.ndarray:
    """Return float32 rows of length 1; zero rows stay zero, NaN and infinity raise."""
    vectors = np.ascontiguousarray(np.asarray(vectors), dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"Vectors must have two axes, got shape {vectors.shape}.")
    norms = row_norms(vectors, np.float64)
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise ValueError(f"Vectors must be finite, but row {row} holds NaN or infinity.")
    return unit_rows(vectors, norms.astype(np.float32))


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
