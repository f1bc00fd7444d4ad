"""Searches and pipelines around the encoders."""

import os
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
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
    expected = search().fit(X, Y)
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


class PrivateMemory(TransformerMixin, BaseEstimator):
    """Passes histories on, and notes the memory that its process does not share."""

    def __init__(self, folder=None):
        self.folder = folder

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        # "Anonymous" leaves out mapped files, which the kernel calls private
        # as long as one process alone has them open.
        with open("/proc/self/smaps_rollup") as file:
            lines = {line.split(":")[0]: line.split() for line in file}
        with open(os.path.join(self.folder, str(os.getpid())), "a") as file:
            file.write(f"{lines['Anonymous'][1]}\n")
        return X


def private_memory_of_a_search(items, folder):
    """The most memory, in kB, that a worker of a search over ``items`` shares with no other."""
    folder.mkdir()
    pipeline = Pipeline(
        [("note", PrivateMemory(str(folder))), ("encode", DecayAverageUserEncoder(items))]
    )
    rng = np.random.default_rng(0)
    histories = Histories(rng.integers(1000, size=80), np.arange(0, 81, 4), np.arange(1000))
    targets = rng.integers(1000, size=20)
    GridSearchCV(
        pipeline, {"encode__decay": [0.0, 0.5]}, scoring=RecallAtK(20), cv=2, n_jobs=2, refit=False
    ).fit(histories, targets)
    return max(int(line) for path in folder.iterdir() for line in path.read_text().split())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_search_does_not_copy_a_million_items_to_its_workers(tmp_path):
    rng = np.random.default_rng(0)
    few = ItemEmbeddings(rng.standard_normal((1_000, 64), dtype=np.float32))
    many = ItemEmbeddings(rng.standard_normal((1_000_000, 64), dtype=np.float32))
    assert clone(DecayAverageUserEncoder(many)).item_embeddings is many
    with_few = private_memory_of_a_search(few, tmp_path / "few")
    with_many = private_memory_of_a_search(many, tmp_path / "many")
    # A copy of the vectors would be 250 MB by itself.
    assert with_many - with_few < 125_000


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


def test_a_parameter_that_does_not_exist_is_refused_by_scikit_learn():
    for name in ("fit__x", "no__x", "no"):
        with pytest.raises(ValueError, match="Invalid parameter"):
            DecayAverageUserEncoder().set_params(**{name: 1})
