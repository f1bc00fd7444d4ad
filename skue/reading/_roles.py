"""Which columns of a table are read as the user, the item, the time and the weight."""

from __future__ import annotations

import logging
import re
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from skue._estimator import warn_caller
from skue.reading._column_names import (
    columns_named,
    is_number,
    may_be_time,
    may_be_weight,
    sounds_like_clock,
    sounds_like_time,
)
from skue.reading._columns import Log, log_of_table
from skue.reading._ids import shown
from skue.reading._table import Table, checked
from skue.reading._times import TIME_OF_DAY, looks_like_dates, times_of, unit_of
from skue.reading._values import Label, is_arrow

_DAY = 86_400
# Parts of text that suggest a date or a time of day.
_SAYS_TIME = re.compile(
    r"\b(19|20)[0-9]{2}[-/.][0-9]|[0-9][-/.](19|20)[0-9]{2}\b|\b[0-9]{1,2}:[0-9]{2}\b"
    r"|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ .,-]+[0-9]",
    re.I,
)


class ColumnsRead(NamedTuple):
    """Which columns of a log were read as what.

    Attributes
    ----------
    source : str
    roles : dict of role to name
        The columns of the user, the item, the time and the weight; None if there is none.
    unused : list
        The other columns.
    dates : list
        Unused columns that hold times, if no column was read as the time.
    doubtful : dict of name to value
        Unused columns that seem to hold times that cannot be read, if no column was read as the
        time, with a value of each; or columns that may hold the time of day, if the column of times
        holds days.
    first_row : dict of role to value
        How the first row was read.
    """

    source: str
    roles: dict[str, Any]
    unused: list[Any]
    dates: list[Any]
    doubtful: dict[Any, Any]
    first_row: dict[str, Any]

    def __str__(self) -> str:
        read = ", ".join(
            f"{role} = {name!r}" for role, name in self.roles.items() if name is not None
        )
        unused = f"; not read: {', '.join(map(repr, self.unused))}" if self.unused else ""
        first = ", ".join(f"{role} {value}" for role, value in self.first_row.items())
        first = f"; the first row is {first}" if first else ""
        return f"{self.source}: {read}{unused}{first}"

    @property
    def possible_weights(self) -> list[Any]:
        """Unused columns whose names are usual for weights, if no column was read as the weight."""
        return [] if self.roles["weight"] is not None else [*filter(may_be_weight, self.unused)]


def read_log(
    table: Table, names: dict[str, Any], *, decimal: str | None = None, **time_options: Any
) -> tuple[Log, ColumnsRead]:
    """Return a log, and tell which columns were read.

    Parameters
    ----------
    table : Table
    names : dict of role to name
        The columns of "user", "item", "time" and "weight". None is found by its name (a weight
        never is); a time of False means that no column is read as the time.
    decimal, **time_options : see :func:`skue.reading._columns.log_of_table`

    Raises
    ------
    ValueError
        If it is unclear which column is which, and for invalid values.
    """
    given = {role: name for role, name in names.items() if (role, name) != ("time", False)}
    roles = roles_of_columns(table, given)
    unused = [name for name in table.names if name not in roles.values()]
    dates: list[Any] = []
    doubtful: dict[Any, Any] = {}
    if "time" in given and roles["time"] is None:
        dates, doubtful = _times_among(table, unused)
    log = log_of_table(table, roles, decimal=decimal, **time_options)
    times = log.timestamps
    if times is not None and _are_days(times):
        doubtful = _clocks_among(table, unused)
    first = {}
    if len(log.users[0]):
        first = {"user": log.users[1][log.users[0][0]], "item": log.items[1][log.items[0][0]]}
        if times is not None:
            first["time"] = times[0]
    return log, ColumnsRead(_named(table), roles, unused, dates, doubtful, first)


