"""Item vectors that are kept between fits."""

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    DecayCurveDisplay,
    Histories,
    ItemFeatures,
    MixedUserEncoder,
    RecallAtK,
    leave_last_out,
)
from skue.histories._fingerprints import content_hash

RNG = np.random.default_rng(0)
LISTS = [[f"i{item}" for item in RNG.integers(15, size=6)] for _ in range(60)]
USERS = [f"u{row}" for row in range(60)]
TIMES = [np.datetime64("2026-01-01") + np.arange(6) for _ in LISTS]
LOG = Histories.from_lists(LISTS, timestamps=TIMES, user_ids=USERS)
X, Y = leave_last_out(LOG)


@pytest.fixture
def fits(monkeypatch):
    """How many rows each fit of item vectors had."""
    counted, fit = [], CooccurrenceItemEmbedder.fit

    def counting_fit(embedder, X, y=None):
        counted.append(len(X))
        return fit(embedder, X, y)

    monkeypatch.setattr(CooccurrenceItemEmbedder, "fit", counting_fit)
    return counted


@pytest.mark.parametrize("as_memory", [Path, lambda path: joblib.Memory(path, verbose=0)])
def test_a_search_over_the_decay_learns_the_items_once_a_split(tmp_path, fits, as_memory):
    grid = {"encode__decay": [0.0, 0.5]}

    def search(memory):
        encoder = DecayAverageUserEncoder(memory=memory)
        pipeline = Pipeline([("encode", encoder)])
        return GridSearchCV(pipeline, grid, scoring=RecallAtK(3), cv=3).fit(X, Y)

    kept = search(as_memory(tmp_path))
    assert fits == [40, 40, 40, 60]
    again = search(as_memory(tmp_path))
    assert len(fits) == 4
    anew = search(None)
    assert len(fits) == 4 + 2 * 3 + 1
    scores = anew.cv_results_["mean_test_score"]
    assert kept.cv_results_["mean_test_score"].tolist() == scores.tolist()
    ids = {each.best_estimator_["encode"].encoder_id_ for each in (kept, again, anew)}
    assert len(ids) == 1


@pytest.mark.parametrize("encoder", [DecayAverageUserEncoder(), MixedUserEncoder()])
def test_kept_items_are_those_of_a_fit(tmp_path, encoder):
    fitted = clone(encoder).fit(X)
    encoder = clone(encoder).set_params(memory=tmp_path)
    for each in (clone(encoder).fit(X), pickle.loads(pickle.dumps(encoder)).fit(X)):
        ours, theirs = each.item_embeddings_, fitted.item_embeddings_
        assert ours.vectors.tobytes() == theirs.vectors.tobytes()
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert ours.space_id == theirs.space_id
        assert each.encoder_id_ == fitted.encoder_id_
        assert not ours.vectors.flags.writeable
        # What tells later that the vectors know an event.
        np.testing.assert_array_equal(ours._learned_events, theirs._learned_events)


FEATURES = ItemFeatures(sp.csr_array(np.eye(15)), [f"i{item}" for item in range(15)])


@pytest.mark.parametrize(
    "other",
    [
        CooccurrenceItemEmbedder(n_dims=5),
        CooccurrenceItemEmbedder(item_features=FEATURES),
    ],
    ids=str,
)
def test_another_embedder_learns_anew(tmp_path, fits, other):
    for embedder in (None, other, CooccurrenceItemEmbedder(), other):
        encoder = DecayAverageUserEncoder(embedder, memory=tmp_path).fit(X)
    assert len(fits) == 2
    learned = clone(other).fit(X).item_embeddings_
    assert encoder.item_embeddings_.catalog_id == learned.catalog_id


def changed(**columns):
    given = {"timestamps": TIMES, "user_ids": USERS, "lists": LISTS, **columns}
    return Histories.from_lists(given.pop("lists"), **given)


@pytest.mark.parametrize(
    "other",
    [
        changed(lists=[[*row[:-1], "i0" if row[-1] != "i0" else "i1"] for row in LISTS]),
        changed(lists=[[f"x{item}" for item in row] for row in LISTS]),
        changed(timestamps=None),
        changed(timestamps=[times + 1 for times in TIMES]),
        changed(weights=[[1.0] * 5 + [-1.0] for _ in LISTS]),
        changed(user_ids=None),
        changed(user_ids=list(range(60))),
        LOG[:59],
        LOG[::-1],
        LOG._keep_events(np.arange(360) % 6 != 5),
    ],
    ids=["an item", "ids", "no times", "times", "weights", "no users", "users", "fewer", "order",
         "events"],
)  # fmt: skip
def test_histories_that_differ_have_another_hash(other):
    assert content_hash(other) != content_hash(LOG)


def test_histories_that_are_equal_have_the_same_hash(tmp_path):
    LOG.save(tmp_path / "log")
    rows = np.arange(10, 30)
    assert content_hash(Histories.load(tmp_path / "log", mmap=True)) == content_hash(LOG)
    assert content_hash(pickle.loads(pickle.dumps(LOG))) == content_hash(LOG)
    assert content_hash(LOG[rows]) == content_hash(LOG[10:30]) != content_hash(LOG)


def test_text_ids_that_join_to_the_same_text_have_another_hash():
    first, second = (
        Histories.from_lists([ids, ids]) for ids in (["ab", "c", "d"], ["a", "bc", "d"])
    )
    assert content_hash(first) != content_hash(second)


def test_given_vectors_are_not_kept(tmp_path):
    items = CooccurrenceItemEmbedder().fit(X).item_embeddings_
    DecayAverageUserEncoder(items, memory=tmp_path).fit(X)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("estimator", "param_name"),
    [
        (DecayAverageUserEncoder(), "decay"),
        (Pipeline([("encode", DecayAverageUserEncoder())]), "encode__decay"),
    ],
    ids=["average", "pipeline"],
)
def test_a_curve_over_the_decay_learns_the_items_once_a_split(fits, estimator, param_name):
    pytest.importorskip("matplotlib").use("agg")
    decays = (0.0, 1.0)
    settings = {"decays": decays, "param_name": param_name, "cv": 3, "scoring": RecallAtK(3)}
    display = DecayCurveDisplay.from_estimator(estimator, X, Y, **settings)
    assert fits == [40, 40, 40]
    name = param_name.replace("decay", "memory")
    assert estimator.get_params()[name] is None  # the given one is not changed
    for decay, scores in zip(decays, display.scores, strict=True):
        anew = clone(estimator).set_params(**{param_name: decay})
        for fold, score in enumerate(scores):
            test = np.arange(20 * fold, 20 * fold + 20)
            train = np.setdiff1d(np.arange(60), test)
            assert RecallAtK(3)(anew.fit(X[train], Y[train]), X[test], Y[test]) == score


def test_a_curve_uses_the_given_memory(tmp_path, fits):
    pytest.importorskip("matplotlib").use("agg")
    encoder = DecayAverageUserEncoder(memory=tmp_path)
    for _ in range(2):
        DecayCurveDisplay.from_estimator(encoder, X, Y, decays=(0.0, 1.0), cv=3)
    assert len(fits) == 3
