"""Reading interaction logs from files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

from skue._optional import import_optional
from skue.histories._checked import as_times
from skue.histories._histories import Histories
from skue.histories._vocabulary import as_ids, factorize

# What str.split takes as blank, within ASCII.
_BLANKS = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"

_GUESSES = {
    "user": ["userid", "user", "customerid", "customer", "visitorid", "reviewerid", "sessionid"],
    "item": ["itemid", "item", "productid", "product", "sku", "asin", "movieid", "stockcode"],
    "time": [
        "timestamp",
        "time",
        "datetime",
        "date",
        "eventtime",
        "unixreviewtime",
        "invoicedate",
    ],
}


def load_interactions(
    path: str | os.PathLike[str],
    *,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    weight: str | None = None,
) -> Histories:
    """Read a log from a file.

    Parameters
    ----------
    path : str or path
        ``.parquet``; CSV or TSV with a header (``.csv``, ``.tsv``, plain or ``.gz``); or ``.txt``
        with one user a line: the user id, then item ids, oldest first, parted by spaces.
    user, item, time : str, default=None
        Names of the columns. By default the usual ones are looked for (``user_id``,
        ``CustomerID``, ``item_id``, ``asin``, ``timestamp``, ``InvoiceDate`` and so on).
    weight : str, default=None
        Column of event weights; never guessed.

    Returns
    -------
    histories : Histories
        Columns of whole numbers give integer ids, unless a number is written with leading
        zeros; all others give strings. Times are dates (zones become UTC) or seconds.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For an empty or damaged file, a missing column, an id that is missing or a date that
        cannot be read, naming the line (the header is line 1) and the column.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skue import load_interactions
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> _ = path.write_text("user_id,item_id,date\\n1,tea,2026-01-02\\n1,cup,2026-01-01\\n")
    >>> load_interactions(path)[0]
    array(['cup', 'tea'], dtype='<U3')
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    names = [name.lower() for name in path.suffixes]
    if ".txt" in names:
        return _read_sequences(path)
    read = _read_parquet if names[-1:] == [".parquet"] else _read_delimited
    head = read(path, None)
    columns = list(head.columns)
    chosen = {
        role: _pick(columns, role, name, path)
        for role, name in (("user", user), ("item", item), ("time", time), ("weight", weight))
    }
    names = [name for name in dict.fromkeys(chosen.values()) if name is not None]
    # Dates that are all written alike are read as dates; to try numbers first would take long.
    when = chosen["time"]
    dates = when is not None and len(head) > 0 and not _is_number(head[when].iloc[0])
    frame = read(path, names, when if dates else None)
    parts = {
        role: None if name is None else _Column(frame[name], name, path)
        for role, name in chosen.items()
    }
    users, items = parts["user"], parts["item"]
    assert users is not None and items is not None
    return Histories._from_log(
        users.ids(),
        items.ids(),
        None if parts["time"] is None else parts["time"].times(),
        None if parts["weight"] is None else parts["weight"].numbers(),
    )


def _read_delimited(path: Path, columns: list[str] | None, date: str | None = None) -> Any:
    """Return these columns as text, dates where they can be read; or the first line alone."""
    pandas = import_optional("pandas", "io")
    try:
        frame = pandas.read_csv(
            path,
            sep=_separator(path),
            dtype=str if columns is None else {name: str for name in columns if name != date},
            keep_default_na=False,
            usecols=columns,
            nrows=1 if columns is None else None,
            parse_dates=[] if date is None else [date],
            date_format="ISO8601",
        )
    except pandas.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; a header line is expected.") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}. Save it as UTF-8."
        ) from None
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}.") from None
    except pandas.errors.ParserError as error:
        raise ValueError(f"{path} cannot be read as a table: {error}.") from None
    if columns is not None and not len(frame):
        raise ValueError(f"{path} holds a header and no line.")
    return frame


