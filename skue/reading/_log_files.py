"""Logs in files: delimited text and Parquet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skue._optional import import_optional
from skue.reading._column_names import guess_column, looks_like_a_log, sounds_like_time
from skue.reading._columns import (
    Log,
    checked_ids,
    distinct_of_arrow,
    is_arrow,
    times_of,
    weights_of_text,
)
from skue.reading._dates import looks_like_dates
from skue.reading._delimited import DelimitedFile, first_line
from skue.reading._delimiters import MARKS
from skue.reading._frames import array_of_arrow, log_of_frame
from skue.reading._labels import Label
from skue.reading._number_times import unit_of
from skue.reading._options import check_text_options, check_time_options
from skue.reading._parquet import names_of_parquet, read_parquet
from skue.reading._paths import checked_path
from skue.reading._records import fields_of
from skue.reading._texts import Texts
from skue.reading._written_ids import WrittenIds

ROLES = ("user", "item", "time", "weight")
# Rows that are looked at to see whether a column holds dates.
_N_LOOKED_AT = 1000

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


def pick_column(held: list[Any], role: str, name: str | int | None, path: Path) -> Any:
    """Return the column for a role: the one that was named, or the one with a usual name.

    Raises
    ------
    ValueError
        Where the file has no such column, or several of that name.
    """
    if name is not None and name not in held:
        raise ValueError(f"{path} has no column {name!r} ({role}); it has {held}.")
    found = guess_column(held, role) if name is None else name
    if found is not None and held.count(found) > 1:
        raise ValueError(
            f"{path} has {held.count(found)} columns {found!r} ({role}). Rename all but one of "
            "them."
        )
    if found is not None or role not in ("user", "item"):
        return found
    if held and isinstance(held[0], int):
        raise ValueError(
            f"{path} is read without a header, because columns are given by position. Give the "
            f"position of the {role} as well: {role}=..., or --{role} on the command line, 0 to "
            f"{held[-1]}."
        )
    if any(map(_is_number, held)):
        raise ValueError(
            f"{path} seems to have no header line: it starts with {held}. Give the positions "
            "of the columns, counted from 0: user=0, item=1, time=3, or --user 0 --item 1 "
            "--time 3 on the command line."
        )
    raise ValueError(
        f"{path} has no column that looks like the {role}; it has {held}. "
        f"Name it: {role}=..., or --{role} on the command line."
    )


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def date_like_columns(
    path: str | os.PathLike[str],
    *,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quotes: bool = True,
) -> list[str]:
    """Return the columns of a log that hold dates or times, judging by its first rows.

    These are columns of dates, in whichever way they are written, and columns of numbers that
    are times in one unit and have a name that speaks of time.

    Parameters
    ----------
    path : str or path
        A file with a header line, or Parquet. There are no columns in text with one user a line.
    encoding, delimiter, quotes : see :func:`skue.load_interactions`

    Returns
    -------
    names : list of str
    """
    path, kind = checked_path(path)
    if kind == ".parquet":
        names = names_of_parquet(path)
        names = [name for name in names if names.count(name) == 1]
        table = read_parquet(path, names, n_rows=_N_LOOKED_AT)
        columns = {name: table[name] for name in names}
    else:
        text = TextOptions(encoding, delimiter, quotes)
        file = open_delimited(path, kind, dict.fromkeys(ROLES), text)
        positions = range(file.n_fields)
        kinds = dict.fromkeys(positions, import_optional("pyarrow", "io").string())
        table = next(file.tables(lambda: kinds), None)
        if table is None:
            return []
        columns = {
            name: table[str(at)].slice(0, _N_LOOKED_AT) for at, name in enumerate(file.names)
        }
    return [name for name, column in columns.items() if _holds_times(name, column)]


def _holds_times(name: Any, column: Any) -> bool:
    try:
        values = array_of_arrow(column.drop_null(), Label(str(name), str))
    except ValueError:
        return False
    if not len(values):
        return False
    if not is_arrow(values):
        if values.dtype.kind in "iuf":
            return sounds_like_time(name) and unit_of(values) is not None
        return values.dtype.kind == "M"
    texts = [text for text in values.to_pylist() if text.strip()]
    if looks_like_dates(Texts.of_strings(texts)):
        return True
    try:
        numbers = np.array(list(map(float, texts)))
    except ValueError:
        return False
    return len(numbers) > 0 and sounds_like_time(name) and unit_of(numbers) is not None
