"""Reading interaction logs from files."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from skue._optional import import_optional
from skue.histories._dates import is_number
from skue.histories._histories import Histories
from skue.histories._log_columns import LogColumn
from skue.histories._names import guess_column, looks_like_a_log
from skue.histories._plain_files import damage_said, opened
from skue.histories._sequence_text import read_sequences

_SEPARATORS = (",", "\t", ";", "|", "::")
_OTHER_PACKING = (".bz2", ".xz", ".zip", ".zst", ".tar", ".7z")
_OTHER_KINDS = (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".feather", ".pkl", ".npz")


def load_interactions(
    path: str | os.PathLike[str],
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    time: str | int | None = None,
    weight: str | int | None = None,
) -> Histories:
    """Read a log from a file.

    Parameters
    ----------
    path : str or path
        ``.parquet``; a table with a header line (CSV, TSV and the like, plain or ``.gz``), whose
        columns are parted by commas, tabs, semicolons, bars or ``::``; or ``.txt`` with one user
        a line (the user id, then item ids, oldest first, parted by spaces), or with one user and
        one item a line.
    user, item, time : str or int, default=None
        Names of the columns. By default the usual ones are looked for (``user_id``,
        ``CustomerID``, ``item_id``, ``asin``, ``timestamp``, ``purchased_at`` and so on). Where
        the file has no header line, positions, counted from 0.
    weight : str or int, default=None
        Column of event weights; never guessed.

    Returns
    -------
    histories : Histories
        Columns of whole numbers give integer ids, unless a number is written with leading
        zeros; all others give strings. Times are dates (zones become UTC) or seconds. Numbers
        such as 20260131 are dates; numbers that as seconds would lie after the year 5000 are
        milliseconds, microseconds or nanoseconds, and become seconds.

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
    array(['cup', 'tea'], dtype=object)
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Name one file.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    packing = path.suffix.lower()
    if packing in _OTHER_PACKING:
        raise ValueError(f"{path} is packed as {packing}. Unpack it, or pack it as .gz.")
    kind = Path(path.stem).suffix.lower() if packing == ".gz" else packing
    if kind in _OTHER_KINDS:
        raise ValueError(
            f"{path} is a {kind} file. Save it as CSV, TSV or Parquet, or read it into a frame and "
            "use Histories.from_frame."
        )
    given = {"user": user, "item": item, "time": time, "weight": weight}
    if kind == ".txt" and not any(name is not None for name in given.values()):
        with damage_said(path):
            header = _header(path)
        if not looks_like_a_log(header.split(_separator(header))):
            return read_sequences(path)
    if kind == ".parquet":
        read: Any = _read_parquet
        place = partial("{}, row {}".format, path)
    else:
        with damage_said(path):
            separator = "\t" if kind == ".tsv" else _separator(_header(path))
        has_header = not any(isinstance(name, int) for name in given.values())
        read = partial(_read_delimited, separator=separator, has_header=has_header)
        place = partial(_place_of_row, path, separator, has_header)
    return _read_log(path, read, given, place)


def _read_log(
    path: Path, read: Any, given: dict[str, str | int | None], place: Callable[[int], str]
) -> Histories:
    head = read(path, None)
    columns = list(head.columns)
    chosen = {role: _pick(columns, role, name, path) for role, name in given.items()}
    names = [name for name in dict.fromkeys(chosen.values()) if name is not None]
    # Dates that are all written alike are read as dates; to try numbers first would take long.
    when = chosen["time"]
    dates = when is not None and len(head) > 0 and not is_number(head[when].iloc[0])
    frame = read(path, names, when if dates else None)
    parts = {
        role: None if name is None else LogColumn(frame[name], name, place)
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


def _read_delimited(
    path: Path,
    columns: list[Any] | None,
    date: Any = None,
    *,
    separator: str,
    has_header: bool,
) -> Any:
    """Return these columns as text, dates where they can be read; or the first line alone."""
    pandas = import_optional("pandas", "io")
    try:
        with damage_said(path):
            frame = pandas.read_csv(
                path,
                sep=separator,
                engine="c" if len(separator) == 1 else "python",
                header=0 if has_header else None,
                skipinitialspace=True,
                dtype=str if columns is None else {name: str for name in columns if name != date},
                keep_default_na=False,
                usecols=columns,
                nrows=1 if columns is None else None,
                parse_dates=[] if date is None else [date],
                date_format="ISO8601",
            )
    except pandas.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; a header line is expected.") from None
    except pandas.errors.ParserError as error:
        raise ValueError(f"{path} cannot be read as a table: {error}.") from None
    if columns is not None and not len(frame):
        raise ValueError(f"{path} holds a header and no line.")
    return frame


def _header(path: Path) -> str:
    with opened(path) as file:
        return file.readline().decode("utf-8-sig")


def _separator(header: str) -> str:
    """Return what parts the columns: what there is most of in the header, commas when in doubt."""
    mark = max(_SEPARATORS, key=header.count)
    return mark if mark in header or " " not in header else " "


def _place_of_row(path: Path, separator: str, has_header: bool, row: int) -> str:
    """Return the line on which a row of the table starts; empty lines are no rows."""
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        lines = csv.reader(text, delimiter=separator) if len(separator) == 1 else None
        n_before = row + has_header
        line = 1
        for record in lines or ([line] for line in text):
            if any(map(str.strip, record)) or len(record) > 1:
                if not n_before:
                    break
                n_before -= 1
            line = lines.line_num + 1 if lines else line + 1
    return f"{path}, line {line}"


def _read_parquet(path: Path, columns: list[Any] | None, date: Any = None) -> Any:
    """Return these columns, or none of the lines."""
    pandas = import_optional("pandas", "io")
    parquet = import_optional("pyarrow.parquet", "io")
    try:
        if columns is None:
            return parquet.read_schema(path).empty_table().to_pandas()
        return pandas.read_parquet(path, columns=columns)
    except Exception as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}.") from None


def _pick(columns: list[Any], role: str, name: str | int | None, path: Path) -> Any:
    if name is not None:
        if name not in columns:
            raise ValueError(f"{path} has no column {name!r} ({role}); it has {columns}.")
        return name
    guess = guess_column(columns, role)
    if guess is not None or role not in ("user", "item"):
        return guess
    if columns and isinstance(columns[0], int):
        raise ValueError(
            f"{path} is read without a header, because columns are given by position; so is the "
            f"{role} to be: {role}=..., or --{role} on the command line, 0 to {columns[-1]}."
        )
    if any(map(is_number, columns)):
        raise ValueError(
            f"{path} seems to have no header line: it starts with {columns}. Give the positions "
            "of the columns, counted from 0: user=0, item=1, time=3, or --user 0 --item 1 "
            "--time 3 on the command line."
        )
    raise ValueError(
        f"{path} has no column that looks like the {role}; it has {columns}. "
        f"Name it: {role}=..., or --{role} on the command line."
    )
