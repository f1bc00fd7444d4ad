"""What a comparison is of: log, period, command, versions and date."""

from __future__ import annotations

import platform
import shlex
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sklearn

from skue._version import __version__
from skue.compare._words import moment
from skue.histories._histories import Histories


@dataclass(frozen=True)
class About:
    """Where the figures of a report come from.

    Attributes
    ----------
    log : str
        Name of the log, as it was given.
    n_users, n_events : int
        All that the log holds.
    period : list of str
        Times of the first and of the last event; empty where there are no times.
    command : str
        The command line.
    date : str
        When the comparison began.
    versions : dict
        Of skue and what it stands on.
    """

    log: str
    n_users: int
    n_events: int
    period: list[str]
    command: str
    date: str
    versions: dict[str, str]


def about(log: str, histories: Histories, arguments: list[str]) -> About:
    """Describe a comparison of this log, asked for with these arguments."""
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