def tell(columns: ColumnsRead) -> None:
    """Log which columns were read, and warn if times may have been missed."""
    hint = "".join(
        f". Column {name!r} is not used: weight={name!r}" for name in columns.possible_weights
    )
    logging.getLogger("skue").info("%s%s", columns, hint)
    doubt = doubt_of_times(columns)
    if doubt:
        warn_caller(doubt)


def doubt_of_times(columns: ColumnsRead) -> str:
    """Return a warning if times may have been missed, or empty text."""
    if columns.dates:
        name = columns.dates[0]
        return (
            f"{columns.source}: column {name!r} holds dates, but no column has a usual name for "
            f"times, so the order of the rows is used. Set time={name!r}, or time=False for no "
            "times."
        )
    if not columns.doubtful:
        return ""
    name, value = next(iter(columns.doubtful.items()))
    if columns.roles["time"] is None:
        return (
            f"{columns.source}: column {name!r} seems to hold times, such as {shown(value)}, that "
            f"cannot be read without help, so the order of the rows is used. Set time={name!r} and "
            "time_format= (the format of strptime, such as '%d.%m.%Y %H:%M'), or time=False for "
            "no times."
        )
    return (
        f"{columns.source}: the column of times, {columns.roles['time']!r}, holds days, and "
        f"{name!r} may hold the time of day, such as {shown(value)}. Events of one day are "
        "in the order of the rows. Write date and time of day into one column."
    )


def _are_days(times: np.ndarray) -> bool:
    return times.dtype.kind == "M" and bool((times == times.astype("datetime64[D]")).all())


def _named(table: Table) -> str:
    return table.source or "The frame"


def roles_of_columns(table: Table, given: dict[str, Any]) -> dict[str, Any]:
    """Return the column of each role: the given one, or the only one with a usual name.

    Raises
    ------
    ValueError
        If the table lacks a given column, or if no column or several can have a role. The message
        names them and the parameter.
    """
    named = {role: name for role, name in given.items() if name is not None}
    for role, name in named.items():
        if name not in table.names:
            raise ValueError(
                f"{_named(table)} has no column {name!r} ({role}); it has {table.names}."
            )
    others = [name for name in table.names if name not in named.values()]
    options = {role: columns_named(others, role) for role in given if role not in named}
    if "time" in options:
        options["time"] = _finest(table, options["time"], others)
    for name in chain(named.values(), *options.values()):
        n_columns = table.names.count(name)
        if n_columns > 1:
            raise ValueError(
                f"{_named(table)} has {n_columns} columns {name!r}. Rename all but one of them."
            )
    unclear = {
        role: names
        for role, names in options.items()
        if len(names) > 1 or (not names and role in ("user", "item"))
    }
    if unclear:
        if options.get("time") == [] and table.has_header:
            unclear |= {"time": dates} if (dates := _times_among(table, others)[0]) else {}
        raise _unclear(table, unclear)
    found = {role: names[0] if names else None for role, names in options.items()}
    return {role: named.get(role, found.get(role)) for role in given}


def _unclear(table: Table, unclear: dict[str, list[Any]]) -> ValueError:
    if not table.has_header:
        role = next(iter(unclear))
        return ValueError(
            f"Columns of {table.source} are given by position, so give the {role} column by "
            f"position too: {role}=..., from 0 to {table.names[-1]}."
        )
    if table.is_text and any(map(is_number, table.names)):
        return ValueError(
            f"{table.source} seems to have no header line: it starts with {table.names}. Give the "
            "positions of the columns, counted from 0, for example user=0, item=1, time=3."
        )
    set_one = [
        " or ".join(f"{role}={name!r}" for name in names) or f"{role}=..."
        for role, names in unclear.items()
    ]
    if "time" in unclear:
        set_one[-1] += " (or time=False to use the order of the rows)"
    return ValueError(
        f"{_named(table)}: which column is the {' and which the '.join(unclear)}? It has the "
        f"columns {table.names}. Set {', '.join(set_one)}"
    )


