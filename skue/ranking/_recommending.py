"""What follows from scores of all items: recommendations and recall."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from skue.encoders._output import users_of
from skue.encoders._recommender import check_positive
from skue.histories._histories import Histories
from skue.items._answers import frame_of_answers, ids_of_rows
from skue.items._id_lists import Rows, limits_of_id_lists
from skue.kernels._segments import kept_offsets
from skue.kernels._topk import best_of_row
from skue.metrics._scorers import RecallAtK

Seen = tuple[np.ndarray, np.ndarray]
ScoreBlock = Callable[[int, int], np.ndarray]

_BLOCK_BYTES = 32 * 2**20


class ItemScorerMixin:
    """Recommendations and recall of an estimator that scores all items of each user.

    A subclass implements ``_read`` and ``_score_block``, and has ``item_embeddings_``, which look
    up ids.
    """

    item_embeddings_: Any

    if TYPE_CHECKING:

        def _read(self, X: Any) -> Histories: ...

        def _score_block(
            self, histories: Histories, excluded: Seen | None, allowed: Rows | None
        ) -> ScoreBlock: ...

    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        exclude: Any = None,
        allow: Any = None,
        as_frame: bool = False,
    ) -> Any:
        """Return the k items with the highest scores of each user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        k : int, default=10
        exclude_seen : bool, default=False
            Whether to leave out the items of the user's history.
        exclude : array-like of ids, Histories, or one sequence of ids a user, default=None
            Items that are not recommended, one list for all users or one per user.
        allow : array-like of ids, Histories, or one sequence of ids a user, default=None
            Only these items are recommended, one list for all users or one per user.
        as_frame : bool, default=False
            Whether to return a pandas DataFrame instead of two arrays.

        Returns
        -------
        ids : ndarray of shape (n_users, k)
            Best first. If fewer than k items are left, the rest is -1, or "" for string ids.
        scores : ndarray of shape (n_users, k), float32
            ``-inf`` where no item is left.
        frame : pandas.DataFrame
            Returned instead if ``as_frame=True``: columns ``user``, ``item``, ``score``, ``rank``.
        """
        check_positive("k", k)
        histories, items = self._read(X), self.item_embeddings_
        seen = _seen(items, histories) if exclude_seen else None
        excluded, allowed = limits_of_id_lists(
            items, len(histories), exclude=exclude, allow=allow, seen=seen
        )
        score_block = self._score_block(histories, excluded, allowed)
        n_users, n_best = len(histories), min(k, len(items))
        rows = np.full((n_users, k), -1, dtype=np.int64)
        scores = np.full((n_users, k), -np.inf, dtype=np.float32)
        size = block_size(len(items))
        for start in range(0, n_users, size):
            table = score_block(start, min(start + size, n_users))
            for user, own_scores in enumerate(table, start):
                rows[user, :n_best], scores[user, :n_best] = best_of_row(own_scores, n_best)
        rows[np.isneginf(scores)] = -1
        ids = ids_of_rows(items.ids, rows)
        return frame_of_answers(ids, scores, users_of(X, histories)) if as_frame else (ids, scores)

    def score(self, X: Any, y: Any) -> float:
        """Return recall@20: the mean share of the held-out items among the 20 best.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,)
            Held-out item ids, one per user or one array per user.

        Returns
        -------
        recall : float
        """
        return RecallAtK(20)(self, X, y)

    def score_blocks(self, X: Any, *, exclude_seen: bool = False) -> ScoreBlock:
        """Return a function that scores all items for a range of users.

        The metrics rank the whole catalogue by these scores.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        exclude_seen : bool, default=False
            Whether the items of a user's history score ``-inf``.

        Returns
        -------
        score_block : callable
            ``score_block(start, stop)`` returns an array of shape (stop - start, n_items).
        """
        histories = self._read(X)
        seen = _seen(self.item_embeddings_, histories) if exclude_seen else None
        return self._score_block(histories, seen, None)


def block_size(n_items: int) -> int:
    """Return how many users are scored at a time, which bounds the memory."""
    return max(1, _BLOCK_BYTES // (8 * max(n_items, 1)))


def _seen(items: Any, histories: Histories) -> Seen:
    rows = items.rows_of(histories)
    known = rows >= 0
    return rows[known], kept_offsets(histories.offsets, known)
