"""scikit-learn's own checks over every estimator."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    HistoryStatistics,
    MixedUserEncoder,
    OwnFrequencyRanker,
    PopularityRanker,
    ProfileUserEncoder,
    SimilarUsersRanker,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
)

# Small ones: the checks fit each of them about a hundred times.
SMALL = CooccurrenceItemEmbedder(n_dims=3)
ESTIMATORS = [
    SMALL,
    HistoryStatistics(),
    DecayAverageUserEncoder(SMALL),
    MixedUserEncoder(SMALL),
    ProfileUserEncoder(n_dims=3),
    TwoTowerUserEncoder(SMALL, max_iter=1, hidden_layer_sizes=(4,), decays=(0.0, 1.0)),
    PopularityRanker(),
    OwnFrequencyRanker(),
    SimilarUsersRanker(),
    TransitionItemRanker(),
    TwoStageRecommender(DecayAverageUserEncoder(SMALL), LogisticRegression()),
]


@pytest.mark.filterwarnings("ignore:No two items appear together")
@pytest.mark.filterwarnings("ignore:.*too few. the encoder is a plain average")
@pytest.mark.filterwarnings("ignore:No newest instant could be held out")
@pytest.mark.filterwarnings("ignore:X has no timestamps.*so these columns are left out")
@parametrize_with_checks(ESTIMATORS)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def test_the_checks_are_not_quietly_fewer():
    fewest = [41, 46, 46, 46, 46, 46, 41, 41, 41, 41, 46]
    for estimator, n_checks in zip(ESTIMATORS, fewest, strict=True):
        assert len(list(estimator_checks_generator(estimator, legacy=True))) >= n_checks