def _finest(table: Table, options: list[Any], others: list[Any]) -> list[Any]:
    """Return the column of times that tells the time most precisely, or all that are possible.

    Beside a column of days, a column of times of the same days is finer, and is the one to read.
    """
    also = [name for name in others if name not in options and sounds_like_time(name)]
    if not options or len(options) + len(also) == 1:
        return options
    rows = table.first_rows()
    seconds = {name: _seconds(rows[name], name) for name in (*options, *also) if name in rows}
    finer = [
        name
        for name in seconds
        if [name] != options
        and all(name == other or _refines(seconds, name, other) for other in options)
    ]
    return finer if len(finer) == 1 else options


def _seconds(column: Any, name: Any) -> np.ndarray | None:
    """Return times as seconds; None if they cannot be read."""
    try:
        values = checked(column, Label(str(name), str))
        times = times_of(values, Label(str(name), str))
    except ValueError:
        return None
    if times.dtype.kind == "M":
        return times.astype(np.int64) / 10**6
    return times if len(times) and unit_of(times) == "s" else None


def _refines(seconds: dict[Any, np.ndarray | None], name: Any, other: Any) -> bool:
    """Tell whether a column holds times of the days in another one."""
    fine, coarse = seconds.get(name), seconds.get(other)
    if fine is None or coarse is None or not len(fine):
        return False
    if (coarse % _DAY).any() or not (fine % _DAY).any():
        return False
    # The day may be that of another time zone.
    later = fine - coarse
    return bool((later >= -_DAY).all() and (later < 2 * _DAY).all())


def _times_among(table: Table, unused: list[Any]) -> tuple[list[Any], dict[Any, Any]]:
    """Return the columns that hold times, and those that only seem to, with a value of each.

    A column of numbers counts if its name suggests a time.
    """
    dates: list[Any] = []
    doubtful: dict[Any, Any] = {}
    for name, values in _values_of(table, unused).items():
        texts = values if isinstance(values, list) else []
        numbers = _as_numbers(texts) if texts else values
        says_so = sounds_like_time(name)
        if numbers is not None and numbers.dtype.kind in "iuf":
            if (says_so or may_be_time(name)) and unit_of(numbers) is not None:
                dates.append(name)
            elif says_so:
                doubtful[name] = values[0]
        elif not texts or looks_like_dates(texts):
            if texts or values.dtype.kind == "M":
                dates.append(name)
        elif says_so or 2 * sum(map(bool, map(_SAYS_TIME.search, texts))) > len(texts):
            doubtful[name] = values[0]
    return dates, doubtful


def _clocks_among(table: Table, unused: list[Any]) -> dict[Any, Any]:
    """Return the columns that may hold a time of day without the date, with a value of each."""
    found = {}
    for name, values in _values_of(table, list(filter(sounds_like_clock, unused))).items():
        texts = values if isinstance(values, list) else []
        numbers = _as_numbers(texts) if texts else values
        is_clock = any(map(TIME_OF_DAY.fullmatch, texts))
        if numbers is not None and numbers.dtype.kind in "iu":
            is_clock = unit_of(numbers) is None
        if is_clock:
            found[name] = values[0]
    return found


def _values_of(table: Table, names: list[Any]) -> dict[Any, Any]:
    """Return the first values of columns, without missing ones; text as a list."""
    found = {}
    for name, column in (table.first_rows() if names else {}).items():
        values: Any
        try:
            values = checked(column.drop_null(), Label("", str)) if name in names else []
        except ValueError:  # of a type that is not read
            continue
        if is_arrow(values):
            values = [text for text in values.to_pylist() if text.strip()]
        if len(values):
            found[name] = values
    return found


def _as_numbers(texts: list[str]) -> np.ndarray | None:
    if not all(map(is_number, texts)):
        return None
    return np.array([int(text) if text.strip().isdigit() else float(text) for text in texts])
