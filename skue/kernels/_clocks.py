"""Times as seconds, and the end of a log that a few events with a wrong clock do not move."""

from __future__ import annotations

from typing import Any

import numpy as np

# The end is where a thousandth of all events has come; in small logs 2 %, but at most 10 events.
_SHARE, _SMALL_SHARE, _ENOUGH = 0.001, 0.02, 10
# How far events may go on after the newest k: as long as ten times the k before, or 5 % of the log.
_TIMES_BEFORE, _PART_OF_SPAN = 10, 20


def as_seconds(timestamps: np.ndarray) -> np.ndarray:
    """Return datetimes as seconds since 1970, numbers as they are."""
    if timestamps.dtype.kind == "M":
        return timestamps.astype("datetime64[us]").astype(np.int64) / 1e6
    return timestamps


def end_of_log(times: np.ndarray) -> tuple[Any, int]:
    r"""Return the time of the newest event whose clock is plausible, and how many are later.

    Let :math:`t_k` be the time of the k-th newest event, with k a thousandth of the events, or if
    that is more, 2 % of them but at most 10. An event is plausible up to

    .. math:: t_k + \max(10\,(t_k - t_{2k}),\ (t_k - t_\text{first}) / 20),

    with :math:`t_\text{first}` the time of the k-th oldest event: the log goes on for a while after
    :math:`t_k`, but fewer than k events in a distant future are wrong clocks. In logs of fewer
    than 75 events, all times are plausible.

    Parameters
    ----------
    times : ndarray of shape (n_events,), float or datetime64
        At least one.

    Returns
    -------
    end : float or datetime64
    n_later : int

    Examples
    --------
    >>> import numpy as np
    >>> from skue.kernels._clocks import end_of_log
    >>> end_of_log(np.append(np.arange(1000.0), 1e9))
    (np.float64(999.0), 1)
    """
    n_events = len(times)
    k = max(round(_SHARE * n_events), min(_ENOUGH, round(_SMALL_SHARE * n_events)))
    if k < 2:
        return times.max(), 0
    places = [k - 1, n_events - 2 * k, n_events - k]
    first, before, enough = np.partition(times, places)[places]
    margin = max(_TIMES_BEFORE * (enough - before), (enough - first) / _PART_OF_SPAN)
    plausible = times[times <= enough + margin]
    return plausible.max(), n_events - len(plausible)