def _separator(path: Path) -> str:
    """Return what parts the columns: a comma, unless the header holds none but another one."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:
        header = file.readline()
    others = [mark for mark in ("\t", ";", "|") if mark.encode() in header]
    if ".tsv" in [name.lower() for name in path.suffixes]:
        return "\t"
    return others[0] if others and b"," not in header else ","


def _read_parquet(path: Path, columns: list[str] | None, date: str | None = None) -> Any:
    """Return these columns, or none of the lines."""
    pandas = import_optional("pandas", "io")
    parquet = import_optional("pyarrow.parquet", "io")
    try:
        if columns is None:
            return parquet.read_schema(path).empty_table().to_pandas()
        return pandas.read_parquet(path, columns=columns)
    except Exception as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}.") from None


def _read_sequences(path: Path) -> Histories:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read()
        tokens = content.decode("utf-8").split()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}.") from None
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}.") from None
    if not tokens:
        raise ValueError(f"{path} is empty; one user a line is expected.")
    letters = np.frombuffer(content, dtype=np.uint8)
    blank = np.isin(letters, np.frombuffer(_BLANKS, dtype=np.uint8))
    starts = ~blank
    starts[1:] &= blank[:-1]
    line = np.cumsum(np.isin(letters, (10, 13)))[starts]
    if len(line) != len(tokens):
        raise ValueError(f"{path} parts ids by blanks that are not ASCII. Use spaces or tabs.")
    opens = np.append(True, line[1:] != line[:-1])
    words = np.array(tokens)
    offsets = np.append(np.flatnonzero(opens), len(words)) - np.arange(int(opens.sum()) + 1)
    users, user_ids = _numbered(*factorize(words[opens]))
    items, item_ids = _numbered(*factorize(words[~opens]))
    return Histories._from_events(item_ids[items], offsets, None, None, user_ids[users])


def _pick(columns: list[str], role: str, name: str | None, path: Path) -> str | None:
    if name is not None:
        if name not in columns:
            raise ValueError(f"{path} has no column {name!r} ({role}); it has {columns}.")
        return name
    plain = {"".join(filter(str.isalnum, str(c).lower())): c for c in columns}
    for guess in _GUESSES.get(role, []):
        if guess in plain:
            return plain[guess]
    if role in ("user", "item"):
        raise ValueError(
            f"{path} has no column that looks like the {role}; it has {columns}. "
            f"Name it: {role}=..., or --{role} on the command line."
        )
    return None


class _Column:
    """A column of a log, as the distinct values that it holds and their codes.

    Dates, ids and even weights repeat: what is parsed is parsed once.
    """

    def __init__(self, column: Any, name: str, path: Path) -> None:
        self.column, self.name, self.path = column, name, path

    def _factorize(self) -> None:
        pandas = import_optional("pandas", "io")
        self.codes, self.values = pandas.factorize(self.column)
        self._refuse((self.codes < 0) | self._marks(np.asarray(self.values == "")), "is empty")

    def ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and sorted distinct ids: integers where every id is written as one."""
        self._factorize()
        ids = np.asarray(self.values)
        if ids.dtype.kind == "O":
            ids = np.array(list(map(str, ids)))
        return _numbered(self.codes, as_ids(ids, f"column {self.name!r}"))

    def times(self) -> np.ndarray:
        """Return UTC datetimes, or seconds."""
        pandas = import_optional("pandas", "io")
        column = self.column
        if column.dtype.kind in "iufM":
            self._refuse(np.asarray(column.isna()), "is empty")
            if getattr(column.dtype, "tz", None) is not None:
                column = column.dt.tz_convert("UTC").dt.tz_localize(None)
            return as_times(column.to_numpy(), f"column {self.name!r}")
        self._factorize()
        values = pandas.Series(self.values)
        if _is_number(self.values[0]):
            numbers = pandas.to_numeric(values, errors="coerce")
            if not numbers.isna().any():
                return as_times(numbers.to_numpy(dtype=np.float64)[self.codes])
        # The one format first: it is much faster, and a mixture is worth a second look.
        times = pandas.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        if times.isna().any():
            day_first = self._day_first(values)
            try:
                times = pandas.to_datetime(values, errors="raise", utc=True, dayfirst=day_first)
            except (ValueError, TypeError):
                bad = self._marks(np.asarray(times.isna()))
                way_out = "Write dates as 2026-01-31T12:00:00, or times as seconds."
                self._refuse(bad, "holds {}, which is no date", way_out)
        return as_times(times.dt.tz_localize(None).to_numpy()[self.codes])

    def _day_first(self, values: Any) -> bool:
        """Return whether 03/04/2026 is the 3rd of April: some other date has to tell."""
        parts = values.str.extract(r"^\s*(\d{1,2})([./-])(\d{1,2})\2\d{4}\b")
        if parts.isna().any(axis=None) or (parts[1] == ".").all():
            return bool((parts[1] == ".").any())
        beyond = [(parts[column].astype(int) > 12).any() for column in (0, 2)]
        if not any(beyond):
            everything = np.ones(len(self.codes), dtype=bool)
            way_out = "Write dates as 2026-01-31."
            self._refuse(everything, "holds {}: day and month cannot be told apart", way_out)
        return bool(beyond[0])

    def numbers(self) -> np.ndarray:
        """Return float64 numbers."""
        self._factorize()
        pandas = import_optional("pandas", "io")
        numbers = pandas.to_numeric(pandas.Series(self.values), errors="coerce")
        numbers = numbers.to_numpy(dtype=np.float64)
        self._refuse(self._marks(~np.isfinite(numbers)), "holds {}, which is no number")
        return numbers[self.codes]

    def _marks(self, of_values: np.ndarray) -> np.ndarray:
        """Return which rows hold one of the marked values."""
        return of_values[self.codes] if of_values.any() else np.zeros(len(self.codes), dtype=bool)

    def _refuse(self, bad: np.ndarray, what: str, way_out: str = "") -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            what = what.format(repr(self.column.iloc[row]))
            raise ValueError(
                f"{self.path}, line {row + 2}: column {self.name!r} {what}. {way_out}".rstrip()
            )


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def _numbered(codes: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort distinct ids, as integers where all of them are written as integers."""
    if ids.dtype.kind == "U":
        try:
            numbers = ids.astype(np.int64)
        except (ValueError, OverflowError):
            pass
        else:
            ids = numbers if np.array_equal(numbers.astype(str), ids) else ids
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(ids), dtype=np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    return place[codes], ids[order]
