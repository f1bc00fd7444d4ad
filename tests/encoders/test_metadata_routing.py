"""With metadata routing enabled, everything gives the same."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline, make_union

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    HistoryStatistics,
    ProfileUserEncoder,
    RecallAtK,
    TwoStageRecommender,
    leave_last_out,
)
from skue.datasets import make_user_histories

DATA = make_user_histories(n_users=60, n_events=6, n_items=20, n_dims=4)
X, Y = leave_last_out(DATA.histories)
LABELS = np.arange(len(X)) % 2
ITEMS = DATA.item_embeddings


def same_with_routing(compute):
    """Return what is computed with routing, after a look that it is the same without."""
    expected = compute()
    with config_context(enable_metadata_routing=True):
        found = compute()
    np.testing.assert_array_equal(found, expected)
    return found


@pytest.mark.parametrize(
    "encoder",
    [
        DecayAverageUserEncoder(CooccurrenceItemEmbedder(n_dims=4)),
        TwoStageRecommender(DecayAverageUserEncoder(ITEMS), LogisticRegression(), random_state=0),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_every_encoder_gives_the_same_vectors(encoder):
    assert np.isfinite(same_with_routing(lambda: clone(encoder).fit_transform(X, Y))).all()


def test_pipelines_and_unions_score_the_same():
    union = make_union(HistoryStatistics(columns=["n_events"]), ProfileUserEncoder(n_dims=3))
    model = make_pipeline(union, LogisticRegression())
    same_with_routing(lambda: cross_validate(model, X, LABELS, cv=3)["test_score"])
    same_with_routing(lambda: CalibratedClassifierCV(model, cv=2).fit(X, LABELS).predict_proba(X))
    steps = make_pipeline(DecayAverageUserEncoder(ITEMS), "passthrough")
    same_with_routing(lambda: RecallAtK(5)(steps.fit(X), X, Y))


def test_groups_and_weights_reach_the_steps_that_ask_for_them():
    params = {"groups": np.arange(len(X)) // 2, "sample_weight": np.ones(len(X))}
    with config_context(enable_metadata_routing=True):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        model = make_pipeline(ProfileUserEncoder(n_dims=3), last)
        scoring = get_scorer("accuracy").set_score_request(sample_weight=True)
        found = cross_validate(
            model, X, LABELS, scoring=scoring, cv=GroupKFold(3), params=params, error_score="raise"
        )
    assert np.isfinite(found["test_score"]).all()
