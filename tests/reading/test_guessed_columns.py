"""Columns of frames are found by their names, as those of files are."""

import logging

import numpy as np
import pytest

from skue import Histories, load_interactions

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
dataset = pytest.importorskip("pyarrow.dataset")

LOG = {
    "CustomerID": ["b", "a", "b"],
    "StockCode": ["tea", "cup", "pot"],
    "purchased_at": ["2026-01-03", "2026-01-02", "2026-01-01"],
    "quantity": [1, 2, 3],
    "note": ["x", None, "z"],
}


def relation(log):
    duckdb = pytest.importorskip("duckdb")
    held = pyarrow.table(log)
    return duckdb.connect().from_arrow(held)


def dask_frame(log):
    dask = pytest.importorskip("dask.dataframe")
    return dask.from_pandas(pandas.DataFrame(log), npartitions=2)


FORMS = {
    "dict": dict,
    "pandas": pandas.DataFrame,
    "polars": polars.DataFrame,
    "lazy": polars.LazyFrame,
    "pyarrow": pyarrow.table,
    "stream": lambda log: pyarrow.table(log).to_reader(),
    "dataset": lambda log: dataset.dataset(pyarrow.table(log)),
    "duckdb": relation,
    "dask": dask_frame,
}
forms = pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)


@forms
def test_a_frame_and_its_file_give_the_same_histories(make, tmp_path):
    pandas.DataFrame(LOG).to_csv(tmp_path / "log.csv", index=False)
    of_file, of_frame = load_interactions(tmp_path / "log.csv"), Histories.from_frame(make(LOG))
    assert of_file.to_frame().equals(of_frame.to_frame())


@forms
def test_the_finer_of_two_columns_of_times_is_read_of_every_frame(make):
    log = {
        "user": [1, 1],
        "item": [8, 9],
        "date": ["2026-01-01"] * 2,
        "time_ms": [1767225600002, 1767225600001],
    }
    assert Histories.from_frame(make(log))[0].tolist() == [9, 8]


def test_a_frame_with_unread_dates_is_warned_of():
    log = {"user": [1], "item": [2], "letzter": ["2026-01-01"]}
    with pytest.warns(UserWarning, match=r"The frame: column 'letzter' holds dates.*time=False"):
        Histories.from_frame(log)
    assert Histories.from_frame(log, time=False).timestamps is None


def test_the_logger_tells_what_was_read_of_a_frame_and_what_was_not(caplog):
    with caplog.at_level(logging.INFO, logger="skue"):
        Histories.from_frame(LOG)
    (message,) = caplog.messages
    assert message.startswith(
        "The frame: user = 'CustomerID', item = 'StockCode', time = 'purchased_at'; "
        "not read: 'quantity', 'note'; the first row is user b"
    )
    assert message.endswith("Column 'quantity' is not used: weight='quantity'")


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (
            {"customer_id": [1], "customer_unique_id": [1], "item": [2]},
            r"The frame: which column is the user\? .* Set user='customer_id' or user='customer_un",
        ),
        ({"who": [1], "what": [2]}, r"The frame: which column is the user and which the item\?"),
        (
            {"user": [1], "item": [2], "order_date": ["2026-01-01"], "review_date": ["2026-01-02"]},
            r"which column is the time\?.* \(or time=False to use the order of the rows\)",
        ),
    ],
)
def test_unclear_columns_of_a_frame_are_a_question(log, message):
    with pytest.raises(ValueError, match=message):
        Histories.from_frame(log)


@pytest.mark.parametrize(
    "other",
    [
        [{"x": 1}, "text", 3.5],
        np.ones((3, 2)),
        [object(), object(), object()],
        None,
    ],
)
def test_columns_that_are_not_read_may_hold_anything(other):
    log = {"user": [1, 1, 2], "item": [1, 2, 3], "anything": other}
    assert len(Histories.from_frame(log)) == 2


@pytest.mark.parametrize("frame", [pandas.Series([1, 2]), polars.Series([1, 2])])
def test_a_single_column_is_no_log(frame):
    with pytest.raises(ValueError, match="must be a DataFrame, got Series"):
        Histories.from_frame(frame)
