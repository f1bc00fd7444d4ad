"""Choice of the second stage by cross-validation over people."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skue.kernels._ties import ideal_dcg
from skue.ranking._features import ranks_of_user

_K = 10
_N_FOLDS = 3


class TrainingTable(NamedTuple):
    """Candidates of people whose newest instant is held out.

    Attributes
    ----------
    users : ndarray of shape (n_candidates,)
        Sorted.
    features : ndarray of shape (n_candidates, n_features)
    cosine : ndarray of shape (n_candidates,)
    chosen : ndarray of shape (n_candidates,), bool
        Whether the item is held out.
    n_held_out : ndarray of shape (n_users,)
        Number of distinct held-out items of each user, candidates or not.
    """

    users: np.ndarray
    features: np.ndarray
    cosine: np.ndarray
    chosen: np.ndarray
    n_held_out: np.ndarray

    def has_both_classes(self) -> bool:
        return bool(self.chosen.any() and not self.chosen.all())

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """Return the NDCG@10 of each user if the candidates are ranked by these scores."""
        ranks = ranks_of_user(self.users, scores)
        gain = np.where(self.chosen & (ranks < _K), 1 / np.log2(ranks + 2), 0.0)
        n_users = len(self.n_held_out)
        return np.bincount(self.users, gain, n_users) / ideal_dcg(self.n_held_out, _K)


def default_rankers(random_state: Any) -> dict[str, Any]:
    """Return the classifiers to choose from."""
    return {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=200)),
        "boosted": HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=150,
            max_leaf_nodes=15,
            min_samples_leaf=50,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=random_state,
        ),
    }


def ranker_scores(ranker: Any, features: np.ndarray) -> np.ndarray:
    """Return the decision of a classifier that an item is chosen, as one number per candidate."""
    if hasattr(ranker, "decision_function"):
        return np.asarray(ranker.decision_function(features), dtype=np.float64)
    return np.asarray(ranker.predict_proba(features), dtype=np.float64)[:, 1]


def cross_validated(
    table: TrainingTable, rankers: dict[str, Any], random_state: np.random.RandomState
) -> dict[str, np.ndarray]:
    """Return the NDCG@10 of each person by second stage, each fitted on other people.

    ``"encoder"`` ranks the candidates by their cosine.
    """
    n_users = len(table.n_held_out)
    folds = random_state.permutation(n_users) % _N_FOLDS
    scores = {"encoder": table.ndcg(table.cosine)}
    for name, ranker in rankers.items():
        predicted = np.zeros(len(table.users))
        for fold in range(_N_FOLDS):
            inside = folds[table.users] == fold
            if inside.all() or not inside.any() or len(np.unique(table.chosen[~inside])) < 2:
                predicted[inside] = table.cosine[inside]
                continue
            fitted = clone(ranker).fit(table.features[~inside], table.chosen[~inside])
            predicted[inside] = ranker_scores(fitted, table.features[inside])
        scores[name] = table.ndcg(predicted)
    return scores
