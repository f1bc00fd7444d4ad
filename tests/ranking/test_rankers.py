"""The default classifiers: their decisions are those of scikit-learn, for any features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from skue.ranking._features import FEATURES
from skue.ranking._rankers import default_rankers, fitted_ranker, ranker_scores

NAMES = list(default_rankers(np.random.RandomState(0)))


def features_of(n, seed):
    """Features with a constant column, one of zeros and ones, and one of large numbers."""
    features = np.random.default_rng(seed).normal(size=(n, len(FEATURES)))
    features[:, 3] = 2.5
    features[:, 4] = features[:, 4] > 0
    features[:, 5] *= 1e6
    return features


def fitted(ranker):
    features = features_of(2000, seed=0)
    chosen = features[:, 0] ** 2 + features[:, 4] > 2
    return fitted_ranker(ranker, features, chosen)


@pytest.mark.parametrize("name", NAMES)
def test_the_scores_of_a_default_ranker_are_its_decision_function(name):
    ranker = fitted(default_rankers(np.random.RandomState(0))[name])
    features = features_of(500, seed=1)
    features[0], features[1] = features_of(2000, seed=0).min(0), features_of(2000, seed=0).max(0)
    features[2, 3] = 7.0  # the column that was constant in training
    expected = ranker.decision_function(features)
    np.testing.assert_allclose(ranker_scores(ranker, features), expected, rtol=1e-9, atol=1e-9)


def test_the_additive_ranker_is_constant_outside_the_range_of_training():
    ranker = fitted(default_rankers(np.random.RandomState(0))["additive"])
    largest = features_of(2000, seed=0).max(axis=0)[None]
    inside, outside = ranker_scores(ranker, np.vstack([largest, largest + 1e12]))
    assert outside == pytest.approx(inside, rel=1e-12)


def test_the_additive_ranker_finds_a_curve_that_a_linear_one_cannot():
    features = features_of(500, seed=1)
    chosen = features[:, 0] ** 2 + features[:, 4] > 2
    accuracy = {}
    for name in ("linear", "additive"):
        ranker = fitted(default_rankers(np.random.RandomState(0))[name])
        scores = ranker_scores(ranker, features)
        accuracy[name] = np.mean(scores[chosen][:, None] > scores[~chosen])
    assert accuracy["additive"] > 0.95 > 0.8 > accuracy["linear"]


@pytest.mark.parametrize(
    "splines",
    [
        SplineTransformer(degree=3),
        SplineTransformer(n_knots=4, degree=2, extrapolation="linear"),
        SplineTransformer(n_knots=4, degree=2, extrapolation="constant", include_bias=False),
        SplineTransformer(n_knots=4, degree=2, extrapolation="constant", knots="quantile"),
    ],
)
def test_other_splines_of_a_given_ranker_score_as_scikit_learn_does(splines):
    ranker = fitted(make_pipeline(splines, StandardScaler(), LogisticRegression()))
    features = features_of(500, seed=1)
    np.testing.assert_array_equal(
        ranker_scores(ranker, features), ranker.decision_function(features)
    )
