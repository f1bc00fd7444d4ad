"""What X may be, which forms are refused, and their errors."""

import datetime

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.utils.fixes import parse_version

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    TransitionItemRanker,
    as_histories,
    leave_last_out,
)

pandas = pytest.importorskip("pandas")


@pytest.mark.parametrize(
    "columns",
    [
        {"user_id": [1, 1], "item_id": [2, 3]},
        {"who": ["a", "b"], "what": ["x", "y"]},
        {
            "who": [1, 2],
            "what": [2, 3],
            "when": [datetime.datetime(2026, 1, day) for day in (1, 2)],
        },
        {"who": [None, "b"], "what": [1, 2]},
    ],
    ids=["ids", "unusual names", "dates", "missing"],
)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_error_for_a_long_log_names_from_frame(columns, library):
    frame = pytest.importorskip(library).DataFrame(columns)
    with pytest.raises(ValueError, match=r"looks like a long log.*Histories\.from_frame"):
        as_histories(frame)


@pytest.mark.parametrize("dtype", [str, object])
def test_a_matrix_of_text_is_told_how_to_be_passed(dtype):
    encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2), ids=["a", "b"]))
    with pytest.raises(ValueError, match=r"Pass lists of strings instead: X\.tolist\(\)"):
        encoder.fit(np.array([["a", "b"]], dtype=dtype))


LOG = pandas.DataFrame(
    {"userId": [1, 1, 2, 2, 3], "movieId": [10, 12, 11, 12, 13], "rating": [5, 3, 4, 1, 2]}
)
PIVOT = LOG.pivot_table(index="userId", columns="movieId", values="rating")
COUNTS = PIVOT.fillna(0).to_numpy().astype(int)


def events(histories):
    """Return the items and weights of each user."""
    weights = np.ones(len(histories.codes)) if histories.weights is None else histories.weights
    bounds = histories.offsets[1:-1]
    items = np.split(histories.item_ids[histories.codes], bounds)
    return [
        dict(zip(own.tolist(), weight.tolist(), strict=True))
        for own, weight in zip(items, np.split(weights, bounds), strict=True)
    ]


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix])
def test_a_sparse_x_is_users_by_items_with_weights(container):
    expected = [{0: 5, 2: 3}, {1: 4, 2: 1}, {3: 2}]
    assert events(as_histories(container(COUNTS))) == expected
    assert events(Histories.from_matrix(container(COUNTS))) == expected


@pytest.mark.parametrize("table", [PIVOT, PIVOT.fillna(0), PIVOT.fillna(0).astype("Sparse[float]")])
def test_a_pivot_table_has_its_own_ids(table):
    histories = Histories.from_matrix(table)
    assert events(histories) == [{10: 5, 12: 3}, {11: 4, 12: 1}, {13: 2}]
    assert histories.user_ids.tolist() == [1, 2, 3]


def test_explicit_zeros_of_a_matrix_are_no_events():
    table = sp.csr_array((np.array([1, 0, 1]), [0, 1, 2], [0, 2, 3]), shape=(2, 3))
    histories = Histories.from_matrix(table)
    assert [row.tolist() for row in histories] == [[0], [2]]
    assert table.nnz == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": [1, 2]}, "must be users × items"),
        ({"matrix": [["a", "b"]]}, "matrix must be numbers"),
        ({"matrix": [[1, np.inf]]}, "weights must be finite"),
        ({"matrix": [[1, 2]], "item_ids": [1]}, "item_ids must have one value for each of 2"),
    ],
)
def test_matrices_that_are_no_users_by_items_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Histories.from_matrix(**arguments)


@pytest.mark.parametrize(
    "table",
    [
        COUNTS,
        pandas.DataFrame(COUNTS),
        np.tile((COUNTS > 0).astype(int)[:, [0, 1, 3]], 9),
        np.where(COUNTS == 0, 1, COUNTS),
    ],
    ids=["counts", "frame", "zeros and ones", "mostly ones"],
)
def test_a_dense_table_of_counts_is_refused_with_the_way_out(table):
    encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(6)))
    for read in (as_histories, encoder.fit):
        with pytest.raises(ValueError, match=r"read as item ids.*Histories\.from_matrix"):
            read(table)


