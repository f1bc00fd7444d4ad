"""The classifiers of the second stage: defaults, scores, and the shares of the features."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

from skue.kernels._threads import few_openmp_threads

_BLOCK = 2**17
_SCALERS = MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler


def default_rankers(random_state: np.random.RandomState) -> dict[str, Any]:
    """Return the classifiers to choose from.

    All are strongly regularised, because often only some hundred held-out items are learned from.
    ``"additive"`` adds up a smooth function of each feature. It is constant outside the range of
    the feature in training. ``"voting"`` is the mean of its probabilities and those of boosted
    trees, which err differently.
    """
    additive = make_pipeline(
        SplineTransformer(n_knots=4, degree=2, extrapolation="constant"),
        StandardScaler(copy=False),
        LogisticRegression(C=0.003, max_iter=300),
    )
    boosted = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=200,
        max_leaf_nodes=7,
        min_samples_leaf=200,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=random_state.randint(2**31 - 1),
    )
    both = [("additive", additive), ("boosted", boosted)]
    return {"additive": additive, "voting": VotingClassifier(both, voting="soft")}


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
    parts = []
    with config_context(assume_finite=True, skip_parameter_validation=True):
        # Splines of a feature need many times its memory.
        for start in range(0, max(len(features), 1), _BLOCK):
            block = features[start : start + _BLOCK]
            with few_openmp_threads(len(block)):
                if hasattr(ranker, "decision_function"):
                    parts.append(ranker.decision_function(block))
                else:
                    parts.append(ranker.predict_proba(block)[:, 1])
    return np.concatenate(parts).astype(np.float64, copy=False)


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
