"""The columns of a log as they stand in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skue._optional import import_optional
from skue.histories._checked import as_times
from skue.histories._dates import WAYS_OUT, UnreadableTimeError, read_times, times_of_numbers
from skue.reading._ids import as_ids, is_text


class LogColumn:
    """A column of a log, as the distinct values that it holds and their codes.

    Dates, ids and even weights repeat: what is parsed is parsed once.

    Parameters
    ----------
    column : pandas.Series
    name : str or int
        What the error messages call it.
    place : callable
        From the number of a row to where that is, such as ``"log.csv, line 3"``.
    """

    def __init__(self, column: Any, name: Any, place: Callable[[int], str]) -> None:
        self.column, self.name, self.place = column, name, place

    def _factorize(self) -> None:
        pandas = import_optional("pandas", "io")
        self.codes, self.values = pandas.factorize(self.column)
        empty = (self.codes < 0) | self._marks(np.asarray(self.values == ""))
        self._refuse(empty, "is empty", "Drop or fill such rows first.")

    def ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and sorted distinct ids: integers where every id is written as one."""
        self._factorize()
        ids = np.asarray(self.values)
        if ids.dtype.kind == "O":
            ids = np.array(list(map(_text, ids)))
        return numbered(self.codes, as_ids(ids, f"column {self.name!r}"))

    def times(self) -> np.ndarray:
        """Return UTC datetimes, or seconds."""
        column = self.column
        if column.dtype.kind in "iufM":
            self._refuse(np.asarray(column.isna()), "is empty", "Drop or fill such rows first.")
            if getattr(column.dtype, "tz", None) is not None:
                column = column.dt.tz_convert("UTC").dt.tz_localize(None)
            times = column.to_numpy()
            return as_times(
                times if times.dtype.kind == "M" else times_of_numbers(times),
                f"column {self.name!r}",
            )
        self._factorize()
        try:
            return as_times(read_times(self.values)[self.codes])
        except UnreadableTimeError as error:
            self._refuse(self._marks(error.bad), error.what, WAYS_OUT[error.what])
            raise

    def numbers(self) -> np.ndarray:
        """Return float64 numbers."""
        self._factorize()
        pandas = import_optional("pandas", "io")
        numbers = pandas.to_numeric(pandas.Series(self.values), errors="coerce")
        numbers = numbers.to_numpy(dtype=np.float64)
        bad = self._marks(~np.isfinite(numbers))
        self._refuse(bad, "holds {}, which is no number", "Correct or drop such rows first.")
        return numbers[self.codes]

    def _marks(self, of_values: np.ndarray) -> np.ndarray:
        """Return which rows hold one of the marked values."""
        return of_values[self.codes] if of_values.any() else np.zeros(len(self.codes), dtype=bool)

    def _refuse(self, bad: np.ndarray, what: str, way_out: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            what = what.format(repr(self.column.iloc[row]))
            raise ValueError(f"{self.place(row)}: column {self.name!r} {what}. {way_out}")


def _text(value: Any) -> str:
    # Some engines write the text of a Parquet file as bytes.
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def numbered(codes: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort distinct ids, as integers where all of them are written as integers."""
    if is_text(ids):
        try:
            numbers = ids.astype(np.int64)
        except (ValueError, OverflowError):
            pass
        else:
            ids = numbers if np.array_equal(numbers.astype(str).astype(object), ids) else ids
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(ids), dtype=np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    return place[codes], ids[order]
