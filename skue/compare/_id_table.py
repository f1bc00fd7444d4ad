"""A file with one row per item or user: a column of ids, and columns of text or numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from skue._estimator import import_optional
from skue.reading._column_names import columns_named, is_number
from skue.reading._delimited import DelimitedTable
from skue.reading._ids import is_text, shown
from skue.reading._table import ParquetTable, checked_paths
from skue.reading._values import plain_text

Columns = dict[str, np.ndarray]
"""Text (empty where a value is missing), or float64 (NaN where a value is missing)."""


class TextOptions(NamedTuple):
    """How delimited text is read. Encoding and delimiter are those of the log."""

    encoding: str = "utf-8"
    delimiter: str | None = None
    quotes: bool = True
    decimal: str = "."


def read_id_table(
    path: Path,
    log_ids: np.ndarray,
    role: Literal["user", "item"],
    column: str | int | None = None,
    text: TextOptions = TextOptions(),  # noqa: B008
) -> tuple[np.ndarray, Columns]:
    """Read a CSV, TSV or Parquet file with one row per id.

    The file is read as strictly as a log: a row with too many or too few fields is an error.

    Parameters
    ----------
    path : path
    log_ids : ndarray of shape (n_ids,)
        Ids of the log, whose type those of the file get.
    role : {"user", "item"}
        The column of ids has the name that it has in the log, or a usual name of this role, or is
        the first one.
    column : str, int or None, default=None
        Column of the ids in the log.
    text : TextOptions
        Encoding and delimiter are tried if the file is not UTF-8, or its delimiter is not clear.

    Returns
    -------
    ids : ndarray of shape (n_rows,)
    columns : dict of str to ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If the file does not exist or cannot be read, or has no column beside the ids, or its ids
        cannot be those of the log.
    """
    try:
        if not path.is_file():
            raise ValueError("the file does not exist.")
        is_parquet = checked_paths(path)[0][1] == ".parquet"
        table = ParquetTable(path) if is_parquet else _open(path, text)
        id_column, others = _roles(table.names, log_ids, role, column)
        columns = _texts_of(table, path, [id_column, *others])
        ids = columns.pop(id_column)
        for row in np.flatnonzero(ids == "")[:1]:
            raise ValueError(f"{table.place(row)}: the id (column {id_column!r}) is missing.")
        decimal = "." if is_parquet else text.decimal
        return _typed_ids(ids, log_ids, table.place), {
            name: _as_numbers(values, name, table.place, decimal)
            for name, values in columns.items()
        }
    except (ValueError, OSError) as error:
        message = str(error).removeprefix(str(path)).lstrip(":, ")
        raise ValueError(f"{path}: {message}") from error


def _open(path: Path, text: TextOptions) -> DelimitedTable:
    given: dict[str, str | int | None] = {"user": None, "item": None}
    mark = "\t" if ".tsv" in path.suffixes else None
    try:
        return DelimitedTable(path, given, delimiter=mark, quotes=text.quotes)
    except ValueError:
        return DelimitedTable(
            path,
            given,
            encoding=text.encoding,
            delimiter=mark or text.delimiter,
            quotes=text.quotes,
        )


def _texts_of(table: DelimitedTable | ParquetTable, path: Path, names: list[str]) -> Columns:
    """Return columns as text, empty where a value is missing."""
    if isinstance(table, DelimitedTable):
        texts = {name: plain_text(column) for name, column in table.columns(names).items()}
    else:
        arrow = import_optional("pyarrow", "io")
        content = import_optional("pyarrow.parquet", "io").read_table(path, columns=names)
        texts = {}
        for name in names:
            values = content[name]
            if arrow.types.is_dictionary(values.type):
                values = values.cast(values.type.value_type)
            try:
                texts[name] = values.cast(arrow.string())
            except arrow.ArrowException:
                raise ValueError(f"column {name!r} holds {values.type}. Leave it out.") from None
    return {
        name: np.array([text or "" for text in column.to_pylist()], dtype=object)
        for name, column in texts.items()
    }


def _roles(
    names: list[str], log_ids: np.ndarray, role: str, column: str | int | None
) -> tuple[str, list[str]]:
    """Return the column of the ids, and the others."""
    named = [name for name in names if name == column] or columns_named(names, role)
    if len(named) > 1:
        raise ValueError(
            f"the columns {' and '.join(map(repr, named))} may hold the ids. Give the column of "
            "the ids the name that it has in the log, or rename the other one."
        )
    if not named and (names[0] in set(map(str, log_ids)) or any(map(is_number, names))):
        raise ValueError(f"there seems to be no header line: the first line is {names}. Add one.")
    id_column = named[0] if named else names[0]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are {names.count(name)} columns {name!r}. Rename one of them.")
    others = [name for name in names if name != id_column]
    if not others:
        raise ValueError(f"there is no column beside the ids ({id_column!r}).")
    return id_column, others


def _typed_ids(ids: np.ndarray, log_ids: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """Return ids of the type that the log has."""
    if is_text(log_ids):
        return ids
    for row, text in enumerate(ids):
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ValueError(
                f"{place(row)}: the id {shown(text)} is text, but the log has {shown(log_ids[0])}."
            )
    return ids.astype(np.int64)


def _as_numbers(
    values: np.ndarray, name: str, place: Callable[[int], str], decimal: str
) -> np.ndarray:
    """Return a column of text as numbers if all are; raise for one text among most numbers."""
    dotted = [text.strip().replace(decimal, ".") for text in values]
    is_filled = np.array([text != "" for text in dotted])
    is_digits = np.array([is_number(text) for text in dotted])
    others = np.flatnonzero(is_filled & ~is_digits)
    if not len(others) and is_digits.any():
        return np.array([float(text) if text else np.nan for text in dotted])
    if 2 * is_digits.sum() > is_filled.sum() and len(set(values[others])) == 1:
        raise ValueError(
            f"{place(others[0])}: column {name!r} holds {shown(values[others[0]])} among numbers. "
            "Leave the field empty if the number is missing."
        )
    return values
