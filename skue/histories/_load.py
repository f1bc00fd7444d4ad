"""Histories from files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.reading._columns import Log
from skue.reading._roles import ColumnsRead, read_log, tell
from skue.reading._sequences import read_sequences
from skue.reading._table import check_text_options, checked_paths, is_table, open_table
from skue.reading._times import check_time_options
from skue.reading._values import invalid


def load_interactions(
    path: str | os.PathLike[str],
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    time: str | int | Literal[False] | None = None,
    weight: str | int | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    dayfirst: bool | None = None,
    time_format: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quotes: bool = True,
    decimal: Literal[".", ","] = ".",
) -> Histories:
    """Read a log from a file.

    Parameters
    ----------
    path : str or path, or list of them
        A ``.parquet`` file; a text table with a header line (CSV, TSV and the like, plain or
        ``.gz``); or a ``.txt`` file with one user per line (the user id, then item ids, oldest
        first, separated by spaces) or with one user and one item per line.
        A folder, a pattern such as ``"logs/*.parquet"`` and a list of files are read as one log.
    user, item, time : str or int, default=None
        Names of the columns. By default, usual names are found (``user_id``, ``CustomerID``,
        ``item_id``, ``asin``, ``timestamp``, ``purchased_at`` and so on). If several columns fit,
        name one, unless one of two columns of times is plainly finer. The logger ``skue`` tells
        which columns were read (level INFO). For a file without a
        header line, positions counted from 0. With ``time=False`` no column of times is read, and
        the order of the rows is used.
    weight : str or int, default=None
        Column of event weights. By default there are none, whatever the names.
    time_unit : {"s", "ms", "us", "ns"}, default=None
        Unit of times that are numbers. By default it is inferred: all numbers must be times
        between 1990 and 2100 in the same unit. Smaller numbers (counters) count as seconds.
    dayfirst : bool, default=None
        Whether the text 03/04/2026 means 3 April (True) or March 4 (False). Inferred from the
        other dates of the column by default.
    time_format : str, default=None
        How times in text are written, in the directives of ``strptime``, for example
        ``"%d.%m.%Y %H:%M"``. By default, the usual formats are tried.
    encoding : str, default="utf-8"
        Encoding of text, for example ``"cp1252"`` or ``"utf-16"``.
    delimiter : str, default=None
        One character, or ``"::"``. By default it is inferred from the first lines: a comma, tab,
        semicolon, bar, ``::`` or space.
    quotes : bool, default=True
        Whether fields may be quoted. If False, quote marks are ordinary characters.
    decimal : {".", ","}, default="."
        Decimal mark of weights in text.

    Warns
    -----
    UserWarning
        If no column of times is named or found, but a column holds dates, or seems to; if the
        times are days, and another column may hold the time of day; and if an id such as ``NA``
        that may stand for missing ids holds more than a tenth of the events.

    Returns
    -------
    histories : Histories
        Ids are integers if every id of the column is written as a plain integer (``7``, but not
        ``007``). Otherwise they are text, unchanged. Times are datetimes in UTC, or seconds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For an invalid file: for example a line with too many or too few fields, a missing column,
        a missing id, or times in several formats. The message names the line (the header is line
        1) and the way out.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skue import load_interactions
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> _ = path.write_text("user_id,item_id,date\\n1,tea,2026-01-02\\n1,cup,2026-01-01\\n")
    >>> load_interactions(path)[0]
    array(['cup', 'tea'], dtype=object)
    """
    names = {"user": user, "item": item, "time": time, "weight": weight}
    times = {"time_unit": time_unit, "dayfirst": dayfirst, "time_format": time_format}
    text = {"encoding": encoding, "delimiter": delimiter, "quotes": quotes, "decimal": decimal}
    histories, columns = read_interactions(path, names, times, text)
    if columns is not None:
        tell(columns)
    return histories


def read_interactions(
    path: Any, names: dict[str, Any], times: dict[str, Any], text: dict[str, Any]
) -> tuple[Histories, ColumnsRead | None]:
    """Read a log, and tell which columns were read; None for one user a line.

    Parameters
    ----------
    path : str or path, or list of them
    names, times, text : dict of str to value
        The options of :func:`load_interactions`: the columns of the roles, how times are written,
        and how delimited text is written.
    """
    paths = checked_paths(path)
    check_text_options(**text)
    check_time_options(**times)
    for role, name in names.items():
        is_name = isinstance(name, (str, int, type(None))) and not isinstance(name, bool)
        if not is_name and not (role == "time" and name is False):
            raise invalid(role, name, "the name or the position of a column, or None")
    given = {role: name for role, name in names.items() if name is not False}
    encoding, decimal = text["encoding"], text["decimal"]
    may_be_sequences = paths[0][1] == ".txt" and text["delimiter"] is None and len(paths) == 1
    if may_be_sequences and set(names.values()) <= {None} and not is_table(paths[0][0], encoding):
        return _histories_of_sequences(paths[0][0], encoding), None
    table = open_table(
        path, paths, given, **{name: text[name] for name in ("encoding", "delimiter", "quotes")}
    )
    log, columns = read_log(table, names, decimal=decimal if table.is_text else None, **times)
    return Histories._of_log(log), columns


def _histories_of_sequences(path: Path, encoding: str) -> Histories:
    users, items, offsets = read_sequences(path, encoding)
    codes, user_ids = users
    if len(user_ids) < len(codes):
        return Histories._of_log(Log(users, items, None, None))
    vocabulary = Vocabulary._trusted(items[1])
    return Histories._trusted(items[0], offsets, vocabulary, None, None, user_ids[codes])
