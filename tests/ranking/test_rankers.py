"""The classifiers of the second stage, and the choice among them."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skue.ranking._features import FEATURES
from skue.ranking._rankers import default_rankers, fitted_ranker, ranker_scores
from skue.ranking._training import chosen_stage

LINEAR = make_pipeline(StandardScaler(), LogisticRegression())
RANKERS = default_rankers(np.random.RandomState(0)) | {"linear": LINEAR}


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
    return fitted_ranker(ranker, features.astype(np.float32), chosen)


def test_the_additive_ranker_is_constant_outside_the_range_of_training():
    ranker = fitted(clone(RANKERS["additive"]))
    largest = features_of(2000, seed=0).astype(np.float32).max(axis=0)[None].astype(float)
    inside, outside = ranker_scores(ranker, np.vstack([largest, largest + 1e12]))
    assert outside == pytest.approx(inside, rel=1e-12)


def test_the_additive_ranker_finds_a_curve_that_a_linear_one_cannot():
    features = features_of(500, seed=1)
    chosen = features[:, 0] ** 2 + features[:, 4] > 2
    accuracy = {}
    for name in ("linear", "additive"):
        ranker = fitted(clone(RANKERS[name]))
        scores = ranker_scores(ranker, features)
        accuracy[name] = np.mean(scores[chosen][:, None] > scores[~chosen])
    assert accuracy["additive"] > 0.95 > 0.8 > accuracy["linear"]


@pytest.mark.parametrize("best", ["encoder", "additive", "voting"])
def test_the_second_stage_with_the_highest_ndcg_is_chosen(best):
    ndcg = {name: np.array([0.2, 0.4]) for name in ("encoder", "additive", "voting")}
    assert chosen_stage(ndcg | {best: np.array([0.1, 0.6])}) == best


def test_the_vote_is_the_mean_of_both_probabilities():
    features = features_of(500, seed=1)
    voting = fitted(default_rankers(np.random.RandomState(0))["voting"])
    both = [one.predict_proba(features)[:, 1] for one in voting.named_estimators_.values()]
    np.testing.assert_allclose(ranker_scores(voting, features), np.mean(both, axis=0))


def test_the_encoder_ranks_alone_if_no_ranker_is_better():
    equal = {name: np.full(100, 0.5) for name in ("encoder", "additive", "voting")}
    assert chosen_stage(equal) == "encoder"
    assert chosen_stage({"encoder": np.zeros(0)}) == "encoder"
