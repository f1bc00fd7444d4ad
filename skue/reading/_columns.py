"""The columns of a log, checked: ids as codes and distinct ids, times, weights.

A column is a numpy array, or a pyarrow column of strings.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

import numpy as np

from skue._estimator import import_optional
from skue.reading._dates import times_of_text, unit_of_date
from skue.reading._ids import as_ids, factorize, is_text, refuse_as_items, shown
from skue.reading._labels import DROP, Label
from skue.reading._numeric_times import times_of_numbers
from skue.reading._text_columns import TextColumn

_TIMES = "Times must be dates, or numbers of seconds."
# Units of numpy with a wider range than 64 bits of microseconds, and the years of that range.
_COARSE_UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms")
_MOST_YEARS = 290_000
_NUMBER = re.compile(r" *[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)? *")
_COMMA_NUMBER = re.compile(_NUMBER.pattern.replace(r"\.", ","))


class Log(NamedTuple):
    """A log: one row per interaction.

    Attributes
    ----------
    users, items : tuple of (codes, ids)
        The code of each row, int32, and the sorted distinct ids.
    timestamps : ndarray of shape (n_rows,), datetime64[us] or float64, or None
    weights : ndarray of shape (n_rows,), float64, or None
    """

    users: tuple[np.ndarray, np.ndarray]
    items: tuple[np.ndarray, np.ndarray]
    timestamps: np.ndarray | None
    weights: np.ndarray | None


def is_arrow(column: Any) -> bool:
    """Tell whether a column is a pyarrow column of strings."""
    return hasattr(column, "chunks")


def ids_of(column: Any, label: Label, *, items: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and sorted distinct ids. Text is never changed or converted to numbers.

    Parameters
    ----------
    column : ndarray or pyarrow.ChunkedArray of strings
    label : Label
    items : bool, default=False
        Whether they are ids of items, which must not be negative.

    Raises
    ------
    ValueError
        For ids that are missing, empty, or neither integers nor text, naming the row.
    """
    if is_arrow(column):
        codes, ids = distinct_of_arrow(column.dictionary_encode())
    else:
        if column.dtype.kind not in "iufOUT":
            held = (
                label.holds(0, column[0])
                if len(column)
                else f"{label.full_name} has dtype {column.dtype}"
            )
            raise ValueError(f"{held}. Ids must be integers or strings.")
        refuse_missing(column, label)
        codes, ids = factorize(as_ids(_decoded(column, label), label.full_name, label.place))
    return checked_ids(codes, ids, label, items=items)


def checked_ids(
    codes: np.ndarray, ids: np.ndarray, label: Label, *, items: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Raise for empty ids and for negative item ids. The distinct ids are sorted."""
    if not len(ids):
        return codes, ids
    if is_text(ids) and ids[0] == "":
        raise ValueError(f"{label.at(int(np.flatnonzero(codes == 0)[0]))} is empty. {DROP}")
    if items:
        refuse_as_items(
            ids[:1], label.full_name, lambda _: label.place(int(np.flatnonzero(codes == 0)[0]))
        )
    return codes, ids


def distinct_of_arrow(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and sorted distinct strings of a dictionary-encoded pyarrow column."""
    compute = import_optional("pyarrow.compute", "io")
    if not len(column):
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=object)
    column = column.unify_dictionaries()
    distinct = column.chunk(0).dictionary
    order = compute.sort_indices(distinct).to_numpy()
    place = np.empty(len(distinct), dtype=np.int32)
    place[order] = np.arange(len(distinct), dtype=np.int32)
    codes = np.concatenate([place[chunk.indices.to_numpy()] for chunk in column.chunks])
    texts = distinct.take(order).to_pylist()
    return codes, np.fromiter(texts, dtype=object, count=len(texts))


def times_of(
    column: Any,
    label: Label,
    *,
    time_unit: str | None = None,
    dayfirst: bool | None = None,
) -> np.ndarray:
    """Return UTC datetimes as datetime64[us], or seconds as float64.

    Raises
    ------
    ValueError
        For missing or invalid times, and for times in several formats, naming the rows.
    """
    if is_arrow(column):
        return times_of_text(
            TextColumn.of_arrow(column), label, time_unit=time_unit, dayfirst=dayfirst
        )
    refuse_missing(column, label)
    kind = column.dtype.kind
    if kind == "O" and len(column):
        column = of_one_kind(column, label)
        if isinstance(column, list):
            texts = TextColumn.of_strings(column)
            return times_of_text(texts, label, time_unit=time_unit, dayfirst=dayfirst)
        kind = column.dtype.kind
    if not len(column):
        return column.astype("datetime64[us]" if kind == "M" else np.float64)
    if kind in "UT":
        texts = TextColumn.of_strings(column.tolist())
        return times_of_text(texts, label, time_unit=time_unit, dayfirst=dayfirst)
    if kind in "iuf":
        return times_of_numbers(column, label, time_unit)
    if kind != "M":
        raise ValueError(f"{label.holds(0, column[0])}. {_TIMES}")
    if time_unit is not None:
        raise unit_of_date(label, column[0], time_unit)
    return in_microseconds(column, label)


def in_microseconds(column: np.ndarray, label: Label) -> np.ndarray:
    if np.datetime_data(column.dtype)[0] in _COARSE_UNITS:
        years = column.astype("datetime64[Y]").astype(np.int64)
        far = np.flatnonzero(np.abs(years) > _MOST_YEARS)
        if len(far):
            row = int(far[0])
            raise ValueError(
                f"{label.at(row)} holds {column[row]}, a date out of the range of microseconds. "
                f"{DROP}"
            )
    return column.astype("datetime64[us]", copy=False)


