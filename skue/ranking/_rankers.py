"""The classifiers that rank candidates, and their decisions without the checks of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from skue.kernels._threads import few_openmp_threads

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
