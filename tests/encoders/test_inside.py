"""Finding the encoder in whatever is built around it: metrics and index find the same one."""

import tempfile

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.fixes import parse_version

from skue import (
    DecayAverageUserEncoder,
    ItemEmbeddings,
    RecallAtK,
    export_index,
    open_index,
    recall_at_k,
)
from skue.encoders._pipelines import find_encoder

OLD = parse_version(sklearn.__version__) < parse_version("1.9")
RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(30, 4)), space_id="shop")
ENCODER = DecayAverageUserEncoder(ITEMS)
# Of a column that comes as a table of one column.
FROM_TABLE = make_pipeline(FunctionTransformer(np.ravel), ENCODER)
LISTS = [RNG.integers(30, size=5).tolist() for _ in range(24)]
HISTORIES = np.empty(24, dtype=object)
HISTORIES[:] = LISTS
TABLE = np.empty((24, 2), dtype=object)
TABLE[:, 0], TABLE[:, 1] = HISTORIES, RNG.random(24)
Y = RNG.integers(30, size=24)


def search(estimator):
    return GridSearchCV(estimator, {}, scoring=lambda *_: 0.0, cv=2)


def agree(estimator, X):
    """Metric and index find the same encoder and items in a fitted estimator."""
    with tempfile.TemporaryDirectory() as folder:
        export_index(estimator, folder)
        index = open_index(folder)
    expected = recall_at_k(np.asarray(estimator.transform(X)), index.items.vectors, Y, k=5)
    assert RecallAtK(5)(estimator, X, Y) == pytest.approx(expected)
    ids, _ = index.recommend(estimator, X, 5)
    by_hand = (ids == Y[:, None]).any(axis=1).mean()
    assert by_hand == pytest.approx(expected)
    return index


@pytest.mark.parametrize(
    "columns",
    [0, [0], slice(0, 1), np.array([True, False]), lambda X: [0]],
    ids=["scalar", "list", "slice", "mask", "callable"],
)
def test_a_column_can_be_selected_in_every_way(columns):
    transformer = ColumnTransformer([("h", FROM_TABLE, columns)]).fit(TABLE)
    index = agree(transformer, TABLE)
    np.testing.assert_allclose(index.items.vectors, ITEMS.vectors, atol=1e-6)
    assert index.space_id == "shop"


@pytest.mark.parametrize("columns", ["history", 0, ["history"]], ids=str)
def test_a_column_of_a_frame(columns):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"history": LISTS, "age": 1})
    if columns == ["history"]:  # The encoder reads frames by their columns' names.
        frame, columns = frame.rename(columns={"history": "items"}), ["items"]
    transformer = ColumnTransformer([("h", ENCODER, columns)]).fit(frame)
    agree(transformer, frame)
    agree(transformer, frame[frame.columns[::-1]])


@pytest.mark.parametrize("container", ["default", "pandas", "polars"])
def test_later_steps_get_the_container_and_feature_names_of_their_fit(container):
    if container != "default":
        library = pytest.importorskip(container)
        if container == "polars" and OLD and not hasattr(library.DataFrame, "__dataframe__"):
            pytest.skip("this scikit-learn takes only polars frames with __dataframe__")
    # A copy, because set_output reaches every step.
    columns = ColumnTransformer([("h", make_pipeline(clone(ENCODER), StandardScaler()), 0)])
    pipeline = make_pipeline(columns, PCA(3)).set_output(transform=container).fit(TABLE)
    agree(pipeline, TABLE)
    assert hasattr(pipeline[-1], "feature_names_in_") == (container != "default")


def test_weights_of_columns_reach_the_items_before_a_later_step():
    inner = [("h", ENCODER, 0)]
    weighted = ColumnTransformer(inner, transformer_weights={"h": 5.0})
    index = agree(make_pipeline(weighted, PCA(3)).fit(TABLE), TABLE)
    plain = make_pipeline(ColumnTransformer(inner), PCA(3)).fit(TABLE)
    assert index.space_id != find_encoder(plain).space_id


def test_steps_that_do_nothing_do_not_rename_the_space():
    pipeline = Pipeline([("a", None), ("e", ENCODER), ("b", "passthrough"), ("c", None)])
    assert agree(pipeline.fit(HISTORIES), HISTORIES).space_id == "shop"


def test_a_step_before_the_encoder_changes_the_histories():
    pipeline = make_pipeline(FunctionTransformer(without_last), ENCODER).fit(HISTORIES)
    agree(pipeline, HISTORIES)
    found = find_encoder(pipeline)
    assert found.histories(HISTORIES).tolist() == [items[:-1] for items in LISTS]


def without_last(X):
    shorter = np.empty(len(X), dtype=object)
    shorter[:] = [items[:-1] for items in X]
    return shorter


def test_dropped_columns_are_ignored():
    columns = ColumnTransformer(
        [("h", ENCODER, 0), ("none", StandardScaler(), []), ("age", "drop", [1])],
    ).fit(TABLE)
    agree(columns, TABLE)


@pytest.mark.parametrize(
    ("estimator", "X", "message"),
    [
        (PCA(2), np.eye(24), "PCA has no user encoder"),
        (make_pipeline(PCA(2)), np.eye(24), r"Pipeline has no .*its steps are \['pca'\]"),
        (
            ColumnTransformer([("h", ENCODER, 0), ("age", "passthrough", [1])]),
            TABLE,
            r"ColumnTransformer must have one user encoder as its only output; .* \['h', 'age'\]",
        ),
        (
            ColumnTransformer([("h", ENCODER, 0)], remainder="passthrough"),
            TABLE,
            r"outputs are \['h', 'remainder'\]",
        ),
        (
            make_pipeline(ENCODER, LogisticRegression()),
            HISTORIES,
            r"'logisticregression' \(LogisticRegression\) after the encoder has no transform",
        ),
    ],
)
def test_metric_and_index_reject_the_same_estimators(tmp_path, estimator, X, message):
    estimator = clone(estimator).fit(X, Y % 2)
    with pytest.raises(ValueError, match=message):
        RecallAtK(5)(estimator, X, Y)
    with pytest.raises(ValueError, match=message):
        export_index(estimator, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "estimator",
    [ENCODER, make_pipeline(ENCODER), search(ENCODER), ColumnTransformer([("h", ENCODER, 0)])],
    ids=["encoder", "pipeline", "search", "columns"],
)
def test_an_estimator_that_is_not_fitted_is_rejected(tmp_path, estimator):
    with pytest.raises(NotFittedError, match=r"not fitted yet|has no best_estimator_: fit it"):
        export_index(clone(estimator), tmp_path)


def test_a_later_step_that_cannot_be_pickled_raises_with_the_way_out(tmp_path):
    pipeline = make_pipeline(ENCODER, FunctionTransformer(lambda X: X)).fit(HISTORIES)
    with pytest.raises(ValueError, match=r"cannot be pickled.*functions of a module"):
        export_index(pipeline, tmp_path)