def test_tables_of_arrow_and_lazy_frames_are_read():
    arrow, polars = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    columns = {"items": [["a", "b"], ["c"]], "timestamps": [[2, 1], [3]]}
    for table in (
        arrow.table(columns),
        arrow.record_batch(columns),
        polars.DataFrame(columns),
        polars.DataFrame(columns).lazy(),
        pandas.DataFrame(columns),
    ):
        assert [row.tolist() for row in as_histories(table)] == [["b", "a"], ["c"]]
    assert [row.tolist() for row in as_histories(arrow.array(columns["items"]))] == [
        ["a", "b"],
        ["c"],
    ]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (None, None),
        (["ann", "bob"], ["ann", "bob"]),
        ([7, 3], None),
        (pandas.Index([7, 3], name="user"), [7, 3]),
        (["ann", "ann"], None),
        (pandas.Index([0.5, 1.5], name="user"), None),
    ],
    ids=["default", "text", "row numbers", "named", "repeated", "no ids"],
)
def test_an_index_with_a_name_or_of_text_is_taken_as_user_ids(index, expected):
    series = pandas.Series([[1, 2], [3]], index=index)
    for X in (series, series.to_frame("items")):
        found = as_histories(X).user_ids
        assert (None if found is None else found.tolist()) == expected


def test_padding_is_padding_in_every_2d_array():
    items = np.array([[4, 7, -1], [5, -1, -1]])
    times = np.array([[2.0, 1.0, 0.0], [3.0, 0.0, 0.0]])
    histories = Histories.from_lists(items, timestamps=times)
    assert [row.tolist() for row in histories] == [[7, 4], [5]]
    assert histories.timestamps.tolist() == [1, 2, 3]
    texts = np.array([["a", ""], ["b", "c"]])
    assert [row.tolist() for row in Histories.from_lists(texts)] == [["a"], ["b", "c"]]


def test_series_of_lists_times_and_weights_are_matched_by_their_index():
    lists = pandas.Series([["tea"], ["cup"]], index=["ann", "bob"])
    times = pandas.Series([[2], [1]], index=["bob", "ann"])
    histories = Histories.from_lists(lists, timestamps=times, weights=times)
    assert histories.user_ids.tolist() == ["ann", "bob"]
    assert histories.timestamps.tolist() == histories.weights.tolist() == [1, 2]
    with pytest.raises(ValueError, match="weights has no row for 1 of the 2 users, such as 'bob'"):
        Histories.from_lists(lists, weights=times[1:])


def test_a_matrix_has_no_last_event_to_hold_out():
    with pytest.raises(ValueError, match="does not say which event was the last"):
        leave_last_out(sp.csr_array(COUNTS))
    with pytest.raises(ValueError, match="does not say which event was the last"):
        leave_last_out(Histories.from_matrix(COUNTS)[1:])


