"""Rankers that count: own events and popularity, transitions, and similar users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from skue.encoders._events import Events
from skue.histories._histories import Histories
from skue.histories._splits import is_liked, newest_instants
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._arrays import owners
from skue.metrics._evaluation import Evaluation
from skue.ranking._counts import LogCounts, ages_in_instants, liked_events

_K = 10
_BETA_USERS = 10_000
_BETAS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_N_RECENT = 25
_LOCALITY = 5.0
_ASYMMETRY = 0.25


class OwnCountAndPopularity:
    """Rank items by how often they occur in the history, plus beta times their popularity.

    Popularity is 1 for the most popular item. Beta is found with the newest instant of the
    training histories held out.
    """

    tolerance = 1e-9

    def fit(self, histories: Histories, items: ItemEmbeddings) -> OwnCountAndPopularity:
        self._count(histories, items)
        self.beta_ = _BETAS[0]
        rows, held_out = newest_instants(histories, 1.0, check_random_state(0), n_most=_BETA_USERS)
        held_out &= np.isin(items.rows_of(histories), np.arange(len(items)))
        targets = histories._keep_events(held_out & is_liked(histories))
        rows = rows[targets.lengths[rows] > 0]
        if len(rows):
            earlier = histories._keep_events(~held_out)
            inner = OwnCountAndPopularity()
            inner._count(earlier, items)
            recalls = [inner._recall(beta, earlier[rows], list(targets[rows])) for beta in _BETAS]
            self.beta_ = _BETAS[int(np.argmax(recalls))]
        return self

    def score_blocks(self, histories: Histories) -> Callable[[int, int], np.ndarray]:
        """Return a function that scores all items for a range of users."""
        counts = _own_counts(liked_events(self.items_, histories), len(self.items_))

        def score_block(start: int, stop: int) -> np.ndarray:
            return counts[start:stop].toarray() + self.beta_ * self.popularity_

        return score_block

    def _count(self, histories: Histories, items: ItemEmbeddings) -> None:
        rows = liked_events(items, histories).rows
        counts = np.bincount(rows, minlength=len(items))
        self.items_, self.popularity_ = items, counts / max(counts.max(initial=0), 1)

    def _recall(self, beta: float, queries: Histories, held_out: list[np.ndarray]) -> float:
        self.beta_ = beta
        scores = self.score_blocks(queries)
        evaluation = Evaluation(scores, self.items_, queries, held_out, tolerance=1e-6)
        return float(np.mean(evaluation.recall(_K, "min")))


class Transitions:
    """Rank items by the transitions from the newest items: see :class:`TransitionItemRanker`."""

    tolerance = 1e-9

    def fit(self, histories: Histories, items: ItemEmbeddings) -> Transitions:
        self.items_, self.counts_ = items, LogCounts(items, histories)
        return self

    def score_blocks(self, histories: Histories) -> Callable[[int, int], np.ndarray]:
        """Return a function that scores all items for a range of users."""
        events = liked_events(self.items_, histories)

        def score_block(start: int, stop: int) -> np.ndarray:
            return self.counts_.scores_by_transitions(events.of_users(start, stop))

        return score_block


class SimilarUsers:
    r"""Rank items by how often similar users chose them lately (UP-CF).

    .. math::

        \sum_v \left( \frac{|I_u \cap I_v|}{|I_u|^{1/4} |I_v|^{3/4}} \right)^5 r_{vi},

    with :math:`I_u` the items of user u, and :math:`r_{vi}` the share of the 25 newest instants of
    user v that have item i. The user of the query counts once more.

    References
    ----------
    G. Faggioli, M. Polato, F. Aiolli (2020). Recency aware collaborative filtering for next
    basket recommendation. UMAP.
    """

    tolerance = 1e-9

    def fit(self, histories: Histories, items: ItemEmbeddings) -> SimilarUsers:
        events = liked_events(items, histories)
        self.items_, self.users_ = items, _marked(events, len(items))
        self.recent_ = _recent_shares(events, len(items))
        return self

    def score_blocks(self, histories: Histories) -> Callable[[int, int], np.ndarray]:
        """Return a function that scores all items for a range of users."""
        events = liked_events(self.items_, histories)

        def score_block(start: int, stop: int) -> np.ndarray:
            block = events.of_users(start, stop)
            own = _marked(block, len(self.items_))
            shared = (own @ self.users_.T).tocoo()
            sizes, others = np.diff(own.indptr), np.diff(self.users_.indptr)
            scale = sizes[shared.row] ** _ASYMMETRY * others[shared.col] ** (1 - _ASYMMETRY)
            similar = (shared.data / scale) ** _LOCALITY
            neighbours = sp.csr_array((similar, (shared.row, shared.col)), shape=shared.shape)
            recent = _recent_shares(block, len(self.items_))
            return (neighbours @ self.recent_ + recent).toarray()

        return score_block


def _own_counts(events: Events, n_items: int) -> sp.csr_array:
    shape, users = (events.n_users, n_items), owners(events.offsets)
    counts = sp.csr_array((np.ones(len(users)), (users, events.rows)), shape=shape)
    counts.sum_duplicates()  # older versions of SciPy keep them
    return counts


def _marked(events: Events, n_items: int) -> sp.csr_array:
    """Return 1 for each item of each user."""
    counts = _own_counts(events, n_items)
    counts.data[:] = 1.0
    return counts


def _recent_shares(events: Events, n_items: int) -> sp.csr_array:
    """Return the share of the newest instants of each user that have an item."""
    users, ages = owners(events.offsets), ages_in_instants(events)
    n_instants = np.zeros(events.n_users)
    np.maximum.at(n_instants, users, ages + 1)
    # An item counts once an instant.
    distinct = np.unique(np.column_stack([users, ages, events.rows]).astype(np.int64), axis=0)
    users, ages, rows = distinct[distinct[:, 1] < _N_RECENT].T
    shares = 1 / np.minimum(n_instants, _N_RECENT)[users]
    return sp.csr_array((shares, (users, rows)), shape=(events.n_users, n_items))