def of_one_kind(column: np.ndarray, label: Label) -> Any:
    """Return objects as an array of numbers or datetimes, or as a list of strings."""
    values = _decoded(column, label).tolist()
    kinds = [_kind_of(value) for value in values]
    other = next((row for row, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        raise ValueError(
            f"{label.holds(other, values[other])}, {kinds[other]}, but {label.place(0)} holds "
            f"{shown(values[0])}, {kinds[0]}. Use one type for all times of a column."
        )
    if kinds[0] == "text":
        return values
    if kinds[0] == "a number":
        return _numbers_of_objects(values)
    if kinds[0] not in ("a date", "a datetime", "a datetime with a zone"):
        raise ValueError(f"{label.holds(0, values[0])}, {kinds[0]}. {_TIMES}")
    return np.array(list(map(without_zone, values)), dtype="datetime64[us]")


def _numbers_of_objects(values: list[Any]) -> np.ndarray:
    if all(isinstance(value, (int, np.integer)) for value in values):
        try:
            return np.fromiter(values, dtype=np.int64, count=len(values))
        except OverflowError:
            pass
    return np.array([float(value) for value in values])


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, dt.datetime):
        return "a datetime" if value.utcoffset() is None else "a datetime with a zone"
    if isinstance(value, np.datetime64):
        return "a datetime"
    if isinstance(value, dt.date):
        return "a date"
    if isinstance(value, dt.time):
        return "a time of day without a date"
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return "a number"
    return f"a {type(value).__name__}"


def without_zone(value: Any) -> Any:
    """Return a datetime in UTC without a time zone, and any other value as it is."""
    offset = value.utcoffset() if isinstance(value, dt.datetime) else None
    return value if offset is None else (value - offset).replace(tzinfo=None)


def weights_of(column: Any, label: Label) -> np.ndarray:
    """Return finite weights as float64.

    Raises
    ------
    ValueError
        For values that are not finite numbers, naming the row.
    """
    if is_arrow(column):
        codes, distinct = distinct_of_arrow(column.dictionary_encode())
        return weights_of_text(codes, distinct, label)
    refuse_missing(column, label)
    kind = column.dtype.kind
    if kind in "OUT" and len(column):
        values = _decoded(column, label).tolist()
        if all(isinstance(value, str) for value in values):
            codes, distinct = factorize(as_ids(values))
            return weights_of_text(codes, distinct, label)
        wrong = (row for row, value in enumerate(values) if not _is_weight(value))
        row = next(wrong, None)
        weights = None if row is not None else np.array(list(map(_as_float, values)))
    elif kind in "iuf" or not len(column):
        weights, row = column.astype(np.float64), None
    else:
        weights, row = None, 0
    if weights is not None and not np.isfinite(weights).all():
        row = int(np.flatnonzero(~np.isfinite(weights))[0])
    if row is not None:
        what = "not a number" if weights is None else "not a finite number"
        raise ValueError(f"{label.holds(row, column[row])}, which is {what}. {DROP}")
    assert weights is not None
    return weights


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _is_weight(value: Any) -> bool:
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    return (is_number and not isinstance(value, bool)) or type(value).__name__ == "Decimal"


def weights_of_text(
    codes: np.ndarray, distinct: np.ndarray, label: Label, *, decimal: str | None = None
) -> np.ndarray:
    """Parse weights from the distinct texts and the code of each row.

    The decimal mark is a point or a comma. None means a point that the caller cannot change.
    """
    has_option, decimal = decimal is not None, decimal or "."
    pattern = _NUMBER if decimal == "." else _COMMA_NUMBER
    numbers = np.array(
        [
            float(text.replace(decimal, ".")) if pattern.fullmatch(text) else np.nan
            for text in distinct.tolist()
        ],
        dtype=np.float64,
    )
    weights = numbers[codes] if len(codes) else np.empty(0)
    if np.isfinite(numbers).all():
        return weights
    row = int(np.flatnonzero(~np.isfinite(weights))[0])
    text = distinct[codes[row]]
    if not text.strip():
        raise ValueError(f"{label.at(row)} is empty. {DROP}")
    if pattern.fullmatch(text):
        raise ValueError(f"{label.holds(row, text)}, which is not a finite number. {DROP}")
    other, other_pattern = (",", _COMMA_NUMBER) if decimal == "." else (".", _NUMBER)
    hint = DROP
    if other_pattern.fullmatch(text):
        hint = f"If {other!r} is the decimal mark, set decimal={other!r} (--decimal {other!r})."
        hint = hint if has_option else "Write numbers with a decimal point."
    raise ValueError(f"{label.holds(row, text)}, which is not a number. {hint}")


def refuse_missing(column: np.ndarray, label: Label) -> None:
    """Raise for None, NaN and NaT, naming the first row."""
    kind = column.dtype.kind
    if kind == "O":
        missing = np.fromiter(map(_is_missing, column.tolist()), dtype=bool, count=len(column))
    elif kind in "Mm":
        missing = np.isnat(column)
    elif kind == "f":
        missing = np.isnan(column)
    else:
        return
    if missing.any():
        raise label.empty(int(np.flatnonzero(missing)[0]), int(missing.sum()))


def _is_missing(value: Any) -> bool:
    # NaN and NaT are not equal to themselves.
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, (float, np.floating, np.datetime64, dt.datetime)) and value != value


def _decoded(column: np.ndarray, label: Label) -> np.ndarray:
    """Decode bytes among objects: some programs write text to Parquet as bytes."""
    if column.dtype.kind != "O" or not any(isinstance(value, bytes) for value in column.tolist()):
        return column
    texts = np.empty(len(column), dtype=object)
    for row, value in enumerate(column.tolist()):
        try:
            texts[row] = value.decode("utf-8") if isinstance(value, bytes) else value
        except UnicodeDecodeError:
            raise label.not_utf8(row, value) from None
    return texts
