"""Logs in files: which kind of file it is, and the reading of delimited text and Parquet."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from skue._estimator import import_optional
from skue.reading._column_names import looks_like_a_log, pick_column
from skue.reading._columns import (
    Log,
    checked_ids,
    distinct_of_arrow,
    times_of,
    weights_of_text,
)
from skue.reading._delimited import DELIMITERS, DelimitedFile, first_line
from skue.reading._frames import log_of_frame
from skue.reading._labels import Label
from skue.reading._numeric_times import check_time_options
from skue.reading._records import fields_of
from skue.reading._text_files import checked_encoding
from skue.reading._written_ids import WrittenIds

_OTHER_PACKING = (".bz2", ".xz", ".zip", ".zst", ".tar", ".7z")
_OTHER_KINDS = (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".feather", ".pkl", ".npz")

# The column of each role: a name, a position, or None.
Names = dict[str, str | int | None]


class TextOptions(NamedTuple):
    """How delimited text is written.

    Attributes
    ----------
    encoding : str
    delimiter : str or None
    quotes : bool
    decimal : str
    """

    encoding: str = "utf-8"
    delimiter: str | None = None
    quotes: bool = True
    decimal: str = "."

    def check(self) -> None:
        """Raise for invalid values."""
        checked_encoding(self.encoding)
        if self.delimiter is not None and self.delimiter != "::" and not _is_mark(self.delimiter):
            raise _invalid(
                "delimiter",
                self.delimiter,
                "one ASCII character that is not a letter, digit or quote mark, or '::'",
            )
        if not isinstance(self.quotes, bool):
            raise _invalid("quotes", self.quotes, "True or False")
        if self.decimal not in (".", ","):
            raise _invalid("decimal", self.decimal, "'.' or ','")


def check_names(names: Names) -> None:
    """Raise for columns that are given neither by name nor by position."""
    for role, name in names.items():
        if isinstance(name, bool) or not isinstance(name, (str, int, type(None))):
            raise _invalid(role, name, "the name or the position of a column, or None")


def _invalid(name: str, value: Any, allowed: str) -> ValueError:
    return ValueError(f"The {name!r} parameter must be {allowed}. Got {value!r} instead.")


def _is_mark(delimiter: Any) -> bool:
    return (
        isinstance(delimiter, str)
        and len(delimiter) == 1
        and delimiter.isascii()
        and not delimiter.isalnum()
        and delimiter not in '"\r\n\0'
    )


def checked_path(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path of a readable file, and its kind: ``".csv"`` for ``log.csv.gz``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a URL, a folder, or a kind of file that skue does not read.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(path)):
        raise ValueError(
            f"{os.fspath(path)} is a URL. Download the file first, and give its path on disk."
        )
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Name one file.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file. Write the data to a file first.")
    packing = path.suffix.lower()
    if packing in _OTHER_PACKING:
        raise ValueError(f"{path} is packed as {packing}. Unpack it, or compress it as .gz.")
    kind = Path(path.stem).suffix.lower() if packing == ".gz" else packing
    if kind in _OTHER_KINDS:
        raise ValueError(
            f"{path} is a {kind} file. Save it as CSV, TSV or Parquet, or read it into a frame and "
            "use Histories.from_frame."
        )
    return path, kind


def is_table(path: Path, encoding: str) -> bool:
    """Tell whether a text file starts with a header line that names a user and an item."""
    line = first_line(path, encoding)
    return any(looks_like_a_log(fields_of(line, mark, quotes=False)) for mark in (*DELIMITERS, " "))


def log_of_file(
    path: Path,
    kind: str,
    names: Names,
    *,
    time_unit: str | None = None,
    dayfirst: bool | None = None,
    text: TextOptions,
) -> Log:
    """Return the checked columns of a log in a table.

    Parameters
    ----------
    path : Path
    kind : str
        Its suffix without ``.gz``, for example ``".csv"``.
    names : dict of role to str, int or None
        The columns of the user, item, time and weight. None looks for a usual name, except for
        weights. A role that is not in the dict has no column.
    time_unit, dayfirst : see :func:`skue.load_interactions`
    text : TextOptions

    Raises
    ------
    ValueError
        For an invalid file, naming the line or the row.
    """
    check_time_options(time_unit, dayfirst)
    if kind == ".parquet":
        held = names_of_parquet(path)
        columns = {role: pick_column(held, role, names[role], path) for role in names}
        chosen = list(dict.fromkeys(name for name in columns.values() if name is not None))
        table = read_parquet(path, chosen)
        if not len(table):
            raise ValueError(f"{path} has no rows.")
        return log_of_frame(
            table, time_unit=time_unit, dayfirst=dayfirst, source=str(path), **columns
        )
    file = open_delimited(path, kind, names, text)
    if not file.has_header and looks_like_a_log(file.first_line):
        raise ValueError(
            f"{path}: columns given by position mean that there is no header line, but the first "
            f"line is {file.first_line}. Give the names of the columns."
        )
    columns = {role: pick_column(file.names, role, names[role], path) for role in names}
    return _log_of_text(file, columns, time_unit, dayfirst, text.decimal)


def open_delimited(path: Path, kind: str, names: Names, text: TextOptions) -> DelimitedFile:
    delimiter = "\t" if kind == ".tsv" and text.delimiter is None else text.delimiter
    return DelimitedFile(
        path, names, encoding=text.encoding, delimiter=delimiter, quotes=text.quotes
    )


def _log_of_text(
    file: DelimitedFile,
    columns: dict[str, Any],
    time_unit: str | None,
    dayfirst: bool | None,
    decimal: str,
) -> Log:
    arrow = import_optional("pyarrow", "io")
    text, repeated = arrow.string(), arrow.dictionary(arrow.int32(), arrow.string())
    at = {role: file.names.index(name) for role, name in columns.items() if name is not None}
    ids = {at[role]: WrittenIds() for role in ("user", "item")}
    plain = {"weight": repeated, "time": text}
    times: list[Any] = []
    weights: list[Any] = []

    def types() -> dict[int, Any]:
        wanted = {at[role]: kind for role, kind in plain.items() if role in at}
        return {**wanted, **{position: column.type for position, column in ids.items()}}

    for table in file.tables(types):
        for position, column in ids.items():
            column.add(table[str(position)])
        if "time" in at:
            times.extend(table[str(at["time"])].cast(text).chunks)
        if "weight" in at:
            weights.extend(_repeated(table[str(at["weight"])], repeated).chunks)
    if not file.n_rows:
        raise ValueError(
            f"{file.path} has {'only a header line' if file.has_header else 'no rows'}."
        )

    def label(role: str) -> Label:
        return Label(f"column {columns[role]!r}", file.place, str(file.path))

    found = {position: column.finish() for position, column in ids.items()}
    users = checked_ids(*found[at["user"]], label("user"))
    items = checked_ids(*found[at["item"]], label("item"), items=True)
    timestamps = parsed_weights = None
    if "time" in at:
        timestamps = times_of(
            arrow.chunked_array(times), label("time"), time_unit=time_unit, dayfirst=dayfirst
        )
    if "weight" in at:
        codes, distinct = distinct_of_arrow(arrow.chunked_array(weights))
        parsed_weights = weights_of_text(codes, distinct, label("weight"), decimal=decimal)
    return Log(users, items, timestamps, parsed_weights)


def _repeated(column: Any, kind: Any) -> Any:
    return column if column.type == kind else column.dictionary_encode()


def names_of_parquet(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file."""
    arrow = import_optional("pyarrow", "io")
    parquet = import_optional("pyarrow.parquet", "io")
    try:
        return list(parquet.read_schema(path).names)
    except (arrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def read_parquet(path: Path, columns: list[str], n_rows: int | None = None) -> Any:
    """Return these columns as a pyarrow table, or only their first rows."""
    parquet = import_optional("pyarrow.parquet", "io")
    arrow = import_optional("pyarrow", "io")
    try:
        # From a path, pyarrow opens the file itself, so its threads hold no Python object.
        with parquet.ParquetFile(str(path)) as file:
            if n_rows is None:
                return file.read(columns=columns)
            batches = file.iter_batches(batch_size=n_rows, columns=columns)
            first = next(batches, None)
            return arrow.table({}) if first is None else arrow.Table.from_batches([first])
    except (arrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a readable Parquet file: {error}.")
