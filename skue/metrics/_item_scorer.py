"""What follows from the scores of all items: recommendations and recall."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from skue.encoders._base import Pairs, RecommendMixin
from skue.encoders._events import known_events
from skue.histories._histories import Histories
from skue.items._id_lists import Rows
from skue.kernels._topk import best_of_rows
from skue.metrics._scorers import RecallAtK

ScoreBlock: TypeAlias = Callable[[int, int], np.ndarray]

_BLOCK_BYTES = 32 * 2**20


class ItemScorerMixin(RecommendMixin):
    """Recommendations and recall of an estimator that scores all items of each user."""

    if TYPE_CHECKING:

        def _score_block(
            self, histories: Histories, excluded: Pairs | None, allowed: Rows | None
        ) -> ScoreBlock: ...

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
        return RecallAtK(20)(self, self._read(X), y)

    def score_blocks(self, X: Any, *, exclude_seen: bool = False) -> ScoreBlock:
        """Return a function that scores all items, by which the metrics rank them.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        exclude_seen : bool, default=False
            Whether the items of the history score ``-inf``.

        Returns
        -------
        score_block : callable
            ``score_block(start, stop)`` returns the scores of these users, of shape
            (stop - start, n_items).
        """
        histories = self._read(X)
        return self._score_block(histories, self._seen(histories) if exclude_seen else None, None)

    def _seen(self, histories: Histories) -> Pairs:
        events = known_events(self.item_embeddings_, histories, None)
        return events.rows, events.offsets

    def _best_items(
        self, histories: Histories, k: int, excluded: Pairs | None, allowed: Rows | None
    ) -> Pairs:
        score_block = self._score_block(histories, excluded, allowed)
        n_users, n_items = len(histories), len(self.item_embeddings_)
        rows = np.full((n_users, k), -1, dtype=np.int64)
        scores = np.full((n_users, k), -np.inf, dtype=np.float32)
        n_best = min(k, n_items)
        for start, stop in blocks_of_users(n_users, n_items):
            best, found = best_of_rows(score_block(start, stop), n_best)
            rows[start:stop, :n_best], scores[start:stop, :n_best] = best, found
        rows[np.isneginf(scores)] = -1
        return rows, scores


def blocks_of_users(n_users: int, n_items: int) -> list[tuple[int, int]]:
    """Return the ranges of users that are scored at a time, which bound the memory."""
    size = max(1, _BLOCK_BYTES // (8 * max(n_items, 1)))
    return [(start, min(start + size, n_users)) for start in range(0, n_users, size)]
