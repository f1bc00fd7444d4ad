"""Searches and pipelines around the encoders."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    MixedUserEncoder,
    RecallAtK,
    RetrievalScores,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    leave_last_out,
    temporal_folds,
)
from skue.datasets import make_user_histories

DATA = make_user_histories(n_users=90, n_events=8, n_items=60, n_dims=6)
X, Y = leave_last_out(DATA.histories)
LISTS = [row.tolist() for row in X]
GRID = {"encode__decay": [0.0, 0.2, 1.0]}


def search(last=(), scoring=None, cv=3, grid=GRID):
    steps = [("encode", DecayAverageUserEncoder(DATA.item_embeddings)), *last]
    return GridSearchCV(Pipeline(steps), grid, scoring=scoring or RecallAtK(20), cv=cv)


def test_a_search_over_decay_takes_every_form():
    expected = search().set_params(n_jobs=2).fit(X, Y)
    for form in (LISTS, np.array(LISTS)):
        found = search().fit(form, Y)
        assert found.best_params_ == expected.best_params_
        np.testing.assert_allclose(
            found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
        )


def test_a_search_scores_each_fold_like_a_loop_written_by_hand():
    found = search(cv=[(np.arange(45), np.arange(45, 90))]).fit(X, Y)
    encoder = DecayAverageUserEncoder(DATA.item_embeddings, decay=0.2).fit(X[:45])
    by_hand = RecallAtK(20)(encoder, X[45:], Y[45:])
    assert found.cv_results_["mean_test_score"][1] == pytest.approx(by_hand)


def test_a_search_goes_through_the_column_of_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"history": LISTS, "age": 1})
    columns = ColumnTransformer([("h", DecayAverageUserEncoder(DATA.item_embeddings), "history")])
    found = GridSearchCV(columns, {"h__decay": GRID["encode__decay"]}, scoring=RecallAtK(20), cv=3)
    expected = search().fit(X, Y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(found.fit(frame, Y).cv_results_["mean_test_score"], expected)


def test_a_search_cross_validates_in_time():
    times = [[float(t) for t in range(user % 5, user % 5 + 8)] for user in range(90)]
    timed = Histories.from_lists([row.tolist() for row in DATA.histories], timestamps=times)
    rows, targets, cv = temporal_folds(timed, 2)
    found = search(cv=cv).fit(rows, targets)
    assert found.n_splits_ == 2
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_cross_validation_takes_several_scores():
    pipeline = Pipeline([("encode", DecayAverageUserEncoder(DATA.item_embeddings))])
    scores = cross_validate(pipeline, X, Y, scoring=RetrievalScores(k=(5, 20)), cv=3)
    assert {"test_recall@5", "test_ndcg@20", "test_mrr"} <= set(scores)


@pytest.mark.parametrize(
    ("estimator", "name", "way_out"),
    [
        (MixedUserEncoder(), "item_embeddings__window", "CooccurrenceItemEmbedder()"),
        (TwoTowerUserEncoder(), "item_features__x", "an object with parameters"),
        (TwoStageRecommender(), "ranker__max_iter", "HistGradientBoostingClassifier()"),
        (TwoStageRecommender(DecayAverageUserEncoder()), "encoder__item_embeddings__n_dims", "Coo"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_parameter_of_an_estimator_that_is_none_is_refused_with_the_way_out(
    estimator, name, way_out
):
    outer = name.split("__")[-2]
    message = rf"has no parameter '{outer}__\w+', because {outer} is None. Set {outer}={way_out}"
    with pytest.raises(ValueError, match=message.replace("()", r"\(\)")):
        estimator.set_params(**{name: 32})


@pytest.mark.parametrize(
    ("items", "held"),
    [(DATA.item_embeddings, "ItemEmbeddings"), (np.eye(60), "ndarray")],
)
def test_a_parameter_of_given_vectors_is_refused(items, held):
    with pytest.raises(
        ValueError, match=f"item_embeddings is of type {held}. Set item_embeddings="
    ):
        DecayAverageUserEncoder(items).set_params(item_embeddings__n_dims=8)


def test_an_embedder_can_be_set_together_with_its_parameters():
    encoder = DecayAverageUserEncoder().set_params(
        item_embeddings__n_dims=8, item_embeddings=CooccurrenceItemEmbedder()
    )
    assert encoder.item_embeddings.n_dims == 8
    found = GridSearchCV(encoder, {"item_embeddings__n_dims": [2, 16]}, scoring=RecallAtK(5), cv=2)
    assert found.fit(X, Y).best_params_.keys() == {"item_embeddings__n_dims"}


def test_a_search_copies_no_items():
    assert (
        clone(DecayAverageUserEncoder(DATA.item_embeddings)).item_embeddings is DATA.item_embeddings
    )
