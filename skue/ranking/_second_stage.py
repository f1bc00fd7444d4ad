"""The second stage for a batch of users: candidates, their scores, and the best of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skue.encoders._events import Events
from skue.encoders._recommender import Pairs
from skue.histories._histories import Histories
from skue.items._id_lists import Rows
from skue.kernels._topk import apply_limits
from skue.metrics._item_scorer import blocks_of_users
from skue.ranking._candidates import Candidates, candidates_of
from skue.ranking._counts import LogCounts, liked_events
from skue.ranking._features import feature_table, ranks_of_user
from skue.ranking._rankers import ranker_scores


class SecondStage:
    """Finds and ranks candidates.

    Parameters
    ----------
    items : ItemEmbeddings
    counts : LogCounts
    n_candidates : int
    ranker : fitted classifier or None
        None ranks by cosine.
    """

    def __init__(self, items: Any, counts: LogCounts, n_candidates: int, ranker: Any) -> None:
        self.items, self.counts, self.ranker = items, counts, ranker
        self.n_candidates = n_candidates

    def candidates(
        self,
        events: Events,
        vectors: np.ndarray,
        nearest: np.ndarray,
        permitted: np.ndarray | None = None,
    ) -> Candidates:
        """Return the candidates of a block of users.

        Parameters
        ----------
        events : Events
            Their liked events.
        vectors : ndarray of shape (n_users, n_dims)
        nearest : ndarray of shape (n_users, n_nearest)
            Rows of the nearest items, of which the first ``n_candidates`` are candidates.
        permitted : ndarray of shape (n_users, n_items), bool, default=None
        """
        half = -(-self.n_candidates // 2)
        nearest = nearest[:, : self.n_candidates]
        found = candidates_of(nearest, vectors, self.items.vectors, events, self.counts, half)
        return found if permitted is None else found.take(permitted[found.users, found.rows])

    def blocks(
        self,
        histories: Histories,
        vectors: np.ndarray,
        nearest: np.ndarray,
        excluded: Pairs | None = None,
        allowed: Rows | None = None,
    ) -> Iterator[tuple[int, int, Candidates]]:
        """Yield the candidates of users ``start:stop``, as ``start, stop, candidates``.

        ``excluded`` and ``allowed`` are as for :func:`top_k`.
        """
        events, n_items = liked_events(self.items, histories), len(self.items)
        for start, stop in blocks_of_users(len(histories), n_items):
            permitted = None
            if excluded is not None or allowed is not None:
                limits = np.zeros((stop - start, n_items), dtype=np.float32)
                apply_limits(limits, start, excluded, allowed)
                permitted = limits == 0
            block = events.of_users(start, stop), vectors[start:stop], nearest[start:stop]
            yield start, stop, self.candidates(*block, permitted)

    def scored(self, candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and the scores of candidates."""
        features = feature_table(candidates)
        if self.ranker is None or not len(features):
            return features, candidates.cosine
        return features, ranker_scores(self.ranker, features)

    def best(
        self,
        histories: Histories,
        vectors: np.ndarray,
        nearest: Pairs,
        k: int,
        excluded: Pairs | None = None,
        allowed: Rows | None = None,
    ) -> Pairs:
        """Return rows and scores of the k best items, of shape (n_users, k), as in ``top_k``.

        Parameters
        ----------
        nearest : tuple of ndarrays of shape (n_users, n_nearest)
            Rows and cosines. Those that are no candidates rank below the candidates, by cosine.
        """
        if self.ranker is None:
            return nearest[0][:, :k], nearest[1][:, :k]
        rows = np.full((len(histories), k), -1, dtype=np.int64)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        blocks = self.blocks(histories, vectors, nearest[0], excluded, allowed)
        for start, stop, candidates in blocks:
            _, found = self.scored(candidates)
            ranks = ranks_of_user(candidates.users, found)
            kept = ranks < k
            at = candidates.users[kept] + start, ranks[kept]
            rows[at], scores[at] = candidates.rows[kept], found[kept]
            counts = np.bincount(candidates.users, minlength=stop - start)
            lowered = nearest[1][start:stop] + below(candidates.users, found, stop - start)[:, None]
            for user in np.flatnonzero(counts < k):
                more = nearest[0][start + user], lowered[user]
                _append(rows[start + user], scores[start + user], int(counts[user]), *more)
        return rows, scores


def below(users: np.ndarray, scores: np.ndarray, n_users: int) -> np.ndarray:
    """Return what to add to cosines, at most 1, so that they are below all scores of a user."""
    lowest = np.zeros(n_users)
    np.minimum.at(lowest, users, scores)
    return lowest - 2.0


def _append(
    rows: np.ndarray, scores: np.ndarray, n: int, more: np.ndarray, their_scores: np.ndarray
) -> None:
    """Fill the answer of a user with items that are not among the first n."""
    new = np.flatnonzero((more >= 0) & ~np.isin(more, rows[:n]))[: len(rows) - n]
    rows[n : n + len(new)], scores[n : n + len(new)] = more[new], their_scores[new]
