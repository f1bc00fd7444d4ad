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


def table_of(boosted_more):
    """NDCG of 100 queries, where the boosted ranker is above the additive one by this much."""
    additive = np.tile([0.0, 1.0], 50)
    noise = np.tile([0.1, -0.1, -0.1, 0.1], 25)
    return {
        "encoder": np.full(100, 0.3),
        "additive": additive,
        "boosted": additive + noise + boosted_more,
    }


@pytest.mark.parametrize(
    "more, chosen", [(-0.1, "additive"), (0.009, "additive"), (0.011, "boosted")]
)
def test_the_boosted_ranker_has_to_be_better_by_more_than_a_standard_error(more, chosen):
    # The standard deviation of the difference is 0.1, so its standard error is 0.1 / 10.
    assert chosen_stage(table_of(more)) == chosen


def test_the_encoder_ranks_alone_if_it_is_not_worse_than_the_chosen_ranker():
    equal = table_of(0.0) | {"encoder": np.full(100, 0.5)}
    assert chosen_stage(equal) == "encoder"
    assert chosen_stage({"encoder": np.zeros(0)}) == "encoder"
