"""Retrieve candidates by user vectors and counts, then rank them by a classifier."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from skue._estimator import atomic_fit, check_positive_int, import_optional, warn_caller
from skue.encoders._recommender import (
    Pairs,
    Recommender,
    ScoreBlock,
    indexed_by_user,
    users_of,
)
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._fingerprints import count_new_events
from skue.histories._forms import validate_histories
from skue.histories._histories import Histories, joined
from skue.histories._splits import is_liked, liked, newest_instants
from skue.histories._vocabulary import check_same_type
from skue.items._id_lists import Rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._arrays import offsets_of, positions_of_ranges, starts_of_runs
from skue.kernels._topk import apply_limits, best_of_rows, top_k
from skue.ranking._counts import LogCounts, liked_events, liked_log
from skue.ranking._features import FEATURES, ranks_of_user
from skue.ranking._second_stage import (
    SecondStage,
    TrainingTable,
    below,
    chosen_stage,
    cross_validated,
    default_rankers,
    fitted_ranker,
    seeded_clone,
    training_table,
)

# The ranker needs no more users, and the table of their candidates has to fit into memory.
_SHARE, _MOST_USERS = 0.25, 10_000
# The default encoder holds out more than a tenth of the users, if that would be fewer than these.
_FEWEST_USERS = 1_000


def default_encoder(n_users: int) -> TwoTowerUserEncoder:
    """Return a two-tower encoder that holds out enough users for a second stage to learn from."""
    share = min(_SHARE, max(0.1, _FEWEST_USERS / max(n_users, 1)))
    return TwoTowerUserEncoder(validation_fraction=share)


def fitted_encoder(
    encoder: Any, histories: Histories, random_state: np.random.RandomState
) -> tuple[Any, np.ndarray]:
    """Fit the encoder without the newest events of some users, and return which these are.

    A two-tower encoder holds out events itself, and they serve the second stage as well. For
    other encoders, the newest instant of a quarter of the users is held out, at most 10,000.

    Returns
    -------
    encoder : fitted encoder
    held_out : ndarray of shape (n_events,), bool
    """
    if _holds_out(encoder):
        encoder = encoder.fit(histories, None)
        held_out = _not_learned(encoder, histories, random_state)
        if held_out.any():
            return encoder, held_out
        if isinstance(encoder, FrozenEstimator):
            warn_caller(
                "The frozen encoder has learned from all events that could be held out, so its "
                "cosines are too good where the second stage learns. Fit the encoder with "
                "early_stopping=True, or on a log without the newest events."
            )
    _, held_out = newest_instants(histories, _SHARE, random_state, n_most=_MOST_USERS)
    return encoder.fit(histories._keep_events(~held_out), None), held_out


def queries_before(
    histories: Histories, held_out: np.ndarray, random_state: np.random.RandomState
) -> tuple[np.ndarray, Histories, Histories]:
    """Return a query for each held-out instant with a liked event: all of the user before it.

    Several instants of a user are predicted one after the other, as the next instant will be. If
    all were predicted from the first query, the newest events would be missing where tastes move.

    Returns
    -------
    people : ndarray of shape (n_queries,)
        The user of each query, numbered from 0.
    queries, answers : Histories
        The events before an instant, and the liked ones of the instant. At most 10,000, chosen at
        random.
    """
    times = (
        np.arange(len(histories.codes)) if histories.timestamps is None else histories.timestamps
    )
    bounds = np.flatnonzero(np.append(starts_of_runs(times, histories.offsets), True))
    n_liked = np.append(0, np.cumsum(is_liked(histories)))[bounds]
    chosen = np.flatnonzero(held_out[bounds[:-1]] & (np.diff(n_liked) > 0))
    if len(chosen) > _MOST_USERS:
        chosen = np.sort(random_state.choice(chosen, _MOST_USERS, replace=False))
    opens, ends = bounds[chosen], bounds[chosen + 1]
    users = np.searchsorted(histories.offsets, opens, side="right") - 1
    starts = histories.offsets[users]

    def between(starts: np.ndarray, stops: np.ndarray) -> Histories:
        events = positions_of_ranges(starts, stops - starts)
        return histories._with_events(events, offsets_of(stops - starts), users)

    people = np.unique(users, return_inverse=True)[1]
    return people, between(starts, opens), liked(between(opens, ends))


def _holds_out(encoder: Any) -> bool:
    """Whether the encoder will be able to tell which events it has not learned from."""
    if isinstance(encoder, FrozenEstimator):
        return isinstance(encoder.estimator, TwoTowerUserEncoder)
    return isinstance(encoder, TwoTowerUserEncoder) and encoder.early_stopping


def _not_learned(
    encoder: Any, histories: Histories, random_state: np.random.RandomState
) -> np.ndarray:
    """Mark the newest events that a two-tower encoder has not learned from, of some users."""
    held_out = np.zeros(len(histories.codes), dtype=bool)
    state = getattr(encoder, "training_state_", None)
    if state is None:  # fitted by an earlier version
        return held_out
    n_new, _ = count_new_events(histories, state.learned)
    rows = np.flatnonzero((n_new > 0) & (n_new < histories.lengths))
    if len(rows) > _MOST_USERS:
        rows = np.sort(random_state.choice(rows, _MOST_USERS, replace=False))
    held_out[positions_of_ranges(histories.offsets[1:][rows] - n_new[rows], n_new[rows])] = True
    return held_out


if TYPE_CHECKING:
    import pandas

_SCALERS = MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler


def explained(recommender: Any, X: Any, k: int) -> pandas.DataFrame:
    """Return the k best candidates of each user, with their features."""
    pandas = import_optional("pandas", "io")
    histories, items = recommender._read(X), recommender.item_embeddings_
    vectors, stage = recommender._vectors_of(histories), recommender._second_stage()
    nearest, _ = recommender._nearest(vectors, k, None, None)
    users = users_of(X, histories)
    tables = []
    for start, _, candidates in stage.blocks(histories, vectors, nearest):
        features, scores = stage.scored(candidates)
        ranks = ranks_of_user(candidates.users, scores)
        best = np.lexsort((ranks, candidates.users))
        best = best[ranks[best] < k]
        rows = candidates.users[best] + start
        columns = {
            "user": rows if users is None else users[rows],
            "item": items.ids[candidates.rows[best]],
            "score": scores[best].astype(np.float32),
            "rank": ranks[best] + 1,
            **dict(zip(FEATURES, features[best].T, strict=True)),
        }
        shares = shares_of_features(recommender.ranker_, features[best])
        if shares is not None:
            columns |= {f"share of {n}": s for n, s in zip(FEATURES, shares.T, strict=True)}
        tables.append(pandas.DataFrame(columns))
    return pandas.concat(tables, ignore_index=True)


def shares_of_features(ranker: Any, features: np.ndarray) -> np.ndarray | None:
    """Return the terms of a linear or additive decision, shape (n_candidates, n_features).

    None if a step before the linear model does not treat each feature alone.
    """
    model, terms = ranker, features
    if isinstance(ranker, Pipeline):
        *before, model = (step for _, step in ranker.steps)
        if not all(map(_treats_each_alone, before)):
            return None
        terms = np.asarray(ranker[:-1].transform(features)) if before else features
    weights = np.ravel(getattr(model, "coef_", ()))
    if len(weights) != terms.shape[1]:
        return None
    # All columns that a SplineTransformer makes of a feature are side by side.
    return (terms * weights).reshape(*features.shape, -1).sum(axis=2)


def _treats_each_alone(step: Any) -> bool:
    if isinstance(step, SplineTransformer):
        return step.include_bias and not step.sparse_output
    return step == "passthrough" or isinstance(step, _SCALERS)


if TYPE_CHECKING:
    import pandas


class TwoStageRecommender(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Recommender):
    r"""Retrieve candidates by user vectors and counts, then rank them by a classifier.

    A cosine of unit vectors cannot tell how often a user chose an item before, nor how popular
    the item is. The second stage can. The candidates of a user are the ``n_candidates`` items
    nearest to the user vector, half as many by transitions from the newest items, half as many of
    the most popular, and all items of the history. A classifier ranks them by features of the
    user, the item and both. All other items rank below the candidates, by cosine.

    The classifier learns to find held-out items among the candidates. A two-tower encoder holds
    out newest events itself, and these are used. For other encoders, ``fit`` holds out the newest
    instant (without times: the newest event) of a quarter of the users, at most 10,000. Encoder
    and counts learn from the rest, so the features of a candidate never know the held-out events
    of its user. They know later events of other users, as those do that
    :func:`leave_last_out` keeps. Then the counts are made anew from all events. Events with a
    weight of zero or less are neither counted nor learned as items to find.

    Parameters
    ----------
    encoder : encoder or None, default=None
        The first stage, cloned and fitted. None is a :class:`TwoTowerUserEncoder` that holds out
        events of a tenth of the users, or of 1,000 if that is more, but at most of a quarter. A
        :class:`sklearn.frozen.FrozenEstimator` is used as it is. Unless it is a two-tower encoder,
        it should not have learned from the held-out events.
    ranker : classifier or None, default=None
        A scikit-learn classifier with ``decision_function`` or ``predict_proba``, cloned and
        fitted. None chooses by the NDCG@10 in a cross-validation over users. It is a
        :class:`sklearn.linear_model.LogisticRegression` on splines of each feature (a generalized
        additive model). A :class:`sklearn.ensemble.HistGradientBoostingClassifier` takes its place
        if it is better by more than a standard error, and the encoder alone if it is not worse.
    n_candidates : int, default=100
        Number of candidates by cosine.
    random_state : int, RandomState instance or None, default=None
        Seed of the users whose newest instant is held out, of the folds, and of encoder and ranker
        where their own ``random_state`` is None.

    Attributes
    ----------
    encoder_ : encoder
        The fitted first stage.
    ranker_ : classifier or None
        The fitted second stage.
    second_stage_ : {"encoder", "additive", "boosted", "given"}
        Which second stage was chosen. ``"encoder"`` ranks by the encoder alone.
    validation_scores_ : dict of str to float
        NDCG@10 of each choice in the cross-validation; empty with a given ranker.
    feature_names_in_ranker_ : ndarray of shape (n_features,), object
        Names of the features of a candidate.
    counts_ : LogCounts
        Popularity, recent popularity, return rates and transitions of the items.
    log_ : Histories
        The events that were counted.
    item_embeddings_ : ItemEmbeddings
        The items of the encoder.
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features_in_,)
        Number and names of the columns, if X was a 2-D array or a DataFrame of numbers.

    Warns
    -----
    UserWarning
        If no held-out item is among the candidates, for example because no history has two
        instants. The encoder then ranks alone.

    See Also
    --------
    TransitionItemRanker : Gives some of the candidates.

    References
    ----------
    P. Covington et al. (2016). Deep neural networks for YouTube recommendations. RecSys.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, TwoStageRecommender
    >>> from skue.datasets import make_user_histories
    >>> data = make_user_histories(n_users=300)
    >>> encoder = DecayAverageUserEncoder(data.item_embeddings)
    >>> recommender = TwoStageRecommender(encoder, random_state=0).fit(data.histories)
    >>> ids, scores = recommender.recommend(data.histories[:2], k=3)
    >>> ids.shape
    (2, 3)
    """

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

    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the encoder, count the log, and fit the ranker.

        If ``fit`` fails or is interrupted, the recommender is left unchanged.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : None
            Ignored.

        Returns
        -------
        self : TwoStageRecommender
        """
        histories = validate_histories(self, X, reset=True)
        random_state = check_random_state(self.random_state)
        encoder = default_encoder(len(histories)) if self.encoder is None else self.encoder
        self.encoder_, held_out = fitted_encoder(
            seeded_clone(encoder, random_state), histories, random_state
        )
        earlier = histories._keep_events(~held_out)
        self.counts_ = LogCounts(self.item_embeddings_, earlier)
        people, queries, answers = queries_before(histories, held_out, random_state)
        self._choose(self._training_table(queries, answers), people, random_state)
        self.log_ = liked_log(self.item_embeddings_, histories)
        self.counts_ = LogCounts(self.item_embeddings_, self.log_)
        self.feature_names_in_ranker_ = np.array(list(FEATURES), dtype=object)
        return self

    def update(self, X: Any) -> Self:
        """Add newer events to the counts. Neither the encoder nor the ranker is fitted again.

        The result is the same as counting all events anew. Call it, for example, once a day.

        Parameters
        ----------
        X : Histories with ``user_ids``
            Only events that were not counted before; users may be new. Items that the encoder
            does not know are ignored.

        Returns
        -------
        self : TwoStageRecommender

        Raises
        ------
        ValueError
            If the histories of ``fit`` or ``update`` have no ``user_ids``, if an event is older
            than one of the same user that is counted already, or if ids or times have another
            type than in ``fit``.
        """
        newer = self._read(X)
        check_same_type(newer.item_ids, self.item_embeddings_.ids, "The item ids", "fit had")
        log = joined(self.log_, liked_log(self.item_embeddings_, newer))
        self.log_, self.counts_ = log, LogCounts(self.item_embeddings_, log)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the user vectors of the encoder.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads

        Returns
        -------
        user_vectors : ndarray of shape (n_users, n_dims), float32
        """
        return indexed_by_user(self, self._vectors_of(self._read(X)), X)

    def explain(self, X: Any, k: int = 10) -> pandas.DataFrame:
        """Return the features behind each recommendation.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        k : int, default=10

        Returns
        -------
        table : pandas.DataFrame
            One row per recommended candidate: ``user``, ``item``, ``score``, ``rank`` and the
            features. With an additive or linear ranker, ``share of <feature>`` is the part of the
            score that comes from the feature. With a StandardScaler before the model, as by
            default, it is compared with the mean of that part in training.
        """
        check_positive_int("k", k)
        return explained(self, X, k)

    @property
    def item_embeddings_(self) -> ItemEmbeddings:
        """The items of the encoder."""
        check_is_fitted(self, "encoder_")
        return self.encoder_.item_embeddings_

    @property
    def _n_features_out(self) -> int:
        return self.item_embeddings_.n_dims

    def _training_table(self, queries: Histories, held_out: Histories) -> TrainingTable:
        """Return the candidates of the queries, and which of them are held out."""
        items = self.item_embeddings_
        if not len(queries):
            return training_table((), held_out, items)
        vectors = self._vectors_of(queries)
        nearest, _ = self._nearest(vectors, 1, None, None)
        stage = SecondStage(items, self.counts_, self.n_candidates, None)
        return training_table(stage.blocks(queries, vectors, nearest), held_out, items)

    def _choose(
        self, table: TrainingTable, people: np.ndarray, random_state: np.random.RandomState
    ) -> None:
        """Fit the ranker; without one, choose among the defaults and the encoder alone."""
        self.second_stage_, self.ranker_ = "encoder", None
        self.validation_scores_: dict[str, float] = {}
        if not table.chosen.any() or table.chosen.all():
            warn_caller(
                "No newest instant could be held out and found among the candidates, so the "
                "encoder ranks alone. Pass more or longer histories."
            )
            return
        if self.ranker is not None:
            self.second_stage_, chosen = "given", seeded_clone(self.ranker, random_state)
        else:
            rankers = default_rankers(random_state)
            ndcg = cross_validated(table, people, rankers, random_state)
            self.validation_scores_ = {name: float(each.mean()) for name, each in ndcg.items()}
            self.second_stage_ = chosen_stage(ndcg)
            chosen = rankers.get(self.second_stage_)
        if chosen is not None:
            self.ranker_ = fitted_ranker(chosen, table.features, table.chosen)

    def _vectors_of(self, histories: Histories) -> np.ndarray:
        return np.asarray(self.encoder_.transform(histories), dtype=np.float32)

    def _second_stage(self) -> SecondStage:
        return SecondStage(self.item_embeddings_, self.counts_, self.n_candidates, self.ranker_)

    def _nearest(
        self, vectors: np.ndarray, k: int, excluded: Pairs | None, allowed: Rows | None
    ) -> Pairs:
        k = max(k, self.n_candidates)
        return top_k(vectors, self.item_embeddings_.vectors, k, excluded=excluded, allowed=allowed)

    def _best_items(
        self, histories: Histories, k: int, excluded: Pairs | None, allowed: Rows | None
    ) -> Pairs:
        vectors = self._vectors_of(histories)
        nearest = self._nearest(vectors, k, excluded, allowed)
        return self._second_stage().best(histories, vectors, nearest, k, excluded, allowed)

    def _scores(
        self, histories: Histories, excluded: Pairs | None = None, allowed: Rows | None = None
    ) -> ScoreBlock:
        vectors, items = self._vectors_of(histories), self.item_embeddings_
        events, stage = liked_events(items, histories), self._second_stage()

        def score_block(start: int, stop: int) -> np.ndarray:
            cosines = vectors[start:stop] @ items.vectors.T
            apply_limits(cosines, start, excluded, allowed)
            if stage.ranker is None:
                return cosines
            nearest, _ = best_of_rows(cosines, min(self.n_candidates, len(items)))
            block = events.of_users(start, stop), vectors[start:stop], nearest
            candidates = stage.candidates(*block, np.isfinite(cosines))
            _, scores = stage.scored(candidates)
            table = cosines + below(candidates.users, scores, stop - start)[:, None]
            table[candidates.users, candidates.rows] = scores
            return table

        return score_block

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        has = hasattr(self, "second_stage_")
        return f"{text} with second stage {self.second_stage_!r}" if has else text

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
