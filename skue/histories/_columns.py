"""Columns of pandas, polars and pyarrow frames as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def column_of(frame: Any, name: str) -> np.ndarray:
    """Return a column as an array: datetimes in UTC without a zone, text as objects.

    Raises
    ------
    ValueError
        When the frame has no such column, listing those that it has.
    """
    names = list(frame) if isinstance(frame, dict) else _names_of(frame)
    if name not in names:
        raise ValueError(f"There is no column {name!r}; the columns are {names}.")
    column = frame[name]
    zone = getattr(getattr(column, "dt", None), "tz", None)
    if zone is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    array = column.to_numpy() if hasattr(column, "to_numpy") else _as_array(column)
    if array.ndim != 1:
        raise ValueError(f"Column {name!r} must be one-dimensional, got shape {array.shape}.")
    return array


def _names_of(frame: Any) -> list[str]:
    if hasattr(frame, "column_names"):  # pyarrow
        return list(frame.column_names)
    if hasattr(frame, "columns"):
        return list(frame.columns)
    raise ValueError(f"A log must be a DataFrame, got {type(frame).__name__}.")


def _as_array(column: Any) -> np.ndarray:
    array = np.asarray(column)
    if array.dtype.kind == "U" and not all(isinstance(value, str) for value in column):
        return np.asarray(column, dtype=object)
    return array


def refuse_missing(column: np.ndarray, name: str) -> None:
    """Raise for None, NaN and NaT, naming the column and the first row."""
    if column.dtype.kind == "O":
        missing = np.fromiter(map(_is_missing, column.tolist()), dtype=bool, count=len(column))
    elif column.dtype.kind == "M":
        missing = np.isnat(column)
    elif column.dtype.kind == "f":
        missing = np.isnan(column)
    else:
        return
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"Column {name!r} has no value at row {row} ({int(missing.sum())} missing in all). "
            "Drop or fill these rows first."
        )


def _is_missing(value: Any) -> bool:
    # NaN, NaT and pandas.NA are the values that are not equal to themselves.
    if isinstance(value, str):
        return False
    return value is None or type(value).__name__ == "NAType" or value != value
