"""Values of a column: how errors name them, and what ids, times and weights have in common.

A column is a numpy array, a list, or a pyarrow column of strings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skue.reading._ids import shown

DROP = "Drop or fill such rows first."


class Label(NamedTuple):
    """A column in error messages.

    Attributes
    ----------
    name : str
        For example ``"column 'date'"``.
    place : callable
        Describes a row by its number, for example as ``"line 3"``.
    source : str, default=""
        The file, if there is one.
    """

    name: str
    place: Callable[[int], str]
    source: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.source}: {self.name}" if self.source else self.name

    def at(self, row: int) -> str:
        place = f"{self.source}, {self.place(row)}" if self.source else self.place(row)
        return f"{place}: {self.name}"

    def holds(self, row: int, value: Any) -> str:
        """Return the start of an error message, such as "line 3: column 'date' holds 'soon'"."""
        return f"{self.at(row)} holds {shown(value)}"

    def empty(self, row: int, n_rows: int) -> ValueError:
        """Return the error for missing values: the first row, and how many there are."""
        rows = "1 such row" if n_rows == 1 else f"{n_rows} such rows"
        return ValueError(f"{self.at(row)} is empty ({rows}). {DROP}")

    def not_utf8(self, row: int, value: bytes) -> ValueError:
        return ValueError(
            f"{self.holds(row, value)}, bytes that are not UTF-8. Decode them to text first."
        )


def invalid(name: str, value: Any, allowed: str) -> ValueError:
    """Return the error for an invalid value of a parameter."""
    return ValueError(f"The {name!r} parameter must be {allowed}. Got {value!r} instead.")


def row_of_frame(row: int) -> str:
    return f"row {row}"


def is_arrow(column: Any) -> bool:
    """Tell whether a column is a pyarrow column of strings."""
    return hasattr(column, "chunks")


def plain_text(column: Any) -> Any:
    """Return a pyarrow column of strings that is not encoded as a dictionary."""
    return column.cast(column.type.value_type) if hasattr(column.type, "value_type") else column


def as_array(column: Any) -> np.ndarray:
    """Return a list as an array that keeps each value as it is."""
    if isinstance(column, np.ndarray):
        return column
    values = list(column)
    # Otherwise numpy would make text of fixed width, and floats of large integers.
    types = set(map(type, values))
    if types <= {float} or (types == {int} and all(abs(value) < 2**63 for value in values)):
        return np.array(values)
    return np.fromiter(values, dtype=object, count=len(values))


def refuse_missing(column: np.ndarray, label: Label) -> None:
    """Raise for None, NaN and NaT, naming the first row."""
    if column.dtype.kind == "O":
        missing = np.fromiter(map(_is_missing, column.tolist()), dtype=bool, count=len(column))
    else:
        missing = column != column  # NaN and NaT are not equal to themselves
    if missing.any():
        raise label.empty(int(missing.argmax()), int(missing.sum()))


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, (float, np.floating, np.datetime64, dt.datetime)) and value != value


def decoded(column: np.ndarray, label: Label) -> np.ndarray:
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
