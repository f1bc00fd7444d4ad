"""Reading the log that the command line names."""

from __future__ import annotations

import argparse

from skue.histories._histories import Histories
from skue.histories._load import doubt_of_times, read_interactions

_DAY_FIRST = {None: None, "yes": True, "no": False}


def read_log(options: argparse.Namespace) -> tuple[Histories, str]:
    """Read the log with the options of the command line, and tell which columns were read.

    Raises
    ------
    ValueError
        If the file is invalid, or if it is not clear which columns are meant.
    """
    if options.no_time and options.time is not None:
        raise ValueError(f"--time {options.time} and --no-time cannot be combined. Remove one.")
    names = {role: getattr(options, role) for role in ("user", "item", "time", "weight")}
    if options.no_time:
        names["time"] = False
    times = {
        "time_unit": options.time_unit,
        "dayfirst": _DAY_FIRST[options.dayfirst],
        "time_format": options.time_format,
    }
    text = {name: getattr(options, name) for name in ("encoding", "delimiter", "quotes", "decimal")}
    histories, columns = read_interactions(options.interactions, names, times, text)
    if columns is None:
        return histories, ""
    doubt = doubt_of_times(columns)
    if columns.dates:
        raise ValueError(doubt)
    return histories, " ".join(filter(None, [f"{columns}.", doubt]))
