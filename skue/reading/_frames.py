"""Logs in frames: pandas, polars, pyarrow and dicts of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue._estimator import import_optional
from skue.reading._columns import Log, ids_of, times_of, weights_of
from skue.reading._ids import shown
from skue.reading._labels import Label, row_of_frame
from skue.reading._numeric_times import check_time_options


def log_of_frame(
    frame: Any,
    *,
    user: Any,
    item: Any,
    time: Any = None,
    weight: Any = None,
    time_unit: str | None = None,
    dayfirst: bool | None = None,
    source: str = "",
) -> Log:
    """Return the checked columns of a log.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or LazyFrame, pyarrow.Table, dict of arrays
    user, item, time, weight : str or int
        Names of columns.
    time_unit, dayfirst : see :func:`skue.load_interactions`
    source : str, default=""
        The file that the frame was read from, for error messages.

    Raises
    ------
    ValueError
        For a missing column, and for values that are missing or of a wrong type, naming the row.
    """
    check_time_options(time_unit, dayfirst)
    frame = _collected(frame, [name for name in (user, item, time, weight) if name is not None])

    named = {
        role: (_label(name, source), name)
        for role, name in {"user": user, "item": item, "time": time, "weight": weight}.items()
        if name is not None
    }
    columns = {role: _column_of(frame, label, name) for role, (label, name) in named.items()}
    for role, (label, _) in named.items():
        if len(columns[role]) != len(columns["user"]):
            raise ValueError(
                f"{label.full_name} has {len(columns[role])} rows, but {named['user'][0].name} has "
                f"{len(columns['user'])}. Columns must have equal lengths."
            )
    timestamps = weights = None
    if "time" in columns:
        timestamps = times_of(
            columns["time"], named["time"][0], time_unit=time_unit, dayfirst=dayfirst
        )
    if "weight" in columns:
        weights = weights_of(columns["weight"], named["weight"][0])
    users = ids_of(columns["user"], named["user"][0])
    return Log(users, ids_of(columns["item"], named["item"][0], items=True), timestamps, weights)


def _label(name: Any, source: str) -> Label:
    return Label(f"column {name!r}", row_of_frame, source)


def times_of_list(
    values: Any, label: Label, *, time_unit: str | None = None, dayfirst: bool | None = None
) -> np.ndarray:
    """Return times from a list or an array, read as :func:`log_of_frame` reads them."""
    check_time_options(time_unit, dayfirst)
    return times_of(_as_array(values), label, time_unit=time_unit, dayfirst=dayfirst)


def names_of(frame: Any) -> list[Any]:
    """Return the names of the columns."""
    if isinstance(frame, dict):
        return list(frame)
    if hasattr(frame, "collect_schema"):  # polars, eager or lazy
        return list(frame.collect_schema().names())
    if hasattr(frame, "column_names"):  # pyarrow
        return list(frame.column_names)
    if hasattr(frame, "columns"):
        return list(frame.columns)
    raise ValueError(f"A log must be a DataFrame, got {type(frame).__name__}.")


def _collected(frame: Any, names: list[Any]) -> Any:
    """Check that the frame has these columns, and read them from a lazy frame."""
    held = names_of(frame)
    for name in names:
        if name not in held:
            raise ValueError(f"There is no column {name!r}; the columns are {held}.")
        if held.count(name) > 1:
            raise ValueError(
                f"There are {held.count(name)} columns {name!r}. Rename all but one of them."
            )
    if hasattr(frame, "collect"):
        return frame.select(list(dict.fromkeys(names))).collect()
    return frame


def _column_of(frame: Any, label: Label, name: Any) -> Any:
    """Return a column as an array, with datetimes in UTC, or as pyarrow strings."""
    column = frame[name]
    if type(getattr(column, "dtype", None)).__name__ == "ArrowDtype":  # pandas
        column = import_optional("pyarrow", "io").array(column)
    if type(column).__module__.partition(".")[0] == "pyarrow":
        if not hasattr(column, "chunks"):
            column = import_optional("pyarrow", "io").chunked_array([column])
        return array_of_arrow(column, label)
    if hasattr(column, "null_count") and callable(column.null_count) and column.null_count():
        row = int(column.is_null().arg_true()[0])  # polars
        raise label.empty(row, column.null_count())
    if hasattr(column, "isna") and not isinstance(column.dtype, np.dtype):  # pandas
        missing = column.isna().to_numpy()
        if missing.any():
            raise label.empty(int(missing.argmax()), int(missing.sum()))
    zone = getattr(getattr(column, "dt", None), "tz", None)
    if zone is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    array = column.to_numpy() if hasattr(column, "to_numpy") else _as_array(column)
    if array.ndim != 1:
        held = shown(column[0]) if len(array) else f"an array of shape {array.shape}"
        raise ValueError(
            f"{label.at(0)} holds {held}. Ids, times and weights must be one value per row."
        )
    return array


def _as_array(column: Any) -> np.ndarray:
    if isinstance(column, np.ndarray):
        return column
    values = list(column)
    # Otherwise numpy would make text of fixed width, and floats of large integers.
    types = set(map(type, values))
    if types <= {float} or (types == {int} and all(abs(value) < 2**63 for value in values)):
        return np.array(values)
    return np.fromiter(values, dtype=object, count=len(values))


def array_of_arrow(column: Any, label: Label) -> Any:
    """Return a pyarrow column as a numpy array, or as pyarrow strings.

    Raises
    ------
    ValueError
        For nulls, and for types other than numbers, text and dates.
    """
    arrow = import_optional("pyarrow", "io")
    if arrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise label.empty(row, column.null_count)
    kind = arrow.types
    if kind.is_null(column.type):
        return np.empty(0, dtype=object)
    if kind.is_binary(column.type) or kind.is_large_binary(column.type):
        return _text_of_bytes(column, label)
    if kind.is_string(column.type) or kind.is_large_string(column.type):
        return column
    if column.type == getattr(arrow, "string_view", arrow.string)():
        return column.cast(arrow.large_string())
    if kind.is_integer(column.type) or kind.is_floating(column.type):
        return column.to_numpy()
    if kind.is_timestamp(column.type) or kind.is_date(column.type):
        # Columns with a time zone store UTC.
        unit = getattr(column.type, "unit", None)
        return column.cast(arrow.timestamp(unit) if unit else column.type).to_numpy()
    if kind.is_decimal(column.type):
        return np.fromiter(column.to_pylist(), dtype=object, count=len(column))
    held = f"{label.at(0)} holds {shown(column[0].as_py())}" if len(column) else label.full_name
    raise ValueError(
        f"{held}, of type {column.type}. Ids must be integers or text, times must be dates or "
        "numbers, and weights must be numbers."
    )


def _text_of_bytes(column: Any, label: Label) -> Any:
    arrow = import_optional("pyarrow", "io")
    text = arrow.large_string() if arrow.types.is_large_binary(column.type) else arrow.string()
    try:
        return column.cast(text)
    except arrow.ArrowInvalid:
        for row, value in enumerate(column):
            try:
                value.as_py().decode("utf-8")
            except UnicodeDecodeError:
                raise label.not_utf8(row, value.as_py()) from None
        raise
