"""Where the figures of a comparison come from: log, period, command, versions and date."""

from __future__ import annotations

import platform
import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sklearn

from skue._version import __version__
from skue.histories._histories import Histories

# The years 1990 to 2100 in seconds.
_DATES_IN_SECONDS = (631_152_000, 4_133_980_800)


@dataclass(frozen=True)
class About:
    """Where the figures of a report come from.

    Attributes
    ----------
    log : str
        Name of the log, as given.
    n_users, n_events : int
        Size of the whole log.
    period : list of str
        Times of the first and the last event; empty without times.
    command : str
        The command line.
    date : str
        Start of the comparison.
    versions : dict
        Versions of skue, its dependencies and Python.
    """

    log: str
    n_users: int
    n_events: int
    period: list[str]
    command: str
    date: str
    versions: dict[str, str]


def about(log: str, histories: Histories, arguments: list[str]) -> About:
    """Describe a comparison of this log with these arguments of the command."""
    times = histories.timestamps
    ends = [] if times is None or not len(times) else [times.min(), times.max()]
    return About(
        log,
        len(histories),
        len(histories.codes),
        [moment(time) for time in ends],
        shlex.join(["python", "-m", "skue", *arguments]),
        datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        {
            "skue": __version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "Python": platform.python_version(),
        },
    )


def moment(time: Any) -> str:
    """Return a time as a date, or as a number if it cannot be a date in seconds."""
    if not isinstance(time, np.datetime64):
        first, last = _DATES_IN_SECONDS
        if not first <= time <= last:
            return f"{time:.15g}"
        time = np.datetime64(int(time), "s")
    return str(time.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")
