"""The second stage for a batch of users: candidates, their scores, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from skue.encoders._events import Events
from skue.encoders._recommender import Pairs
from skue.histories._histories import Histories
from skue.items._id_lists import Rows
from skue.kernels._arrays import owners, user_item_keys
from skue.kernels._threads import few_openmp_threads
from skue.kernels._ties import ideal_dcg
from skue.kernels._topk import apply_limits, blocks_of_users
from skue.ranking._candidates import Candidates, candidates_of
from skue.ranking._counts import LogCounts, liked_events
from skue.ranking._features import FEATURES, feature_table, ranks_of_user

_SPLINES = SplineTransformer(n_knots=4, degree=2, extrapolation="constant")
_SPLINE_PARAMETERS = _SPLINES.get_params()


def default_rankers(random_state: np.random.RandomState) -> dict[str, Any]:
    """Return the classifiers to choose from.

    Both are strongly regularised, because often only some hundred held-out items are learned from.
    ``"additive"`` adds up a smooth function of each feature. It is constant outside the range of
    the feature in training.
    """
    return {
        "additive": make_pipeline(
            clone(_SPLINES),
            StandardScaler(copy=False),
            LogisticRegression(C=0.003, max_iter=300),
        ),
        "boosted": HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=100,
            max_leaf_nodes=7,
            min_samples_leaf=200,
            l2_regularization=10.0,
            early_stopping=False,
            random_state=random_state.randint(2**31 - 1),
        ),
    }


def seeded_clone(estimator: Any, random_state: np.random.RandomState) -> Any:
    """Return an unfitted copy in which every ``random_state`` of None is a drawn seed."""
    copy = clone(estimator)
    names = [name for name in sorted(copy.get_params()) if name.endswith("random_state")]
    missing = [name for name in names if copy.get_params()[name] is None]
    if missing:
        copy.set_params(**{name: random_state.randint(2**31 - 1) for name in missing})
    return copy


def fitted_ranker(ranker: Any, features: np.ndarray, chosen: np.ndarray) -> Any:
    """Fit a classifier in place, and return it."""
    with few_openmp_threads(len(features)):
        return ranker.fit(features, chosen)


def ranker_scores(ranker: Any, features: np.ndarray) -> np.ndarray:
    """Return the decision of a classifier that an item is chosen, one number per candidate."""
    # The first two are the same as decision_function, without its checks at each call.
    if _has_steps(ranker, StandardScaler, LogisticRegression):
        weights, intercept = _unscaled(*ranker)
        return features @ weights + intercept
    if _is_additive(ranker):
        return _additive_scores(ranker, features)
    with (
        config_context(assume_finite=True, skip_parameter_validation=True),
        few_openmp_threads(len(features)),
    ):
        if hasattr(ranker, "decision_function"):
            return np.asarray(ranker.decision_function(features), dtype=np.float64)
        return np.asarray(ranker.predict_proba(features), dtype=np.float64)[:, 1]


def _has_steps(ranker: Any, *types: type) -> bool:
    return type(ranker) is Pipeline and tuple(map(type, ranker)) == types


def _is_additive(ranker: Any) -> bool:
    """Whether the ranker has the steps and the kind of splines of the default."""
    if not _has_steps(ranker, SplineTransformer, StandardScaler, LogisticRegression):
        return False
    parameters = ranker[0].get_params()
    # Knots that are an array cannot be compared with a string.
    return isinstance(parameters["knots"], str) and parameters == _SPLINE_PARAMETERS


def _unscaled(scaler: StandardScaler, model: LogisticRegression) -> tuple[np.ndarray, float]:
    """Return the weights and the intercept for values that are not scaled."""
    scale = np.ones(model.n_features_in_) if scaler.scale_ is None else scaler.scale_
    # Without with_mean, a scaler may have means, but does not subtract them.
    mean = scaler.mean_ if scaler.with_mean else np.zeros(model.n_features_in_)
    weights = model.coef_[0] / scale
    return weights, float(model.intercept_[0] - mean @ weights)


def _additive_scores(ranker: Pipeline, features: np.ndarray) -> np.ndarray:
    r"""Return the sum of a quadratic spline of each feature.

    With weights :math:`w` of its B-splines, the spline is :math:`(w_0 + w_1) / 2 + (w_1 - w_0) f +
    (w_0 - 2 w_1 + w_2) f^2 / 2` at the share :math:`f` of an interval between two knots (C. de
    Boor, A practical guide to splines, 1978).
    """
    splines, scaler, model = ranker
    n_features = features.shape[1]
    weights, intercept = _unscaled(scaler, model)
    weights = weights.reshape(n_features, -1)
    low, middle, high = weights[:, :-2], weights[:, 1:-1], weights[:, 2:]
    n_intervals = low.shape[1]
    knots = np.array([spline.t[splines.degree : -splines.degree] for spline in splines.bsplines_])
    width = (knots[:, -1] - knots[:, 0]) / n_intervals
    width[width == 0] = 1.0  # a constant feature, whose weights are zero
    place = np.clip((features - knots[:, 0]) / width, 0, n_intervals)
    interval = np.minimum(place.astype(np.int64), n_intervals - 1)
    share = place - interval
    interval += np.arange(n_features) * n_intervals
    start, slope, curve = (low + middle) / 2, middle - low, (low - 2 * middle + high) / 2
    values = start.ravel()[interval] + share * (
        slope.ravel()[interval] + share * curve.ravel()[interval]
    )
    total: np.ndarray = values.sum(axis=1) + intercept
    return total


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


_K = 10
_N_FOLDS = 3
# If a smaller share of the held-out items is in the history, items of the history are left out.
_RARELY_AGAIN = 0.01


class TrainingTable(NamedTuple):
    """Candidates of queries, which end before an instant that is held out.

    Attributes
    ----------
    users : ndarray of shape (n_candidates,)
        Row of the query, sorted.
    features : ndarray of shape (n_candidates, n_features), float32
    cosine : ndarray of shape (n_candidates,)
    chosen : ndarray of shape (n_candidates,), bool
        Whether the item is held out.
    n_held_out : ndarray of shape (n_users,)
        Number of distinct held-out items of each query, candidates or not.
    """

    users: np.ndarray
    features: np.ndarray
    cosine: np.ndarray
    chosen: np.ndarray
    n_held_out: np.ndarray

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """Return the NDCG@10 of each query with held-out items, ranked by these scores."""
        ranks = ranks_of_user(self.users, scores)
        gains = np.where(self.chosen & (ranks < _K), 1 / np.log2(ranks + 2), 0.0)
        counted = self.n_held_out > 0
        dcg = np.bincount(self.users, gains, len(counted))[counted]
        shares: np.ndarray = dcg / ideal_dcg(self.n_held_out[counted], _K)
        return shares


def training_table(
    blocks: Iterable[tuple[int, int, Candidates]], held_out: Histories, items: Any
) -> TrainingTable:
    """Return the candidates of all queries, and which of them are held out.

    Parameters
    ----------
    blocks : iterable of (start, stop, Candidates)
        The candidates of a range of queries each.
    held_out : Histories
        The held-out events of the queries.
    items : ItemEmbeddings
    """
    n_users, n_items = len(held_out), len(items)
    rows = items.rows_of(held_out)
    targets = np.unique(user_item_keys(owners(held_out.offsets), rows, n_items)[rows >= 0])
    none = np.empty(0, dtype=np.int64)
    parts = [(none, np.empty((0, len(FEATURES)), dtype=np.float32), np.empty(0), none.astype(bool))]
    for start, _, found in blocks:
        keys = user_item_keys(found.users + start, found.rows, n_items)
        features = feature_table(found).astype(np.float32)
        parts.append((keys, features, found.cosine, found.own >= 0))
    keys, features, cosine, own = map(np.concatenate, zip(*parts, strict=True))
    if own[np.isin(keys, targets)].sum() < _RARELY_AGAIN * len(targets):
        # Otherwise any ranker beats the encoder only by ranking items of the history last.
        keys, features, cosine = keys[~own], features[~own], cosine[~own]
    n_held_out = np.bincount(targets // n_items, minlength=n_users)
    return TrainingTable(keys // n_items, features, cosine, np.isin(keys, targets), n_held_out)


def cross_validated(
    table: TrainingTable,
    people: np.ndarray,
    rankers: dict[str, Any],
    random_state: np.random.RandomState,
) -> dict[str, np.ndarray]:
    """Return the NDCG@10 of each query, for each second stage, fitted on other people.

    ``"encoder"`` ranks the candidates by their cosine. ``people`` are those of the queries.
    """
    folds = random_state.permutation(people.max() + 1)[people] % _N_FOLDS
    found = {"encoder": table.ndcg(table.cosine)}
    for name, ranker in rankers.items():
        scores = np.zeros(len(table.users))
        for fold in range(_N_FOLDS):
            test = folds[table.users] == fold
            if len(np.unique(table.chosen[~test])) < 2:
                return found  # too few users to compare
            if test.any():
                learned = table.features[~test], table.chosen[~test]
                fitted = fitted_ranker(clone(ranker), *learned)
                scores[test] = ranker_scores(fitted, table.features[test])
        found[name] = table.ndcg(scores)
    return found


def chosen_stage(ndcg: dict[str, np.ndarray]) -> str:
    """Return the second stage to use.

    It is the additive ranker, or the boosted one if that is better by more than a standard error:
    some hundred queries rarely tell two rankers apart. It is the encoder alone if the ranker is
    not better.
    """
    if not {"additive", "boosted"} <= set(ndcg):
        return "encoder"
    more = ndcg["boosted"] - ndcg["additive"]
    best = "boosted" if more.mean() > more.std() / np.sqrt(len(more)) else "additive"
    return best if ndcg[best].mean() > ndcg["encoder"].mean() else "encoder"
