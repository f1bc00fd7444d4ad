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

ESTIMATORS = [
    CooccurrenceItemEmbedder(),
    HistoryStatistics(),
    DecayAverageUserEncoder(),
    MixedUserEncoder(),
    ProfileUserEncoder(),
    TwoTowerUserEncoder(max_iter=2),
    PopularityRanker(),
    OwnFrequencyRanker(),
    SimilarUsersRanker(),
    TransitionItemRanker(),
    TwoStageRecommender(DecayAverageUserEncoder()),
    TwoStageRecommender(TwoTowerUserEncoder(max_iter=2), LogisticRegression()),
]


@pytest.mark.filterwarnings("ignore:No two items appear together")
@pytest.mark.filterwarnings("ignore:.*too few. the encoder is a plain average")
@pytest.mark.filterwarnings("ignore:No newest instant could be held out")
@pytest.mark.filterwarnings("ignore:X has no timestamps.*so these columns are left out")
@parametrize_with_checks(ESTIMATORS)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "n_checks"),
    zip(ESTIMATORS, [41, 46, 46, 46, 46, 46, 41, 41, 41, 41, 46, 46], strict=True),
    ids=lambda value: type(value).__name__,
)
def test_the_checks_are_not_quietly_fewer(estimator, n_checks):
    assert len(list(estimator_checks_generator(estimator, legacy=True))) >= n_checks
