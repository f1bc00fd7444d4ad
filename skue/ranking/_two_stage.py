"""Retrieve candidates by user vectors and counts, then rank them by a classifier."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from skue._estimator import atomic_fit, check_positive_int, import_optional, of_one_fit, warn_caller
from skue.encoders._events import Events
from skue.encoders._recommender import Pairs, Recommender, ScoreBlock, users_of
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._forms import columns_used, indexed_by_user, validate_histories
from skue.histories._histories import Histories
from skue.histories._splits import is_liked
from skue.histories._vocabulary import check_same_type
from skue.items._catalogue import ids_of_rows
from skue.items._id_lists import Rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._topk import apply_limits, are_permitted, best_of_rows, top_k
from skue.ranking._candidates import Candidates, candidates_of
from skue.ranking._counted_log import counted_log, log_without, updated_log
from skue.ranking._counts import LogCounts, liked_events
from skue.ranking._features import FEATURES, feature_table, ranks_of_user
from skue.ranking._rankers import (
    default_rankers,
    fitted_ranker,
    ranker_scores,
    seeded_clone,
    shares_of_features,
)
from skue.ranking._training import (
    SHARE,
    Queries,
    TrainingTable,
    chosen_stage,
    cross_validated,
    fitted_encoder,
    learned_rows,
    queries_before,
    training_table,
)

if TYPE_CHECKING:
    import pandas

# The default encoder holds out more than a tenth of the users, if that would be fewer than these.
_FEWEST_USERS = 1_000
# The number of users whose candidates are held at a time.
_BLOCK_USERS = 256


def default_encoder(n_users: int) -> TwoTowerUserEncoder:
    """Return a two-tower encoder that holds out enough users for a second stage to learn from."""
    share = min(SHARE, max(0.1, _FEWEST_USERS / max(n_users, 1)))
    return TwoTowerUserEncoder(validation_fraction=share)


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
    :func:`leave_last_out` keeps. Then the counts are made anew from all events, and encoders that
    hold out nothing themselves are fitted anew, so that no item of the log is missing. Events with
    a weight of zero or less are neither counted nor learned as items to find. The classifier learns
    from at most 200,000 candidates: those that are held out, and others at random.

    Parameters
    ----------
    encoder : encoder or None, default=None
        The first stage, cloned and fitted. None is a :class:`TwoTowerUserEncoder` that holds out
        events of a tenth of the users, or of 1,000 if that is more, but at most of a quarter. A
        :class:`sklearn.frozen.FrozenEstimator` is used as it is. Unless it is a two-tower encoder,
        it should not have learned from the held-out events.
    ranker : classifier or None, default=None
        A scikit-learn classifier with ``decision_function`` or ``predict_proba``, cloned and
        fitted. None chooses by the NDCG@10 in a cross-validation over users: a
        :class:`sklearn.linear_model.LogisticRegression` on splines of each feature (a generalized
        additive model), a :class:`sklearn.ensemble.VotingClassifier` of it and a
        :class:`sklearn.ensemble.HistGradientBoostingClassifier`, or the encoder alone.
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
    second_stage_ : {"encoder", "additive", "voting", "given"}
        Which second stage was chosen. ``"encoder"`` ranks by the encoder alone.
    validation_scores_ : dict of str to float
        NDCG@10 of each choice in the cross-validation; empty with a given ranker.
    feature_names_in_ranker_ : ndarray of shape (n_features,), object
        Names of the features of a candidate.
    counts_ : LogCounts
        Popularity, recent popularity, return rates and transitions of the items.
    log_ : Histories
        The events that were counted, with the ids of their users. A pickle has them, too: see
        :meth:`without_log`.
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
    _defaults_of_none: ClassVar[dict[str, str]] = {
        "encoder": "TwoTowerUserEncoder()",
        "ranker": "HistGradientBoostingClassifier()",
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
            The histories to learn from, one per user.
        y : None
            Ignored.

        Returns
        -------
        self : TwoStageRecommender
        """
        check_positive_int("n_candidates", self.n_candidates)
        histories = validate_histories(self, X, reset=True)
        self._needs = columns_used(histories, times=True, weights=not is_liked(histories).all())
        random_state = check_random_state(self.random_state)
        encoder = default_encoder(len(histories)) if self.encoder is None else self.encoder
        self.encoder_, held_out, is_final = fitted_encoder(
            seeded_clone(encoder, random_state), histories, random_state
        )
        self.counts_ = LogCounts(self.item_embeddings_, histories._keep_events(~held_out))
        queries = queries_before(histories, held_out, random_state)
        self._choose(self._training_table(queries), random_state)
        if not is_final:
            self.encoder_.fit(histories, None)
        self.log_ = log = counted_log(self.item_embeddings_, histories)
        self.counts_ = LogCounts(self.item_embeddings_, log)
        self.feature_names_in_ranker_ = np.array(list(FEATURES), dtype=object)
        return self

    @atomic_fit
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
            If the histories of ``fit`` or ``update`` have no ``user_ids``, if ``fit`` had several
            histories of one user, or if ids or times have another type than in ``fit``.

        Warns
        -----
        UserWarning
            If events are older than counted ones of the same user, and left out; if events are
            later than the end of the log, and counted as of it; or if, without times, most
            histories start with all that is counted already.
        """
        newer = self._read(X)
        self._check_log("update")
        check_same_type(newer.item_ids, self.item_embeddings_.ids, "The item ids", "fit had")
        self._count(updated_log(self.log_, self.item_embeddings_, newer))
        return self

    @atomic_fit
    def forget(self, user_ids: Any) -> Self:
        """Take the events of users out of the log and the counts.

        The counts are the same as if the users had never been in the log. The encoder and the
        ranker keep what they learned from them until they are fitted again, and so do copies made
        by :meth:`without_log`.

        Parameters
        ----------
        user_ids : array-like of shape (n_forgotten,)
            The users to remove.

        Returns
        -------
        self : TwoStageRecommender

        Raises
        ------
        ValueError
            If the log has no ``user_ids``, or not some of these.

        Examples
        --------
        >>> from skue import DecayAverageUserEncoder, Histories, TwoStageRecommender
        >>> from skue.datasets import make_user_histories
        >>> data = make_user_histories(n_users=300)
        >>> log = data.histories
        >>> log = Histories(log.codes, log.offsets, log.item_ids, user_ids=range(300))
        >>> encoder = DecayAverageUserEncoder(data.item_embeddings)
        >>> recommender = TwoStageRecommender(encoder, random_state=0).fit(log)
        >>> len(recommender.forget([7, 12]).log_)
        298
        """
        check_is_fitted(self, "encoder_")
        self._check_log("forget")
        self._count(log_without(self.log_, user_ids))
        return self

    def _check_log(self, method: str) -> None:
        if not hasattr(self, "log_"):
            raise ValueError(
                f"This recommender is a copy without the log, so {method} cannot change its "
                f"counts. Call {method} of the recommender that without_log was called on."
            )

    def _count(self, log: Histories) -> None:
        self.log_, self.counts_ = log, LogCounts(self.item_embeddings_, log)

    def without_log(self) -> Self:
        """Return a copy to serve, without ``log_``, which has the events and ids of all users.

        The copy recommends the same, and shares everything else with this recommender. It cannot
        be updated: update this one, and make another copy.

        Returns
        -------
        recommender : TwoStageRecommender

        Examples
        --------
        >>> from skue import DecayAverageUserEncoder, TwoStageRecommender
        >>> from skue.datasets import make_user_histories
        >>> data = make_user_histories(n_users=300)
        >>> encoder = DecayAverageUserEncoder(data.item_embeddings)
        >>> recommender = TwoStageRecommender(encoder, random_state=0).fit(data.histories)
        >>> hasattr(recommender.without_log(), "log_")
        False
        """
        check_is_fitted(self, "encoder_")
        served = copy(self)
        del served.log_
        return served

    @of_one_fit
    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the user vectors of the encoder.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to encode, one per user.

        Returns
        -------
        user_vectors : ndarray of shape (n_users, n_dims), float32
        """
        return indexed_by_user(self, self._vectors_of(self._read(X)), X)

    @of_one_fit
    def explain(self, X: Any, k: int = 10) -> pandas.DataFrame:
        """Return the features behind each recommendation.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories of the users who get recommendations.
        k : int, default=10
            Number of items per user.

        Returns
        -------
        table : pandas.DataFrame
            One row per recommended candidate, best first: ``user``, ``item``, ``score``, ``rank``
            and the features. Items below the candidates have no features and are not listed. With
            an additive or linear ranker, ``share of <feature>`` is the part of the
            score that comes from the feature. With a StandardScaler before the model, as by
            default, it is compared with the mean of that part in training.
        """
        check_positive_int("k", k)
        pandas = import_optional("pandas", "io")
        histories, items = self._read(X), self.item_embeddings_
        vectors, users = self._vectors_of(histories), users_of(X, histories)
        users = np.arange(len(histories)) if users is None else users
        n_nearest = self.n_candidates if self.ranker_ is not None else max(k, self.n_candidates)
        nearest, _ = top_k(vectors, items.vectors, n_nearest)
        tables = []
        for start, _, candidates in self._blocks(histories, vectors, nearest):
            features, scores = self._scored(candidates)
            ranks = ranks_of_user(candidates.users, scores)
            best = np.lexsort((ranks, candidates.users))
            best = best[ranks[best] < k]
            rows = candidates.users[best] + start
            columns = {
                # Text as objects, because not every text of Python can be encoded.
                "user": pandas.Series(users[rows], dtype=users.dtype),
                "item": pandas.Series(items.ids[candidates.rows[best]], dtype=items.ids.dtype),
                "score": scores[best].astype(np.float32),
                "rank": ranks[best] + 1,
                **dict(zip(FEATURES, features[best].T, strict=True)),
            }
            shares = shares_of_features(self.ranker_, features[best])
            if shares is not None:
                columns |= {f"share of {n}": s for n, s in zip(FEATURES, shares.T, strict=True)}
            tables.append(pandas.DataFrame(columns))
        return pandas.concat(tables, ignore_index=True)

    @property
    def item_embeddings_(self) -> ItemEmbeddings:
        """The items of the encoder."""
        check_is_fitted(self, "encoder_")
        return self.encoder_.item_embeddings_

    @property
    def _n_features_out(self) -> int:
        return self.item_embeddings_.n_dims

    def _training_table(self, queries: Queries) -> TrainingTable:
        """Return the candidates of the queries, and which of them are held out."""
        items = self.item_embeddings_
        if not len(queries.users):
            return training_table((), queries, items)
        # What nothing places, such as the only item of a user, is unknown to the encoder.
        histories = queries.histories._keep_events(items.rows_of(queries.histories) >= 0)
        vectors = self._vectors_of(histories)
        nearest, _ = top_k(vectors, items.vectors, self.n_candidates)
        return training_table(self._blocks(histories, vectors, nearest), queries, items)

    def _choose(self, table: TrainingTable, random_state: np.random.RandomState) -> None:
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
            ndcg = cross_validated(table, rankers, random_state)
            self.validation_scores_ = {name: float(each.mean()) for name, each in ndcg.items()}
            self.second_stage_ = chosen_stage(ndcg)
            chosen = rankers.get(self.second_stage_)
        if chosen is not None:
            rows = learned_rows(table.chosen, random_state)
            self.ranker_ = fitted_ranker(chosen, table.features[rows], table.chosen[rows])

    def _vectors_of(self, histories: Histories) -> np.ndarray:
        return np.asarray(self.encoder_.transform(histories), dtype=np.float32)

    def _candidates(self, events: Events, vectors: np.ndarray, nearest: np.ndarray) -> Candidates:
        half = -(-self.n_candidates // 2)
        items = self.item_embeddings_.vectors
        return candidates_of(nearest, vectors, items, events, self.counts_, half)

    def _blocks(
        self, histories: Histories, vectors: np.ndarray, nearest: np.ndarray
    ) -> Iterator[tuple[int, int, Candidates]]:
        """Yield the candidates of users ``start:stop``, as ``start, stop, candidates``.

        ``nearest`` has the rows of the nearest items of each user, which are all candidates.
        """
        items = self.item_embeddings_
        events = liked_events(items, histories)
        for start in range(0, len(histories), _BLOCK_USERS):
            stop = min(start + _BLOCK_USERS, len(histories))
            block = events.of_users(start, stop), vectors[start:stop], nearest[start:stop]
            yield start, stop, self._candidates(*block)

    def _scored(self, candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and the scores of candidates."""
        features = feature_table(candidates)
        if self.ranker_ is None or not len(features):
            return features, candidates.cosine
        return features, ranker_scores(self.ranker_, features)

    def _best_items(
        self, histories: Histories, k: int, excluded: Pairs | None, allowed: Rows | None
    ) -> Pairs:
        vectors, items = self._vectors_of(histories), self.item_embeddings_.vectors
        n_nearest = max(k, self.n_candidates)
        nearest = permitted = top_k(vectors, items, n_nearest)
        if excluded is not None or allowed is not None:
            permitted = top_k(vectors, items, n_nearest, excluded=excluded, allowed=allowed)
        return self._ranked(histories, vectors, nearest, permitted, k, excluded, allowed)

    def _ranked(
        self,
        histories: Histories,
        vectors: np.ndarray,
        nearest: Pairs,
        permitted: Pairs,
        k: int,
        excluded: Pairs | None = None,
        allowed: Rows | None = None,
    ) -> Pairs:
        """Return rows and scores of the k best items, of shape (n_users, k), as in ``top_k``.

        Candidates and their features do not depend on the limits, so these leave the order of the
        other items as it is. Rows from n_items on are of items that an index has and the
        recommender does not know. One that is among the ``n_candidates`` nearest gets the score of
        the known candidate that has the same place by score as it has by cosine.

        Parameters
        ----------
        nearest : tuple of ndarrays of shape (n_users, n_nearest)
            Rows and cosines of the nearest items, whatever the limits.
        permitted : tuple of ndarrays of shape (n_users, n_nearest)
            Rows and cosines of the nearest items that the limits permit. Those that are no
            candidates rank below the candidates, by cosine.
        excluded, allowed : as for :func:`top_k`, default=None
        """
        if self.ranker_ is None:
            return permitted[0][:, :k], permitted[1][:, :k]
        rows = np.full((len(histories), k), -1, dtype=np.int64)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        limited = excluded is not None or allowed is not None
        nearest_rows, n_items = nearest[0][:, : self.n_candidates], len(self.item_embeddings_)
        is_new = nearest_rows >= n_items
        blocks = self._blocks(histories, vectors, np.where(is_new, -1, nearest_rows))
        for start, stop, candidates in blocks:
            found = self._scored(candidates)[1]
            users, items = candidates.users, candidates.rows
            new = _new_items(nearest_rows[start:stop], is_new[start:stop], users, found)
            lowered = permitted[1][start:stop] + _below(users, found, stop - start)[:, None]
            if limited:
                kept = are_permitted(users + start, items, n_items, excluded, allowed)
                users, items, found = users[kept], items[kept], found[kept]
            if len(new[0]):
                kept = (permitted[0][start:stop][new[0]] == new[1][:, None]).any(axis=1)
                # First, so that they are before the known items with the same score.
                parts = zip((part[kept] for part in new), (users, items, found), strict=True)
                users, items, found = map(np.concatenate, parts)
            ranks = ranks_of_user(users, found)
            best = ranks < k
            at = users[best] + start, ranks[best]
            rows[at], scores[at] = items[best], found[best]
            counts = np.bincount(users, minlength=stop - start)
            for user in np.flatnonzero(counts < k):
                more = permitted[0][start + user], lowered[user]
                _append(rows[start + user], scores[start + user], int(counts[user]), *more)
        return rows, scores

    def _ranked_ids(
        self,
        histories: Histories,
        vectors: np.ndarray,
        nearest: Pairs,
        permitted: Pairs,
        k: int,
        excluded: Pairs | None = None,
        allowed: Rows | None = None,
    ) -> Pairs:
        """Return the same as ``_ranked``, with ids in place of rows; some may be unknown here."""
        items, n_items = self.item_embeddings_, len(self.item_embeddings_)
        ids = np.concatenate([nearest[0], permitted[0]], axis=1)
        cosines = np.concatenate([nearest[1], permitted[1]], axis=1)
        rows = items.lookup(ids.ravel()).astype(np.int64).reshape(ids.shape)
        is_new = (rows < 0) & (cosines > -np.inf)
        new_ids, numbers = np.unique(ids[is_new], return_inverse=True)
        rows[is_new] = n_items + numbers
        n_nearest = nearest[0].shape[1]
        best, scores = self._ranked(
            histories,
            vectors,
            (rows[:, :n_nearest], nearest[1]),
            (rows[:, n_nearest:], permitted[1]),
            k,
            excluded,
            allowed,
        )
        found = ids_of_rows(items.ids, np.where(best < n_items, best, -1))
        found[best >= n_items] = new_ids[best[best >= n_items] - n_items]
        return found, scores

    def _scores(
        self, histories: Histories, excluded: Pairs | None = None, allowed: Rows | None = None
    ) -> ScoreBlock:
        vectors, items = self._vectors_of(histories), self.item_embeddings_
        events = liked_events(items, histories)

        def score_block(start: int, stop: int) -> np.ndarray:
            table = vectors[start:stop] @ items.vectors.T
            if self.ranker_ is not None:
                nearest, _ = best_of_rows(table, min(self.n_candidates, len(items)))
                block = events.of_users(start, stop), vectors[start:stop], nearest
                candidates = self._candidates(*block)
                _, scores = self._scored(candidates)
                table = table + _below(candidates.users, scores, stop - start)[:, None]
                table[candidates.users, candidates.rows] = scores
            apply_limits(table, start, excluded, allowed)
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


def _below(users: np.ndarray, scores: np.ndarray, n_users: int) -> np.ndarray:
    """Return what to add to cosines, at most 1, so that they are below all scores of a user."""
    lowest = np.zeros(n_users)
    np.minimum.at(lowest, users, scores)
    return lowest - 2.0


def _new_items(
    nearest: np.ndarray, is_new: np.ndarray, users: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return users, rows and scores of the items among the nearest that are marked as new.

    A new item that is less near than q known ones gets the score that q candidates are above.
    """
    owners, places = np.nonzero(is_new)
    n_nearer = np.cumsum((nearest >= 0) & ~is_new, axis=1)[owners, places]
    order = np.lexsort((-scores, users))
    opens = np.searchsorted(users[order], np.arange(len(nearest) + 1))
    has = n_nearer < np.diff(opens)[owners]
    owners, places = owners[has], places[has]
    return owners, nearest[owners, places], scores[order[opens[owners] + n_nearer[has]]]


def _append(
    rows: np.ndarray, scores: np.ndarray, n: int, more: np.ndarray, their_scores: np.ndarray
) -> None:
    """Fill the answer of a user with items that are not among the first n."""
    new = np.flatnonzero((more >= 0) & ~np.isin(more, rows[:n]))[: len(rows) - n]
    rows[n : n + len(new)], scores[n : n + len(new)] = more[new], their_scores[new]
