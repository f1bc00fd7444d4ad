"""Logs in files: delimited text and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from skue._optional import import_optional
from skue.reading._column_names import looks_like_a_log, pick_column
from skue.reading._columns import (
    Log,
    checked_ids,
    distinct_of_arrow,
    times_of,
    weights_of_text,
)
from skue.reading._delimited import DelimitedFile, first_line
from skue.reading._delimiters import MARKS
from skue.reading._frames import log_of_frame
from skue.reading._labels import Label
from skue.reading._options import check_text_options, check_time_options
from skue.reading._parquet import names_of_parquet, read_parquet
from skue.reading._records import fields_of
from skue.reading._written_ids import WrittenIds

ROLES = ("user", "item", "time", "weight")

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


USUAL_TEXT = TextOptions()


def is_table(path: Path, encoding: str) -> bool:
    """Tell whether text starts with a header line that names a user and an item."""
    line = first_line(path, encoding)
    return any(looks_like_a_log(fields_of(line, mark, quotes=False)) for mark in (*MARKS, " "))


def log_of_file(
    path: Path,
    kind: str,
    names: Names,
    *,
    time_unit: str | None = None,
    dayfirst: bool | None = None,
    text: TextOptions = USUAL_TEXT,
) -> Log:
    """Return the checked columns of a log in a table.

    Parameters
    ----------
    path : Path
    kind : str
        The suffix that says what the file is, such as ``".csv"``.
    names : dict of role to str, int or None
        The columns for ``ROLES``; None guesses, except for weights.
    time_unit, dayfirst : see :func:`skue.load_interactions`
    text : TextOptions

    Raises
    ------
    ValueError
        For what is wrong with the file, naming the line or the row.
    """
    check_time_options(time_unit, dayfirst)
    check_text_options(*text[1:])
    if kind == ".parquet":
        held = names_of_parquet(path)
        columns = {role: pick_column(held, role, names[role], path) for role in ROLES}
        chosen = list(dict.fromkeys(name for name in columns.values() if name is not None))
        table = read_parquet(path, chosen)
        if not len(table):
            raise ValueError(f"{path} holds no row.")
        return log_of_frame(
            table,
            time_unit=time_unit,
            dayfirst=dayfirst,
            source=str(path),
            **columns,
        )
    file = open_delimited(path, kind, names, text)
    if not file.has_header and looks_like_a_log(file.first_line):
        raise ValueError(
            f"{path}: columns given by position mean that there is no header line, but the first "
            f"line is {file.first_line}. Give the names of the columns."
        )
    columns = {role: pick_column(file.names, role, names[role], path) for role in ROLES}
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
        raise ValueError(f"{file.path} holds {'a header and ' if file.has_header else ''}no line.")

    def label(role: str) -> Label:
        return Label(f"column {columns[role]!r}", file.place, str(file.path))

    found = {position: column.finish() for position, column in ids.items()}
    return Log(
        checked_ids(*found[at["user"]], label("user")),
        checked_ids(*found[at["item"]], label("item"), items=True),
        None
        if "time" not in at
        else times_of(
            arrow.chunked_array(times), label("time"), time_unit=time_unit, dayfirst=dayfirst
        ),
        None
        if "weight" not in at
        else weights_of_text(
            *distinct_of_arrow(arrow.chunked_array(weights)), label("weight"), decimal=decimal
        ),
    )


def _repeated(column: Any, kind: Any) -> Any:
    return column if column.type == kind else column.dictionary_encode()
