"""Histories from files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from skue._estimator import warn_caller
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.reading._columns import Log
from skue.reading._date_columns import date_like_columns
from skue.reading._log_files import (
    Names,
    TextOptions,
    check_names,
    checked_path,
    is_table,
    log_of_file,
)
from skue.reading._sequences import Sequences, read_sequences


def load_interactions(
    path: str | os.PathLike[str],
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    time: str | int | Literal[False] | None = None,
    weight: str | int | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    dayfirst: bool | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quotes: bool = True,
    decimal: Literal[".", ","] = ".",
) -> Histories:
    """Read a log from a file.

    Parameters
    ----------
    path : str or path
        A ``.parquet`` file; a text table with a header line (CSV, TSV and the like, plain or
        ``.gz``); or a ``.txt`` file with one user per line (the user id, then item ids, oldest
        first, separated by spaces) or with one user and one item per line.
    user, item, time : str or int, default=None
        Names of the columns. By default, usual names are found (``user_id``, ``CustomerID``,
        ``item_id``, ``asin``, ``timestamp``, ``purchased_at`` and so on). For a file without a
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
        If no column of times is named or found, but a column holds dates.

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
    path, kind = checked_path(path)
    text = TextOptions(encoding, delimiter, quotes, decimal)
    text.check()
    names = {"user": user, "item": item, "time": time, "weight": weight}
    if time is False:
        del names["time"]
    check_names(names)
    may_be_sequences = kind == ".txt" and delimiter is None and set(names.values()) == {None}
    if may_be_sequences and not is_table(path, encoding):
        return _histories_of(read_sequences(path, encoding))
    log = log_of_file(path, kind, names, time_unit=time_unit, dayfirst=dayfirst, text=text)
    if log.timestamps is None and "time" in names:
        _warn_of_unread_dates(path, names, text)
    return Histories._of_log(log)


def _warn_of_unread_dates(path: Path, names: Names, text: TextOptions) -> None:
    if any(isinstance(name, int) for name in names.values()):
        return
    looked_at = date_like_columns(
        path, encoding=text.encoding, delimiter=text.delimiter, quotes=text.quotes
    )
    dates = [name for name in looked_at if name not in names.values()]
    if dates:
        warn_caller(
            f"{path}: column {dates[0]!r} holds dates, but no column has a usual name for times, "
            f"so the order of the rows is used. Set time={dates[0]!r}, or time=False for no times."
        )


def _histories_of(sequences: Sequences) -> Histories:
    users, items, offsets = sequences
    if sequences.are_pairs:
        return Histories._of_log(Log(users, items, None, None))
    codes, item_ids = items
    user_codes, user_ids = users
    return Histories._trusted(
        codes, offsets, Vocabulary._trusted(item_ids), None, None, user_ids[user_codes]
    )
