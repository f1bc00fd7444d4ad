"""skops files of every estimator: saved without pickle, loaded with the documented types."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    HistoryStatistics,
    ItemEmbeddings,
    ItemFeatures,
    MixedUserEncoder,
    OwnFrequencyRanker,
    PopularityRanker,
    ProfileUserEncoder,
    SimilarUsersRanker,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
)

skops = pytest.importorskip("skops.io")

PAGE = Path(__file__).parents[2] / "docs/user_guide/serving.md"
RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(20, 8)))
FEATURES = ItemFeatures(np.eye(4)[np.arange(22) % 4], np.arange(22))
LOG = Histories.from_lists(
    [RNG.integers(20, size=6).tolist() for _ in range(80)],
    timestamps=[[86400.0 * event for event in range(6)]] * 80,
    user_ids=[f"u{user}" for user in range(80)],
)
WITH_FEATURES = LOG.with_user_features(np.eye(3)[np.arange(80) % 3])
AVERAGE = DecayAverageUserEncoder(ITEMS)
BOOSTED = HistGradientBoostingClassifier(max_iter=5)
ADDITIVE = make_pipeline(SplineTransformer(n_knots=3), LogisticRegression())


@pytest.fixture(scope="module")
def trusted():
    """Return the types that the page on serving lists."""
    lists = PAGE.read_text(encoding="utf-8").split("```text\n")[1:]
    return next(text.split("```")[0].split() for text in lists if "skue.encoders" in text)


def saved_and_loaded(estimator, trusted):
    data = skops.dumps(estimator)
    needed = set(skops.get_untrusted_types(data=data))
    return skops.loads(data, trusted=sorted(needed & set(trusted)))


@pytest.mark.parametrize(
    ("estimator", "log"),
    [
        (AVERAGE, LOG),
        (MixedUserEncoder(CooccurrenceItemEmbedder()), LOG),
        (ProfileUserEncoder(n_dims=4, item_features=FEATURES), LOG),
        (
            TwoTowerUserEncoder(
                CooccurrenceItemEmbedder(n_dims=4), max_iter=1, item_features=FEATURES
            ),
            LOG,
        ),
        (TwoTowerUserEncoder(ITEMS, max_iter=1, random_state=0), WITH_FEATURES),
        (PopularityRanker(), LOG),
        (OwnFrequencyRanker(), LOG),
        (SimilarUsersRanker(), LOG),
        (TransitionItemRanker(), LOG),
        (TwoStageRecommender(AVERAGE, BOOSTED, random_state=0), LOG),
        (TwoStageRecommender(AVERAGE, ADDITIVE, random_state=0), LOG),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_skops_file_gives_the_same_recommendations(estimator, log, trusted):
    loaded = saved_and_loaded(estimator.fit(log), trusted)
    for found, expected in zip(loaded.recommend(log, 5), estimator.recommend(log, 5), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_skops_file_of_an_embedder_gives_the_same_items(trusted):
    embedder = CooccurrenceItemEmbedder().fit(LOG)
    loaded = saved_and_loaded(embedder, trusted)
    assert loaded.item_embeddings_.catalog_id == embedder.item_embeddings_.catalog_id


def test_a_skops_file_of_statistics_gives_the_same_numbers(trusted):
    statistics = HistoryStatistics(columns=["n_events", "days_since_last"]).fit(LOG)
    loaded = saved_and_loaded(statistics, trusted)
    np.testing.assert_array_equal(loaded.transform(LOG), statistics.transform(LOG))
