"""Frames and Parquet: invalid values are named by their row, never converted to ids."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

from skue import Histories, load_interactions

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FORMS = ["pandas", "polars", "parquet", "dict"]


def read(form, folder, *, time=None, weight=None, **columns):
    """Return histories from the columns u and i, and t and w if they are given."""
    n = len(next(iter(columns.values())))
    data = {"u": [1] * n, "i": [2] * n, **columns}
    names = {"user": "u", "item": "i", "time": time, "weight": weight}
    if form == "parquet":
        parquet.write_table(pyarrow.table(data), folder / "log.parquet")
        return load_interactions(folder / "log.parquet", **names)
    make = {
        "pandas": pandas.DataFrame,
        "polars": polars.DataFrame,
        "pyarrow": pyarrow.table,
        "dict": dict,
    }[form]
    return Histories.from_frame(make(data), **names)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", ""], r"(row 1: column 'i' is empty|'i' must not be negative or empty.*at row 1)"),
        ([b"a", b"\xff"], r"row 1: column 'i' holds b'\\xff', bytes that are not UTF-8"),
        (["a", None], r"row 1: column 'i' is empty"),
        ([1, None], r"row 1: column 'i' is empty"),
        ([1.5, 2.0], r"column 'i' must be whole numbers or strings, got 1.5 at row 0"),
        ([1.0, 2.0**53], r"column 'i' hold the float 9007199254740992.0 at row 1"),
        ([True, False], r"column 'i' (holds|must be integers or strings, got) True"),
        ([[1], [2]], r"column 'i' (holds|must be integers or strings, got) "),
        ([Decimal(5), Decimal(6)], r"column 'i' must be integers or strings, got Decimal\('5'\)"),
        ([dt.datetime(2026, 1, 1)] * 2, r"column 'i' (holds|must be integers or strings, got) "),
    ],
)
def test_invalid_ids_are_refused(tmp_path, form, values, message):
    with pytest.raises(ValueError, match=message):
        read(form, tmp_path, i=values)


@pytest.mark.parametrize("form", FORMS)
def test_integers_beyond_64_bits_are_refused(tmp_path, form):
    values = np.array([1, 2**63 + 5], dtype=np.uint64)
    with pytest.raises(ValueError, match=r"9223372036854775813 at row 1, beyond 64 bits"):
        read(form, tmp_path, u=values)


@pytest.mark.parametrize("form", FORMS)
def test_a_negative_item_is_named_by_its_row(tmp_path, form):
    with pytest.raises(ValueError, match=r"column 'i' must not be negative .*got -5 at row 1"):
        read(form, tmp_path, i=[3, -5, -2])


@pytest.mark.parametrize("form", ["pandas", "parquet"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, float("nan")], "row 1: column 'w' (is empty|holds nan)"),
        ([1.0, None], "row 1: column 'w' is empty"),
        ([1.0, float("inf")], "row 1: column 'w' holds inf"),
        (["1", "x"], "row 1: column 'w' holds 'x', which is not a finite number"),
        (
            ["1", "2,5"],
            r"row 1: column 'w' holds '2,5', which is not a finite number\. Write numbers with",
        ),
        (["1", ""], "row 1: column 'w' is empty"),
        ([True, False], "row 0: column 'w' holds True"),
    ],
)
def test_invalid_weights_are_refused(tmp_path, form, values, message):
    with pytest.raises(ValueError, match=message):
        read(form, tmp_path, w=values, weight="w")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [[1, 2], ["1", " 2.0e0"], [Decimal("1"), Decimal("2.0")]])
def test_numbers_of_any_type_are_weights(tmp_path, form, values):
    assert read(form, tmp_path, w=values, weight="w").weights.tolist() == [1, 2]


@pytest.mark.parametrize("value", [dt.time(10, 30), dt.timedelta(days=1), [1], True])
def test_invalid_types_of_times_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match=r"row 0: column 't' holds"):
        read("parquet", tmp_path, t=[value], time="t")


@pytest.mark.parametrize("unit", ["ms", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("form", ["pandas", "polars", "pyarrow", "parquet"])
def test_datetimes_of_every_unit_become_microseconds_in_utc(tmp_path, form, unit, zone):
    moment = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    column = pyarrow.array([moment.replace(tzinfo=None)], pyarrow.timestamp(unit))
    column = column.cast(pyarrow.timestamp(unit, zone)) if zone else column
    if form == "polars":
        column = polars.Series(column)
    elif form == "pandas":
        column = pandas.Series(column.to_pandas())
    times = read(form, tmp_path, t=column, time="t").timestamps
    assert times.dtype == "datetime64[us]"
    assert times.tolist() == [moment.replace(tzinfo=None)]


@pytest.mark.parametrize(
    "kind", ["string", "large_string", "string_view", "binary", "large_binary", "dictionary"]
)
def test_all_text_types_of_pyarrow_are_read(tmp_path, kind):
    if kind == "dictionary":
        users = pyarrow.array(["b", "a", "b"]).dictionary_encode()
    else:
        users = pyarrow.array(["b", "a", "b"]).cast(getattr(pyarrow, kind)())
    chunks = pyarrow.chunked_array([users.slice(1), users.slice(0, 1)])
    times = pyarrow.array(["2026-01-03", "2026-01-02", "2026-01-01"])
    if kind not in ("binary", "large_binary"):
        times = times.cast(users.type)
    table = pyarrow.table({"u": chunks, "i": [1, 2, 3], "t": times.slice(0)})
    histories = Histories.from_frame(table, user="u", item="i", time="t")
    assert histories.user_ids.tolist() == ["a", "b"]
    assert [row.tolist() for row in histories] == [[1], [3, 2]]


def test_categories_of_pandas_and_polars_are_read_as_text():
    users = ["b", "a", "b"]
    for frame in (
        pandas.DataFrame({"u": pandas.Categorical(users), "i": [1, 2, 3]}),
        polars.DataFrame({"u": polars.Series(users, dtype=polars.Categorical), "i": [1, 2, 3]}),
    ):
        assert Histories.from_frame(frame, user="u", item="i").user_ids.tolist() == ["a", "b"]


def test_other_types_than_frames_are_refused():
    with pytest.raises(ValueError, match="must be a DataFrame, got list"):
        Histories.from_frame([1, 2], user="u", item="i")


def test_two_dimensional_columns_are_refused():
    log = {"u": np.ones((2, 2)), "i": np.array([1, 2])}
    with pytest.raises(ValueError, match=r"row 0: column 'u' holds array.*one value per row"):
        Histories.from_frame(log, user="u", item="i")


@pytest.mark.parametrize("form", FORMS)
def test_a_frame_without_rows_has_no_users(tmp_path, form):
    if form == "parquet":
        with pytest.raises(ValueError, match=r"log\.parquet has no rows"):
            read(form, tmp_path, u=[])
        return
    histories = read(form, tmp_path, u=np.empty(0, dtype=np.int64), w=np.empty(0), weight="w")
    assert len(histories) == 0
    assert histories.weights.tolist() == []


@pytest.mark.parametrize("form", FORMS)
def test_whole_floats_are_integers(tmp_path, form):
    assert read(form, tmp_path, u=[2.0**53 - 1, 3.0]).user_ids.tolist() == [3, 2**53 - 1]


def test_nullable_types_of_pandas_are_read():
    frame = pandas.DataFrame({"u": [1, 2], "i": ["a", "b"], "w": [1.0, 2.0]}).convert_dtypes()
    histories = Histories.from_frame(frame, user="u", item="i", weight="w")
    assert histories.user_ids.tolist() == [1, 2]
    frame["u"] = frame["u"].where([True, False])
    with pytest.raises(ValueError, match="row 1: column 'u' is empty"):
        Histories.from_frame(frame, user="u", item="i")
