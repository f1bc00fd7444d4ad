"""Choice of the second stage by cross-validation over people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skue.histories._histories import Histories
from skue.kernels._segments import owners, user_item_keys
from skue.kernels._threads import few_openmp_threads
from skue.kernels._ties import ideal_dcg
from skue.ranking._candidates import Candidates
from skue.ranking._features import FEATURES, feature_table, ranks_of_user

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
    features : ndarray of shape (n_candidates, n_features)
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

    def ndcg(self, scores: np.ndarray) -> float:
        """Return the mean NDCG@10 of the queries if the candidates are ranked by these scores."""
        ranks = ranks_of_user(self.users, scores)
        gains = np.where(self.chosen & (ranks < _K), 1 / np.log2(ranks + 2), 0.0)
        counted = self.n_held_out > 0
        dcg = np.bincount(self.users, gains, len(counted))[counted]
        return float((dcg / ideal_dcg(self.n_held_out[counted], _K)).mean())


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
    parts = [(none, np.empty((0, len(FEATURES))), np.empty(0), none.astype(bool))]
    for start, _, found in blocks:
        keys = user_item_keys(found.users + start, found.rows, n_items)
        parts.append((keys, feature_table(found), found.cosine, found.own >= 0))
    keys, features, cosine, own = map(np.concatenate, zip(*parts, strict=True))
    if own[np.isin(keys, targets)].sum() < _RARELY_AGAIN * len(targets):
        # Otherwise any ranker beats the encoder only by ranking items of the history last.
        keys, features, cosine = keys[~own], features[~own], cosine[~own]
    n_held_out = np.bincount(targets // n_items, minlength=n_users)
    return TrainingTable(keys // n_items, features, cosine, np.isin(keys, targets), n_held_out)


def seeded_clone(estimator: Any, random_state: np.random.RandomState) -> Any:
    """Return an unfitted copy in which every ``random_state`` of None is a drawn seed."""
    copy = clone(estimator)
    names = [name for name in sorted(copy.get_params()) if name.endswith("random_state")]
    missing = [name for name in names if copy.get_params()[name] is None]
    if missing:
        copy.set_params(**{name: random_state.randint(2**31 - 1) for name in missing})
    return copy


def default_rankers(random_state: np.random.RandomState) -> dict[str, Any]:
    """Return the classifiers to choose from.

    Both are strongly regularised, because often only some hundred held-out items are learned from.
    """
    return {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300)),
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


def fitted_ranker(ranker: Any, features: np.ndarray, chosen: np.ndarray) -> Any:
    """Fit a classifier in place, and return it."""
    with few_openmp_threads(len(features)):
        return ranker.fit(features, chosen)


def ranker_scores(ranker: Any, features: np.ndarray) -> np.ndarray:
    """Return the decision of a classifier that an item is chosen, one number per candidate."""
    line = linear_terms(ranker)
    if line is not None:  # the same as decision_function, without its checks at each call
        weights, intercept = line
        return features @ weights + intercept
    with (
        config_context(assume_finite=True, skip_parameter_validation=True),
        few_openmp_threads(len(features)),
    ):
        if hasattr(ranker, "decision_function"):
            return np.asarray(ranker.decision_function(features), dtype=np.float64)
        return np.asarray(ranker.predict_proba(features), dtype=np.float64)[:, 1]


def linear_terms(ranker: Any) -> tuple[np.ndarray, float] | None:
    """Return the weights and the intercept of scaled features and a logistic regression."""
    if type(ranker) is not Pipeline or [type(step) for step in ranker] != [
        StandardScaler,
        LogisticRegression,
    ]:
        return None
    scaler, model = ranker
    scale = np.ones(model.n_features_in_) if scaler.scale_ is None else scaler.scale_
    mean = np.zeros(model.n_features_in_) if scaler.mean_ is None else scaler.mean_
    weights = model.coef_[0] / scale
    return weights, float(model.intercept_[0] - mean @ weights)


def cross_validated(
    table: TrainingTable,
    people: np.ndarray,
    rankers: dict[str, Any],
    random_state: np.random.RandomState,
) -> dict[str, float]:
    """Return the mean NDCG@10 of each second stage, fitted on some people and tested on others.

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
