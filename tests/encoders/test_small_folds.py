"""Small folds of a cross-validation may hold nothing to learn from: no event, no pair, no item."""

import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, learning_curve
from sklearn.pipeline import make_pipeline

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    HistoryStatistics,
    ItemEmbeddings,
    ItemFeatures,
    ProfileUserEncoder,
    RecallAtK,
    RetrievalScores,
)

FEATURES = ItemFeatures(np.eye(3), [1, 2, 3])
LEARNING = [
    (DecayAverageUserEncoder(), 128),
    (DecayAverageUserEncoder(CooccurrenceItemEmbedder(n_dims=9, item_features=FEATURES)), 9),
    (ProfileUserEncoder(n_dims=7, item_features=FEATURES), 7),
]
every_learning_encoder = pytest.mark.parametrize(
    ("encoder", "n_dims"), LEARNING, ids=[f"{type(e).__name__}-{n}" for e, n in LEARNING]
)
STATISTICS = ["n_events", "days_since_last", "monday_share"]
LABELS = np.arange(60) % 2
# Most people have no event, as in a table of customers of whom few have ever bought.
PEOPLE = [[1, 2] if row >= 56 else [] for row in range(60)]


@every_learning_encoder
@pytest.mark.parametrize(
    "X",
    [[[], []], Histories.from_lists([[1, 2], [2]], weights=[[-1, -1], [0]])],
    ids=["no event", "dislikes"],
)
def test_without_events_the_columns_are_constant_with_a_warning(encoder, n_dims, X):
    with pytest.warns(UserWarning, match=r"X holds .*every user gets the same vector") as told:
        fitted = clone(encoder).fit(X)
    assert len(told) == 1
    assert len(fitted.item_embeddings_) == 0
    new = Histories.from_lists([[1, 2], [], [3]], weights=[[1, 1], [], [1]])
    vectors = fitted.transform(new)
    assert vectors.shape == (3, n_dims)
    assert len(fitted.get_feature_names_out()) == n_dims
    np.testing.assert_array_equal(vectors, [fitted.fallback_vector_] * 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    assert fitted.coverage(new).status.tolist() == ["unknown", "empty", "unknown"]


@every_learning_encoder
def test_an_encoder_of_nothing_works_like_any_other(encoder, n_dims, tmp_path):
    with pytest.warns(UserWarning, match="X holds no event"):
        fitted = clone(encoder).fit([[], []])
    joblib.dump(fitted, tmp_path / "encoder.joblib")
    again = joblib.load(tmp_path / "encoder.joblib")
    assert again.encoder_id_ == fitted.encoder_id_
    ids, scores = again.recommend([[1], []], k=2)
    assert ids.shape == (2, 2)
    assert np.isneginf(scores).all()
    scores = RetrievalScores(k=(5,), breakdown=True)(again, [[1], []], [1, 2])
    assert (scores["recall@5"], scores["unknown_share"]) == (0, 1)
    with pytest.warns(UserWarning, match="unknown|not in"):
        again.set_params(unknown_item="warn").transform([["tea"]])


@pytest.mark.parametrize("cold_start", ["mean", "popular", "zero", "raise"])
def test_every_cold_start_can_be_fitted_without_events(cold_start):
    with pytest.warns(UserWarning, match="X holds no event"):
        fitted = DecayAverageUserEncoder(cold_start=cold_start).fit([[]])
    if cold_start == "raise":
        with pytest.raises(ValueError, match="no known event"):
            fitted.transform([[1]])
    else:
        assert np.linalg.norm(fitted.transform([[1]])) == (cold_start != "zero")


@pytest.mark.parametrize("cold_start", ["mean", "popular", "raise"])
def test_given_items_of_which_a_fold_has_none_are_still_good_for_others(cold_start):
    items = ItemEmbeddings(np.eye(3))
    with pytest.warns(UserWarning, match=r"cold_start='\w+' cannot be learned.*first item"):
        fitted = DecayAverageUserEncoder(items, cold_start=cold_start).fit([[7], [8]])
    np.testing.assert_array_equal(fitted.fallback_vector_, items.vectors[0])
    np.testing.assert_array_equal(fitted.transform([[2]]), items.vectors[2:])


def test_many_events_of_unknown_items_are_still_refused():
    encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(3)))
    with pytest.raises(ValueError, match="None of the 30 events in X has a known item"):
        encoder.fit([[7] * 30])


def frame_of(people):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"age": np.arange(60.0), "movies": people})


def table(encoder):
    return ColumnTransformer([("age", "passthrough", ["age"]), ("h", encoder, ["movies"])])


def test_learning_curves_and_calibration_come_through_small_folds():
    encoder = ProfileUserEncoder(n_dims=4)
    frame = frame_of(PEOPLE)
    model = make_pipeline(table(encoder), LogisticRegression(max_iter=1000))
    with pytest.warns(UserWarning, match="X holds no event"):
        _, _, scores = learning_curve(model, frame, LABELS, cv=3, train_sizes=[4, 10, 40])
    assert np.isfinite(scores).all()
    with pytest.warns(UserWarning, match="X holds no event"):
        calibrated = CalibratedClassifierCV(model, cv=3).fit(frame, LABELS)
    assert np.isfinite(calibrated.predict_proba(frame)).all()


def test_a_search_comes_through_folds_without_a_pair():
    X, y = [[row % 5] for row in range(12)], [row % 5 for row in range(12)]
    search = GridSearchCV(DecayAverageUserEncoder(), {"decay": [0, 1]}, scoring=RecallAtK(1), cv=4)
    with pytest.warns(UserWarning, match="No two items appear together"):
        search.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("now", [None, "2026-02-01"])
def test_statistics_without_an_event_to_learn_from_are_finite(now):
    empty = Histories.from_lists([[], []], timestamps=np.empty((2, 0), dtype="datetime64[us]"))
    with pytest.warns(UserWarning, match="X has no event, so the length of the log is unknown"):
        statistics = HistoryStatistics(now, columns=STATISTICS).fit(empty)
    assert statistics.transform(empty).tolist() == [[0] * 3] * 2
    later = Histories.from_lists([[1, 2], []], timestamps=[["2026-01-02", "2026-01-12"], []])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [2, 20, 1 / 2] if now else [2, 0, 0]
        assert statistics.transform(later).tolist() == [expected, [0] * 3]


@pytest.mark.parametrize("now", [None, "2026-03-01"])
def test_list_columns_of_a_fold_without_events_say_that_there_are_times(now):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"movies": [[], [1]], "when": [[], ["2026-02-01"]]})
    with pytest.warns(UserWarning, match="X has no event"):
        statistics = HistoryStatistics(now, columns=STATISTICS).fit(frame[:1])
    assert statistics.transform(frame)[:, :2].tolist() == [[0, 0], [1, 28 if now else 0]]