WIDE = sp.csr_array([[1, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
SPACE = ItemEmbeddings(np.random.default_rng(0).normal(size=(5, 3)))


@pytest.mark.parametrize("X", [WIDE, Histories.from_matrix(WIDE)[:1]], ids=["sparse", "histories"])
@pytest.mark.parametrize(
    "estimator",
    [
        DecayAverageUserEncoder(SPACE),
        DecayAverageUserEncoder(SPACE, decay=0, max_history=2),
        CooccurrenceItemEmbedder(),
        TransitionItemRanker(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_the_order_of_columns_is_used_with_one_warning(estimator, X):
    with pytest.warns(UserWarning, match=r"does not say what came first.*decay=0") as record:
        estimator.fit(X)
    assert len(record) == 1 and record[0].filename == __file__


def test_what_is_masked_is_padding():
    table = np.ma.masked_equal([[0, 1, 2], [2, 9, 9]], 9)
    encoder = DecayAverageUserEncoder(SPACE).fit(table)
    assert encoder.coverage(table).n_events.tolist() == [3, 1]
    lists = encoder.recommend([[0, 1, 2], [2]], k=2, exclude=[[0, 1, 2], [2]])
    np.testing.assert_array_equal(encoder.recommend(table, k=2, exclude=table)[0], lists[0])
    with pytest.raises(ValueError, match="must not be negative or empty"):
        encoder.score(table, np.ma.masked_equal([1, 9], 9))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_one_list_column_alone_holds_the_items_whatever_its_name(library):
    frame = pytest.importorskip(library).DataFrame({"when": [[1, 2], [], [3]]})
    assert [row.tolist() for row in as_histories(frame)] == [[1, 2], [], [3]]
    assert [row.tolist() for row in as_histories(frame["when"])] == [[1, 2], [], [3]]


DAYS = [[datetime.datetime(2026, 1, day) for day in (3, 1)], [datetime.datetime(2026, 1, 2)]]


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("when", [[3.0, 1.0], [2.0]]),
        ("dates", [["2026-01-03", "2026-01-01"], ["2026-01-02"]]),
        ("moments", DAYS),
        ("moments", [[], DAYS[1]]),
    ],
)
@pytest.mark.parametrize("items", ["items", "movies"])
def test_of_two_list_columns_one_says_time_and_the_other_holds_the_items(
    library, items, name, times
):
    ids = [["a", "b"][: len(times[0])], ["c"]]
    frame = pytest.importorskip(library).DataFrame({name: times, items: ids})
    histories = as_histories(frame)
    assert [row.tolist() for row in histories] == [["b", "a"][: len(times[0])], ["c"]]
    assert histories.timestamps is not None


def test_list_columns_of_users_without_events_need_no_types():
    frame = pandas.DataFrame({"basket": [[], []], "moment": [[], []]})
    assert as_histories(frame).lengths.tolist() == [0, 0]


def test_a_column_transformer_encodes_a_new_user_alone():
    moments = [[datetime.datetime(2026, 1, 1)], []]
    frame = pandas.DataFrame({"basket": [[0], []], "moment": moments})
    encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2)), age_unit="D")
    table = ColumnTransformer([("h", encoder, ["basket", "moment"])]).fit(frame)
    np.testing.assert_array_equal(table.transform(frame[1:]), table.transform(frame)[1:])


@pytest.mark.parametrize(
    "columns",
    [
        {"movies": [[1]], "ratings": [[2.0]]},
        {"ratings": [[1]], "when": [[2.0]]},
        {"movies": [[1]], "when": [[2.0]], "dates": [[3.0]]},
        {"items": [[1]], "movies": [[2]]},
    ],
)
def test_unclear_list_columns_are_named_with_the_way_out(columns):
    frame = pandas.DataFrame(columns)
    message = r"(not clear what|none holds the items).*Rename.*from_lists"
    with pytest.raises(ValueError, match=message) as error:
        as_histories(frame)
    assert all(repr(name) in str(error.value) for name in columns)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_column_transformer_hands_list_columns_to_an_encoder(library):
    if library == "polars" and parse_version(sklearn.__version__) < parse_version("1.8"):
        pytest.skip("this scikit-learn selects columns of pandas only")
    frame = pytest.importorskip(library).DataFrame(
        {"age": [30, 40], "movies": [["a", "b"], ["b"]], "when": [[2, 1], [3]]}
    )
    encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2), ids=["a", "b"]), decay=1)
    histories = Histories.from_lists([["a", "b"], ["b"]], timestamps=[[2, 1], [3]])
    expected = encoder.fit_transform(histories)
    assert expected[0, 0] > expected[0, 1]
    table = ColumnTransformer([("h", encoder, ["movies", "when"])])
    assert np.array_equal(table.fit_transform(frame), expected)
    for columns in ("movies", ["movies"]):
        alone = ColumnTransformer([("h", encoder, columns)]).fit_transform(frame)
        assert np.array_equal(alone, encoder.fit_transform([["a", "b"], ["b"]]))
