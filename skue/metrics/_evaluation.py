"""One ranking of the whole catalogue, from which every metric is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config

from skue.encoders._events import known_events
from skue.encoders._pipelines import find_encoder, find_ranker
from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.histories._targets import target_rows
from skue.items._item_embeddings import Catalogue, ItemEmbeddings
from skue.kernels._arrays import is_among, owners, user_item_keys
from skue.kernels._ranking import BLOCK_BYTES, Products, rank_positives
from skue.kernels._ties import TiedGroups, tied_groups
from skue.kernels._topk import apply_limits, best_of_rows
from skue.kernels._unit_rows import row_norms, unit_rows

_BLOCK_VALUES = 2**22


class Evaluation:
    """Where each user's held-out items rank, and the best items of each user.

    Parameters
    ----------
    scores : Products or callable
        A callable ``scores(start, stop)`` returns the scores of these users for all items.
    items : Catalogue
    histories : Histories
    y : array-like of shape (n_users,)
        Held-out item ids, one or an array of ids per user.
    exclude_seen : bool, default=False
        Whether to leave the items of each history out of the ranking.
    tolerance : float, default=None
        Scores that differ by at most this much are tied: see ``rank_positives``.
    n_listed : int, default=0
        Length of the list of best items that is kept for each user.
    is_new_item : ndarray of shape (n_items,), bool, default=None

    Attributes
    ----------
    groups : TiedGroups
        The groups of tied held-out items, from which metrics are computed.
    n_relevant : ndarray of shape (n_users,)
        Number of held-out items of each user.
    cold : ndarray of shape (n_users,), bool
        Users without a known event.
    repeated : ndarray of shape (n_targets,), bool
        Held-out items that occur in the user's history.
    unknown : ndarray of shape (n_targets,), bool
        Held-out items outside the catalogue. They count as misses.
    new : ndarray of shape (n_targets,), bool
        Held-out items without an event that the estimator was fitted on, unknown ones included.
    items : Catalogue
        The items that are ranked.
    lists : ndarray of shape (n_users, n_listed)
        Rows of the best items of each user, best first, tied items by row; -1 if fewer are left.
    """

    def __init__(
        self,
        scores: Products | Callable[[int, int], np.ndarray],
        items: Catalogue,
        histories: Histories,
        y: Any,
        *,
        exclude_seen: bool = False,
        tolerance: float | None = None,
        n_listed: int = 0,
        is_new_item: np.ndarray | None = None,
    ) -> None:
        rows, offsets = target_rows(y, len(histories), items.lookup, histories.user_ids, items.ids)
        events = known_events(items, histories)
        seen = events.rows, events.offsets
        self._seen_keys = user_item_keys(owners(events.offsets), events.rows, len(items))
        self._owners = owners(offsets)
        self.n_relevant = np.diff(offsets)
        self.cold = np.diff(events.offsets) == 0
        self.unknown = rows < 0
        # Row -1, of an unknown item, is the last one.
        self.new = self.unknown if is_new_item is None else np.append(is_new_item, True)[rows]
        keys = user_item_keys(self._owners, rows, len(items))
        self.repeated = ~self.unknown & is_among(keys, self._seen_keys)
        self.items = items
        excluded = seen if exclude_seen else None
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
        self.groups = tied_groups(self._positives)

    def _listing(
        self, scores: Callable[[int, int], np.ndarray], excluded: Any
    ) -> Callable[[int, int], np.ndarray]:
        """Return the scores, and keep the best items of each user when they are computed."""
        n_best = min(self.lists.shape[1], len(self.items))

        def listed(start: int, stop: int) -> np.ndarray:
            table = scores(start, stop)
            apply_limits(table, start, excluded, None)
            best, found = best_of_rows(table, n_best)
            self.lists[start:stop, :n_best] = np.where(np.isneginf(found), -1, best)
            return table

        return listed

    def part(self, chosen: np.ndarray) -> tuple[TiedGroups, np.ndarray]:
        """Return the groups if only some of the held-out items are relevant.

        Parameters
        ----------
        chosen : ndarray of shape (n_targets,), bool

        Returns
        -------
        groups : TiedGroups
        n_relevant : ndarray of shape (n_users,)
            Number of chosen items of each user, which may be 0.
        """
        n_relevant = np.bincount(self._owners[chosen], minlength=len(self.n_relevant))
        return tied_groups(self._positives, chosen[self._listed]), n_relevant

    def coverage(self, k: int) -> float:
        """Return the share of the catalogue that is among the first k items of any user."""
        lists = self.lists[:, :k]
        return len(np.unique(lists[lists >= 0])) / len(self.items)

    def novelty(self, k: int) -> float:
        """Return the mean over users of the mean self-information of their first k items, in bits.

        The self-information of an item is ``-log2((1 + n_takers) / (1 + n_users))``: 0 if every
        user has it in the history.
        """
        lists = self.lists[:, :k]
        seen = np.unique(self._seen_keys) % len(self.items)
        n_takers = np.bincount(seen, minlength=len(self.items))
        bits = np.log2((1 + len(lists)) / (1 + n_takers))
        listed = lists >= 0
        totals = np.where(listed, bits[lists], 0.0).sum(axis=1)
        lengths = listed.sum(axis=1)
        return mean_or_nan((totals / np.maximum(lengths, 1))[lengths > 0])

    def similarity(self, k: int, items: ItemEmbeddings | None = None) -> float:
        """Return the mean over users of the mean cosine of two of their first k items.

        Lists of fewer than two items are left out. By the vectors of the given items, or else by
        those of the estimator; NaN if there are none.
        """
        lists, vectors = self.lists[:, :k], self._vectors
        if items is not None:
            lists = np.append(items.lookup(self.items.ids), -1)[lists]
            vectors = items.vectors
        if vectors is None:
            return float("nan")
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
        return mean_or_nan(np.concatenate(found))


def mean_or_nan(values: np.ndarray) -> float:
    """Return the mean, or NaN if there are no values."""
    return float(np.mean(values)) if len(values) else float("nan")


def evaluate(
    estimator: Any, X: Any, y: Any, *, exclude_seen: bool = False, n_listed: int = 0
) -> Evaluation:
    """Rank the held-out items of every user with the estimator's vectors, or its own scores.

    Parameters
    ----------
    estimator : encoder, Pipeline or ColumnTransformer, or one that ends with an item ranker
        Fitted. The steps after an encoder transform users and items alike.
    X : Histories or any form that the estimator takes
    y : array-like of shape (n_users,)
        Held-out item ids, one or an array of ids per user.
    exclude_seen, n_listed : as for :class:`Evaluation`

    Raises
    ------
    ValueError
        If the estimator has no encoder, or outputs more than its vectors. Names the steps.
    """
    options: dict[str, Any] = {"exclude_seen": exclude_seen, "n_listed": n_listed}
    found = find_ranker(estimator)
    if found is not None:
        ranker = found.ranker
        histories = ranker._read(found.histories(X))
        scores = ranker._scores(histories, ranker._seen(histories) if exclude_seen else None)
        is_new = getattr(getattr(ranker, "encoder_", None), "is_new_item_", None)
        items = ranker.item_embeddings_
        return Evaluation(scores, items, histories, y, is_new_item=is_new, **options)
    inside = find_encoder(estimator)
    encoder, users = inside.encoder, checked_unit_rows(estimator.transform(X))
    vectors = encoder.item_vectors_
    if inside.after:
        vectors = checked_unit_rows(inside.item_vectors())
    products, histories = Products(users, vectors), as_histories(inside.histories(X))
    items, is_new = encoder.item_embeddings_, encoder.is_new_item_
    return Evaluation(products, items, histories, y, is_new_item=is_new, **options)


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
