"""Reading the log that the command line names."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from skue.histories._histories import Histories
from skue.histories._load import load_interactions
from skue.reading._column_names import guess_column, is_number, looks_like_a_log
from skue.reading._columns import columns_of_times
from skue.reading._table import check_text_options, checked_path, open_table

_ROLES = ("user", "item", "time", "weight")
_DAY_FIRST = {None: None, "yes": True, "no": False}


def read_log(options: argparse.Namespace) -> Histories:
    """Read the log with the options of the command line.

    Raises
    ------
    ValueError
        If the file is invalid, or if columns have to be named. The error lists all of them,
        including columns of dates without a usual name.
    """
    if options.no_time and options.time is not None:
        raise ValueError(f"--time {options.time} and --no-time cannot be combined. Remove one.")
    names = {role: getattr(options, role) for role in _ROLES}
    text = {name: getattr(options, name) for name in ("encoding", "delimiter", "quotes")}
    check_text_options(**text, decimal=options.decimal)
    if any(isinstance(name, int) for name in names.values()):
        _refuse_header(options.interactions, text)
        if names["time"] is None and not options.no_time:
            _refuse_unused_dates(options.interactions, names, text)
    else:
        _refuse_unnamed_columns(options.interactions, names, text, no_time=options.no_time)
    return load_interactions(
        options.interactions,
        **{**names, "time": False if options.no_time else names["time"]},
        time_unit=options.time_unit,
        dayfirst=_DAY_FIRST[options.dayfirst],
        **text,
        decimal=options.decimal,
    )


def _refuse_header(path: str, text: dict[str, Any]) -> None:
    """Raise if columns are given by position although the first line is a header."""
    columns = _columns(path, dict.fromkeys(_ROLES), text)
    if columns is not None and any(guess_column(columns, role) is not None for role in _ROLES):
        raise ValueError(
            f"{path}: columns can be given by position only if there is no header line, but the "
            f"first line is {columns}. Give the names of the columns."
        )


def _refuse_unused_dates(path: str, names: dict[str, Any], text: dict[str, Any]) -> None:
    """Raise if columns are given by position and another column holds dates."""
    table = open_table(*checked_path(path), dict.fromkeys(_ROLES), **text)
    first_line, dates = table.names, columns_of_times(table)
    unused = [
        position
        for position, value in enumerate(first_line)
        if value in dates and position not in names.values()
    ]
    if unused:
        named = " or ".join(f"--time {position}" for position in unused)
        raise ValueError(
            f"{path}: column {unused[0]} holds dates, such as {first_line[unused[0]]!r}. Add "
            f"{named} (or --no-time to use the order of the lines)."
        )


def _refuse_unnamed_columns(
    path: str, names: dict[str, Any], text: dict[str, Any], *, no_time: bool
) -> None:
    columns = _columns(path, names, text)
    if columns is None:
        return
    unnamed = [
        role
        for role in ("user", "item")
        if names[role] is None and guess_column(columns, role) is None
    ]
    dates = []
    if names["time"] is None and not no_time and guess_column(columns, "time") is None:
        table = open_table(*checked_path(path), names, **text)
        dates = [name for name in columns_of_times(table) if name not in names.values()]
    if not unnamed and not dates:
        return
    options = [f"--{role} COLUMN" for role in unnamed]
    if dates:
        named = " or ".join(f"--time {shlex.quote(str(name))}" for name in dates)
        options.append(f"{named} (or --no-time to use the order of the lines)")
    asked = [*unnamed, *(["time"] if dates else [])]
    raise ValueError(
        f"{path}: which column is the {' and which the '.join(asked)}? It has the columns "
        f"{columns}. Add {' '.join(options)}."
    )


def _columns(path: str, names: dict[str, Any], text: dict[str, Any]) -> list[str] | None:
    """Return the names of the columns, or None without a header."""
    checked, kind = checked_path(path)
    table = open_table(checked, kind, names, **text)
    if not table.is_text:
        return table.names
    has_sequences = kind == ".txt" and set(names.values()) == {None} and text["delimiter"] is None
    if has_sequences and not looks_like_a_log(table.names):
        return None
    # A first line with numbers is not a header. The reader raises an error that says so.
    return None if any(map(is_number, table.names)) else table.names
