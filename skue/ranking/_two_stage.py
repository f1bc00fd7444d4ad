"""Retrieve candidates by user vectors and counts, then rank them by a classifier."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from skue._html import DocumentationLink
from skue._warn import warn_caller
from skue.encoders._atomic_fit import atomic_fit
from skue.encoders._output import indexed_by_user
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._forms import validate_histories, with_checked_parameters
from skue.histories._histories import Histories
from skue.items._id_lists import Rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._segments import owners, pairs_of_block, user_item_keys
from skue.kernels._topk import not_allowed
from skue.ranking._candidates import Candidates, candidates_of
from skue.ranking._choice import TrainingTable, cross_validated, default_rankers, ranker_scores
from skue.ranking._counts import LogCounts, OwnItems, liked_events, transition_scores
from skue.ranking._features import FEATURES, feature_table
from skue.ranking._log import extended_log, liked_log, newest_instants
from skue.ranking._recommending import ItemScorerMixin, ScoreBlock, Seen, block_size

_HELD_OUT_SHARE = 0.25


class TwoStageRecommender(
    ItemScorerMixin,
    DocumentationLink,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """TODO"""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "encoder": [None, HasMethods(["fit", "transform", "recommend"])],
        "ranker": [
            None,
            HasMethods(["fit", "predict_proba"]),
            HasMethods(["fit", "decision_function"]),
        ],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        encoder: Any = None,
        ranker: Any = None,
        *,
        n_candidates: int = 100,
        random_state: Any = None,
    ) -> None:
        self.encoder = encoder
        self.ranker = ranker
        self.n_candidates = n_candidates
        self.random_state = random_state

    @with_checked_parameters
    def fit(self, X: Any, y: Any = None) -> Self:
        with atomic_fit(self):
            histories = validate_histories(self, X, reset=True)
            random_state = check_random_state(self.random_state)
            rows, held_out = newest_instants(histories, _HELD_OUT_SHARE, random_state)
            earlier = histories._keep_events(~held_out)
            self.encoder_ = self._new_encoder(random_state).fit(earlier)
            self.counts_ = LogCounts(self.item_embeddings_, earlier)
            table = self._training_table(earlier[rows], histories._keep_events(held_out)[rows])
            self._choose(table, random_state)
            self.log_ = liked_log(self.item_embeddings_, histories)
            self.counts_ = LogCounts(self.item_embeddings_, self.log_)
            self.feature_names_in_ranker_ = np.array(list(FEATURES), dtype=object)
        return self

    def _new_encoder(self, random_state: np.random.RandomState) -> Any:
        if self.encoder is None:
            return TwoTowerUserEncoder(random_state=random_state.randint(2**31 - 1))
        return clone(self.encoder)

    def _training_table(self, queries: Histories, held_out: Histories) -> TrainingTable:
        n_items = len(self.item_embeddings_)
        targets = self.item_embeddings_.rows_of(held_out)
        keys = np.unique(user_item_keys(owners(held_out.offsets), targets, n_items)[targets >= 0])
        n_held_out = np.bincount(keys // n_items, minlength=len(queries))
        parts = []
        block, size = self._candidate_block(queries), block_size(n_items)
        for start in range(0, len(queries) if len(keys) else 0, size):
            candidates, _ = block(start, min(start + size, len(queries)))
            users = candidates.users + start
            chosen = np.isin(user_item_keys(users, candidates.rows, n_items), keys)
            parts.append((users, feature_table(candidates), candidates.cosine, chosen))
        if not parts:
            empty = np.empty(0)
            return TrainingTable(empty, empty[:, None], empty, empty.astype(bool), n_held_out)
        return TrainingTable(*map(np.concatenate, zip(*parts, strict=True)), n_held_out)

    def _choose(self, table: TrainingTable, random_state: np.random.RandomState) -> None:
        """Fit the ranker; without one, choose among the defaults and the encoder alone."""
        self.validation_scores_: dict[str, float] = {}
        self.second_stage_, self.ranker_ = "encoder", None
        if not table.has_both_classes():
            warn_caller(
                "No history is long enough to hold out its newest instant and find it among the "
                "candidates, so items are ranked by the encoder alone. Pass more or longer "
                "histories."
            )
            return
        if self.ranker is not None:
            self.second_stage_, chosen = "given", clone(self.ranker)
        else:
            rankers = default_rankers(random_state.randint(2**31 - 1))
            scores = cross_validated(table, rankers, random_state)
            self.validation_scores_ = {name: float(s.mean()) for name, s in scores.items()}
            self.second_stage_ = max(scores, key=lambda name: scores[name].mean())
            if self.second_stage_ == "encoder":
                return
            chosen = rankers[self.second_stage_]
        self.ranker_ = chosen.fit(table.features, table.chosen)

    def transform(self, X: Any) -> NDArray[np.float32]:
        histories = self._read(X)
        return indexed_by_user(self, self._vectors_of(histories), X)

    def _read(self, X: Any) -> Histories:
        check_is_fitted(self, "second_stage_")
        vocabulary = self.item_embeddings_.vocabulary
        return validate_histories(self, X, reset=False, vocabulary=vocabulary)

    def _vectors_of(self, histories: Histories) -> np.ndarray:
        return np.asarray(self.encoder_.transform(histories), dtype=np.float32)

    def _candidate_block(
        self, histories: Histories, excluded: Seen | None = None, allowed: Rows | None = None
    ) -> Callable[[int, int], tuple[Candidates, np.ndarray]]:
        """Return a function that finds candidates and cosines for a range of users."""
        vectors = self._vectors_of(histories)
        items, n_items = self.item_embeddings_.vectors, len(self.item_embeddings_)
        events = liked_events(self.item_embeddings_, histories)

        def block(start: int, stop: int) -> tuple[Candidates, np.ndarray]:
            cosines = vectors[start:stop] @ items.T
            if allowed is not None:
                cosines[not_allowed(allowed, start, stop, n_items)] = -np.inf
            if excluded is not None:
                cosines[pairs_of_block(*excluded, start, stop)] = -np.inf
            own = events.of_users(start, stop)
            transitions = transition_scores(own, self.counts_.transitions).toarray()
            history = OwnItems(own, n_items)
            return (
                candidates_of(cosines, transitions, history, self.counts_, self.n_candidates),
                cosines,
            )

        return block

    def _score_block(
        self, histories: Histories, excluded: Seen | None, allowed: Rows | None
    ) -> ScoreBlock:
        block = self._candidate_block(histories, excluded, allowed)

        def score_block(start: int, stop: int) -> np.ndarray:
            candidates, scores = block(start, stop)
            if self.ranker_ is None or not len(candidates.users):
                return scores
            ranked = ranker_scores(self.ranker_, feature_table(candidates))
            lowest = np.zeros(stop - start)
            np.minimum.at(lowest, candidates.users, ranked)
            # All other items follow below the candidates, by cosine.
            scores = scores + (lowest - 2.0)[:, None]
            scores[candidates.users, candidates.rows] = ranked
            return scores

        return score_block

    @property
    def item_embeddings_(self) -> ItemEmbeddings:
        """Items of the encoder."""
        return self.encoder_.item_embeddings_
