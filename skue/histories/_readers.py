"""Reading interaction logs from files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

from skue._optional import import_optional
from skue.histories._histories import Histories

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
    frame = _read_parquet(path) if names[-1:] == [".parquet"] else _read_delimited(path, names)
    columns = list(frame.columns)
    chosen = {
        "user": _pick(columns, "user", user, path),
        "item": _pick(columns, "item", item, path),
        "time": _pick(columns, "time", time, path),
        "weight": _pick(columns, "weight", weight, path),
    }
    data: dict[str, Any] = {}
    for role, name in chosen.items():
        if name is None:
            continue
        column = frame[name]
        _refuse_missing(column, name, path)
        if role in ("user", "item"):
            data[name] = _plain_ids(column)
        elif role == "time":
            data[name] = _times(column, name, path)
        else:
            data[name] = _numbers(column, name, path)
    return Histories.from_frame(
        data,
        user=str(chosen["user"]),
        item=str(chosen["item"]),
        time=chosen["time"],
        weight=chosen["weight"],
    )


def _read_delimited(path: Path, suffixes: list[str]) -> Any:
    pandas = import_optional("pandas", "io")
    separator = "\t" if ".tsv" in suffixes else ","
    try:
        frame = pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
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
    if not len(frame):
        raise ValueError(f"{path} holds a header and no line.")
    return frame


def _read_parquet(path: Path) -> Any:
    pandas = import_optional("pandas", "io")
    import_optional("pyarrow", "io")
    try:
        return pandas.read_parquet(path)
    except Exception as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}.") from None


def _read_sequences(path: Path) -> Histories:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}.") from None
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}.") from None
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"{path} is empty; one user a line is expected.")
    users = _plain_ids(np.array([line[0] for line in lines]))
    lengths = np.array([len(line) - 1 for line in lines])
    items = _plain_ids(np.array([token for line in lines for token in line[1:]]))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories._from_events(items, offsets, None, None, users)


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
            f"Name it: {role}=..."
        )
    return None


def _refuse_missing(column: Any, name: str, path: Path) -> None:
    missing = np.asarray(column.isna() | (column == ""))
    if missing.any():
        line = int(np.flatnonzero(missing)[0]) + 2
        raise ValueError(f"{path}, line {line}: column {name!r} is empty.")


def _plain_ids(column: Any) -> np.ndarray:
    """Return integers where every id is written as one, and strings otherwise."""
    array = np.asarray(column)
    if array.dtype.kind in "iu":
        return array
    array = array.astype(str) if array.dtype.kind != "U" else array
    distinct, codes = np.unique(array, return_inverse=True)
    try:
        numbers = distinct.astype(np.int64)
    except (ValueError, OverflowError):
        return array
    return numbers[codes] if np.array_equal(numbers.astype(str), distinct) else array


def _times(column: Any, name: str, path: Path) -> np.ndarray:
    pandas = import_optional("pandas", "io")
    if column.dtype.kind in "iufM":
        return column.to_numpy()
    numbers = pandas.to_numeric(column, errors="coerce")
    if not numbers.isna().any():
        return numbers.to_numpy(dtype=np.float64)
    # The one format first: it is much faster, and a mixture is worth a second look.
    times = pandas.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    if times.isna().any():
        try:
            times = pandas.to_datetime(column, errors="raise", utc=True)
        except (ValueError, TypeError):
            line = int(np.flatnonzero(np.asarray(times.isna()))[0])
            raise ValueError(
                f"{path}, line {line + 2}: column {name!r} holds {column.iloc[line]!r}, which "
                "is no date. Write dates as 2026-01-31T12:00:00, or times as seconds."
            ) from None
    return times.dt.tz_localize(None).to_numpy()


def _numbers(column: Any, name: str, path: Path) -> np.ndarray:
    pandas = import_optional("pandas", "io")
    numbers = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    if np.isnan(numbers).any():
        line = int(np.flatnonzero(np.isnan(numbers))[0])
        raise ValueError(
            f"{path}, line {line + 2}: column {name!r} holds {column.iloc[line]!r}, which is no "
            "number."
        )
    return numbers
