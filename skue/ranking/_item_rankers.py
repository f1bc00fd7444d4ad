"""Rankers that only count: transitions, own frequency and popularity, similar people."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skue._html import DocumentationLink
from skue.encoders._events import Events
from skue.histories._forms import validate_histories, with_checked_parameters
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.items._id_lists import Rows
from skue.kernels._segments import pairs_of_block
from skue.kernels._topk import not_allowed
from skue.metrics._evaluation import Evaluation
from skue.ranking._counts import (
    ages_in_instants,
    liked_events,
    transition_scores,
    transition_table,
)
from skue.ranking._log import newest_instants
from skue.ranking._recommending import ItemScorerMixin, ScoreBlock, Seen


class Catalogue:
    """The items that a ranker scores. Has ids but no vectors."""

    def __init__(self, ids: np.ndarray) -> None:
        self.vocabulary = Vocabulary._trusted(ids)

    @property
    def ids(self) -> np.ndarray:
        return self.vocabulary.ids

    def __len__(self) -> int:
        return len(self.vocabulary)

    def lookup(self, ids: Any) -> np.ndarray:
        """Return the row of each id, -1 if it is unknown."""
        return self.vocabulary.lookup(ids)

    def rows_of(self, histories: Histories) -> np.ndarray:
        """Return the row of every event's item, -1 if it is unknown."""
        return self.lookup(histories.item_ids)[histories.codes]

    def _row_map(self, vocabulary: Vocabulary) -> tuple[np.ndarray, bool]:
        rows = self.lookup(vocabulary.ids)
        return rows, bool((rows >= 0).all())


class ItemRanker(ItemScorerMixin, DocumentationLink, BaseEstimator):
    """Base class of the rankers. A subclass implements ``_learn`` and ``_score_events``."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    @with_checked_parameters
    def fit(self, X: Any, y: Any = None) -> Self:
        """Count the events.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : None
            Ignored.

        Returns
        -------
        self : object
        """
        histories = validate_histories(self, X, reset=True)
        self.item_embeddings_ = Catalogue(histories.item_ids)
        events = liked_events(self.item_embeddings_, histories)
        self.popularity_ = np.bincount(events.rows, minlength=len(histories.item_ids))
        self._learn(events, histories)
        return self

    @abstractmethod
    def _learn(self, events: Events, histories: Histories) -> None:
        """Set the fitted attributes."""

    @abstractmethod
    def _score_events(self, events: Events) -> np.ndarray:
        """Return the scores of all items, shape (n_users, n_items), float64."""

    def _read(self, X: Any) -> Histories:
        check_is_fitted(self, "popularity_")
        return validate_histories(self, X, reset=False)

    def _score_block(
        self, histories: Histories, excluded: Seen | None, allowed: Rows | None
    ) -> ScoreBlock:
        events = liked_events(self.item_embeddings_, histories)

        def score_block(start: int, stop: int) -> np.ndarray:
            scores = self._score_events(events.of_users(start, stop))
            if allowed is not None:
                scores[not_allowed(allowed, start, stop, scores.shape[1])] = -np.inf
            if excluded is not None:
                scores[pairs_of_block(*excluded, start, stop)] = -np.inf
            return scores

        return score_block

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        return tags


class TransitionItemRanker(ItemRanker):
    def _learn(self, events: Events, histories: Histories) -> None:
        self.transitions_ = transition_table(events, len(self.popularity_))

    def _score_events(self, events: Events) -> np.ndarray:
        scores = transition_scores(events, self.transitions_).toarray().astype(np.float64)
        # Items that nothing leads to are ranked by popularity, below all others.
        return scores - (scores == 0) / (1.0 + self.popularity_)


_BETAS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class FrequencyItemRanker(ItemRanker):
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "beta": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, beta: float | Literal["auto"] = "auto") -> None:
        self.beta = beta

    def _learn(self, events: Events, histories: Histories) -> None:
        self.beta_ = float(self._found(histories) if self.beta == "auto" else self.beta)

    def _found(self, histories: Histories) -> float:
        rows, held_out = newest_instants(histories, 1.0, check_random_state(0))
        if not len(rows):
            return _BETAS[0]
        earlier = histories._keep_events(~held_out)
        targets = histories._keep_events(held_out)[rows]
        recalls = []
        for beta in _BETAS:
            ranker = FrequencyItemRanker(beta).fit(earlier)
            evaluation = Evaluation(
                ranker.score_blocks(earlier[rows]), self.item_embeddings_, earlier[rows], list(targets)
            )
            recalls.append(evaluation.recall(10, "min").mean())
        return _BETAS[int(np.argmax(recalls))]

    def _score_events(self, events: Events) -> np.ndarray:
        popularity = self.popularity_ / max(self.popularity_.max(initial=0), 1)
        return _own_counts(events, len(popularity)).toarray() + self.beta_ * popularity


class UserPopularityItemRanker(ItemRanker):
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_recent": [Interval(Integral, 1, None, closed="left")],
        "locality": [Interval(Real, 0, None, closed="neither")],
        "asymmetry": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, n_recent: int = 25, *, locality: float = 5.0, asymmetry: float = 0.25):
        self.n_recent = n_recent
        self.locality = locality
        self.asymmetry = asymmetry

    def _learn(self, events: Events, histories: Histories) -> None:
        n_items = len(self.popularity_)
        self.people_ = _marked(events, n_items)
        self.recent_ = self._recent(events)

    def _recent(self, events: Events) -> sp.csr_array:
        """Return the share of the newest instants of each user that have an item."""
        ages = ages_in_instants(events)
        n_items = len(self.popularity_)
        keep = ages < self.n_recent
        weights = keep / np.minimum(np.repeat(_n_instants(events, ages), np.diff(events.offsets)), self.n_recent)
        shape = events.n_users, n_items
        counts = sp.csr_array((weights, events.rows.copy(), events.offsets.copy()), shape=shape)
        counts.sum_duplicates()
        return counts

    def _score_events(self, events: Events) -> np.ndarray:
        own = _marked(events, len(self.popularity_))
        shared = (own @ self.people_.T).tocoo()
        mine, theirs = np.diff(own.indptr), np.diff(self.people_.indptr)
        scale = mine[shared.row] ** self.asymmetry * theirs[shared.col] ** (1 - self.asymmetry)
        similar = (shared.data / scale) ** self.locality
        neighbours = sp.csr_array((similar, (shared.row, shared.col)), shape=shared.shape)
        scores = (neighbours @ self.recent_ + self._recent(events)).toarray()
        return scores + 1e-4 * self.popularity_ / max(self.popularity_.max(initial=0), 1)


def _n_instants(events: Events, ages: np.ndarray) -> np.ndarray:
    n = np.zeros(events.n_users)
    filled = np.diff(events.offsets) > 0
    n[filled] = ages[events.offsets[:-1][filled]] + 1
    return n


def _own_counts(events: Events, n_items: int) -> sp.csr_array:
    ones = np.ones(len(events.rows))
    shape = events.n_users, n_items
    # Copied, because duplicates are summed in place.
    counts = sp.csr_array((ones, events.rows.copy(), events.offsets.copy()), shape=shape)
    counts.sum_duplicates()
    return counts


def _marked(events: Events, n_items: int) -> sp.csr_array:
    counts = _own_counts(events, n_items)
    counts.data[:] = 1.0
    return counts
