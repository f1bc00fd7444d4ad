"""Events with a wrong clock: later than the end of the log that they are in."""

from __future__ import annotations

import numpy as np

from skue._estimator import warn_caller
from skue.histories._histories import Histories
from skue.kernels._clocks import end_of_log
from skue.reading._ids import shown


def as_of_end(histories: Histories, times: np.ndarray | None = None) -> Histories:
    """Set times after the end of the log to it, with a warning that shows one of them.

    Parameters
    ----------
    histories : Histories
    times : ndarray of shape (n_events,), default=None
        The times of a log that the histories are a part of; by default their own.
    """
    own = histories.timestamps
    if own is None or not len(own):
        return histories
    end, n_later = end_of_log(own if times is None else times)
    later = np.flatnonzero(own > end) if n_later else np.empty(0, dtype=np.intp)
    if not len(later):
        return histories
    warn_caller(
        f"{len(later)} events are later than {end}, where the log ends, such as "
        f"{described(histories, later[0])}. They are taken as if they were of that time. Correct "
        "the clock that they come from."
    )
    return histories._replace(timestamps=np.minimum(own, end))


def described(histories: Histories, at: int) -> str:
    """Describe an event by its item, time and user."""
    assert histories.timestamps is not None
    row = int(np.searchsorted(histories.offsets, at, side="right")) - 1
    ids = histories.user_ids
    user = f"row {row}" if ids is None else f"user {shown(ids[row])}"
    return (
        f"{shown(histories.item_ids[histories.codes[at]])} at {histories.timestamps[at]} of {user}"
    )
