"""Splits: hold out the newest events of users, or cut histories at points in time."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skue._estimator import check_positive_int, warn_caller
from skue.histories._clocks import as_of_end
from skue.histories._columns import moments_of
from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.kernels._arrays import kept_offsets, offsets_of, positions_of_ranges
from skue.kernels._clocks import end_of_log

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "D": 86_400, "W": 604_800}


@validate_params(
    {
        "histories": "no_validation",  # as_histories checks it
        "n_last": [Interval(Integral, 1, None, closed="left")],
        "by": [StrOptions({"event", "instant"})],
        "min_prefix": [Interval(Integral, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def leave_last_out(
    histories: Any,
    *,
    n_last: int = 1,
    by: Literal["event", "instant"] = "event",
    min_prefix: int = 1,
) -> tuple[Histories, np.ndarray]:
    """Hold out each user's newest events as targets.

    X keeps events of other users that are later than a target, so encoders see a little of the
    future. :func:`temporal_folds` avoids that.

    Events with a weight of zero or less are never targets. What comes after the newest event with a
    positive weight is left out.

    Parameters
    ----------
    histories : Histories or any form that :func:`skue.as_histories` reads
        The histories to cut, one per user.
    n_last : int, default=1
        Number of events (or instants) to hold out.
    by : {"event", "instant"}, default="event"
        ``"instant"`` holds out whole instants: all events that share the newest time. Use it for
        baskets, where the order of simultaneous events means nothing.
    min_prefix : int, default=1
        Number of events that must remain. Users with fewer are dropped with a warning. 0 keeps
        users without remaining events, to measure the cold start.

    Returns
    -------
    X : Histories
        The earlier events. ``X.user_ids`` are the users that were kept.
    y : ndarray of shape (n_users,)
        Item ids, or an object array of arrays for several held-out items.

    Raises
    ------
    ValueError
        If no user is left, or for ``by="instant"`` without timestamps.

    Examples
    --------
    >>> from skue import leave_last_out
    >>> X, y = leave_last_out([[3, 1, 4], [1, 5]])
    >>> list(X), y
    ([array([3, 1]), array([1])], array([4, 5]))
    """
    histories = as_histories(histories)
    if not histories._is_ordered:
        raise ValueError(
            "A matrix of users × items does not say which event was the last. Build histories from "
            "the log: Histories.from_frame(log, user=..., item=..., time=...)."
        )
    histories = until_last_like(histories)
    starts, cut = histories.offsets[:-1], histories.offsets[1:].copy()
    enough = np.ones(len(histories), dtype=bool)
    if by == "event":
        enough = histories.lengths >= n_last
        cut -= n_last
    else:
        _times_of(histories, "A split by time")
        for _ in range(n_last):
            enough &= cut > starts
            cut[enough] = first_of_instant(histories, cut[enough] - 1)
    stay = enough & (cut - starts >= min_prefix)
    if not stay.all():
        _report_dropped(histories, stay, n_last, by, min_prefix)
    X, targets = _cut(histories[stay], (cut - starts)[stay])
    if by == "event" and n_last == 1:
        return X, targets.item_ids[targets.codes]
    return X, _item_arrays(liked(targets))


def _report_dropped(
    histories: Histories, stay: np.ndarray, n_last: int, by: str, min_prefix: int
) -> None:
    likes = "" if histories.weights is None else " with a positive weight"
    why = f"each needs {n_last} {by}(s){likes} to hold out and {min_prefix} event(s) before"
    if stay.any():
        n_dropped = int((~stay).sum())
        warn_caller(f"{n_dropped} of {len(stay)} users are left out: {why}.")
        return
    way_out = "Give longer histories."
    if by == "instant" and (histories.lengths >= n_last + min_prefix).any():
        way_out = (
            "All events of a user have the same time here. Check the times, or leave them out to "
            "hold out by the order of events."
        )
    raise ValueError(f"No user of {len(stay)} is long enough: {why}. {way_out}")


def temporal_folds(
    histories: Any, n_splits: int = 3, *, cutoffs: Any = None
) -> tuple[Histories, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Cut histories at points in time, for cross-validation that never sees the future.

    Each cut-off gives training rows and test rows. In a training row, the target is the user's
    newest instant up to the cut-off, and the prefix is everything before it. In a test row, the
    prefix is everything up to the cut-off, and the target is the first instant after it and up to
    the next cut-off. No training row contains an event after the cut-off. Events with a weight of
    zero or less are never targets.

    Parameters
    ----------
    histories : Histories or any form that :func:`skue.as_histories` reads
        With timestamps.
    n_splits : int, default=3
        Number of cut-offs. They divide the events into ``n_splits + 1`` equal parts.
    cutoffs : array-like of shape (n_splits,), default=None
        Increasing times to use as cut-offs instead.

    Returns
    -------
    X : Histories
        The prefixes, one row per user, cut-off and kind.
    y : ndarray of shape (n_rows,), object
        The item ids of each row's target instant.
    cv : list of (train, test) index arrays
        For ``GridSearchCV(cv=cv)``.

    Raises
    ------
    ValueError
        For histories without timestamps, cut-offs that do not increase, and a cut-off without
        training or test rows.

    Warns
    -----
    UserWarning
        If events are later than the end of the log, and taken as of it.

    Examples
    --------
    >>> from skue import Histories, temporal_folds
    >>> histories = Histories.from_lists([[1, 2, 3, 4]], timestamps=[[10, 20, 30, 40]])
    >>> X, y, cv = temporal_folds(histories, cutoffs=[25])
    >>> [X[row].tolist() for row in range(len(X))], [target.tolist() for target in y]
    ([[1], [1, 2]], [[2], [3]])
    >>> cv
    [(array([0]), array([1]))]
    """
    histories = as_of_end(as_histories(histories))
    times = _times_of(histories, "temporal_folds")
    cutoffs = _checked_cutoffs(times, n_splits, cutoffs)
    bounds = [*cutoffs, None]
    batches, targets, cv = [], [], []
    n_rows = 0
    for cutoff, following in itertools.pairwise(bounds):
        until = histories._keep_events(times <= cutoff)
        train, y_train = _last_instants(until_last_like(until))
        with_likes = histories._keep_events((times <= cutoff) | is_liked(histories))
        later = _times_of(with_likes, "temporal_folds")
        in_window = later > cutoff if following is None else (later > cutoff) & (later <= following)
        test, y_test = next_instants(with_likes, later <= cutoff, in_window)
        if not len(train) or not len(test):
            raise ValueError(
                f"The cut-off {cutoff} leaves no {'test' if len(train) else 'training'} row. "
                "Choose cut-offs with events on both sides, or fewer splits."
            )
        numbers = np.arange(n_rows, n_rows + len(train) + len(test))
        cv.append((numbers[: len(train)], numbers[len(train) :]))
        batches += [train, test]
        targets += [y_train, y_test]
        n_rows += len(numbers)
    return _concatenate(batches), np.concatenate(targets), cv


def split_at(histories: Any, cutoff: Any, *, horizon: Any = None) -> tuple[Histories, Histories]:
    """Split every history at a point in time, into features and labels of the same users.

    ``past`` holds the events up to the cut-off, and ``future`` those after it. Both have the users
    of the histories in the same rows, with their user ids and features. Users without an event
    before or after the cut-off stay, with an empty row. So labels are one line each:

    - churned: ``future.lengths == 0``,
    - value: ``HistoryStatistics(columns=["weight_sum"]).fit_transform(future)``,
    - propensity: ``[np.isin(items, category).any() for items in future]``.

    Parameters
    ----------
    histories : Histories or any form that :func:`skue.as_histories` reads
        With timestamps.
    cutoff : datetime, str, number, or array-like of shape (n_cutoffs,)
        Of the kind of the timestamps. An event at the cut-off is in the past, as in
        :func:`temporal_folds`. A date is its first moment, so in a log of dates, the events of that
        day are in the past. With several cut-offs, the rows are all users at the first one, then
        all users at the second, and so on.
    horizon : timedelta, str such as "90D", or number of seconds, default=None
        How long the future is: an event at ``cutoff + horizon`` is the last that belongs to it.
        The units of text are s, m (minutes), h, D and W. By default, the future ends with the log.

    Returns
    -------
    past, future : Histories
        With n_users rows, or n_users × n_cutoffs. They share ``item_ids``.

    Raises
    ------
    ValueError
        For histories without timestamps, a cut-off of another kind than the timestamps or NaT, and
        a horizon that is not a positive length of time.

    Warns
    -----
    UserWarning
        If no event is before or after a cut-off, or if the log ends within its horizon: its labels
        are then those of a shorter time.

    Notes
    -----
    With several cut-offs, a user has several rows. In cross-validation, keep them together:
    ``GroupKFold`` with ``groups=np.tile(np.arange(n_users), n_cutoffs)``.

    :class:`HistoryStatistics` describes all rows as of one ``now``: describe each cut-off on its
    own, and stack the results.

    What is learned from ``past`` knows nothing of the future. That includes item vectors: fit
    encoders on ``past``, not on the whole log.

    Examples
    --------
    >>> import numpy as np
    >>> from skue import Histories, HistoryStatistics, split_at
    >>> histories = Histories.from_lists(
    ...     [["tea", "cup", "tea"], ["saw"]],
    ...     timestamps=[["2026-01-01", "2026-02-01", "2026-03-01"], ["2026-01-15"]],
    ...     weights=[[3, 20, 4], [50]],
    ... )
    >>> past, future = split_at(histories, "2026-01-31", horizon="28D")
    >>> [items.tolist() for items in past], [items.tolist() for items in future]
    ([['tea'], ['saw']], [['cup'], []])
    >>> future.lengths == 0
    array([False,  True])
    >>> HistoryStatistics(columns=["weight_sum"]).fit_transform(future).ravel()
    array([20.,  0.])
    >>> [bool(np.isin(items, ["cup", "pot"]).any()) for items in future]
    [True, False]
    """
    histories = as_histories(histories)
    times = _times_of(histories, "split_at")
    if np.ndim(cutoff) > 1 or not np.size(cutoff):
        raise ValueError(f"cutoff must be one time or a list of times, got {cutoff!r}.")
    cutoffs = moments_of(cutoff, times, "cutoff", "the timestamps of the histories")
    length: Any = None if horizon is None else _length_of_time(horizon)
    if length is not None and times.dtype.kind == "f":
        length = length / np.timedelta64(1, "s")
    end = end_of_log(times)[0] if len(times) else None
    pasts, futures = [], []
    for at in cutoffs:
        before = times <= at
        after = ~before if length is None else ~before & (times <= at + length)
        for part, marks in (("up to", before), ("in the future of", after)):
            if not marks.any():
                warn_caller(f"No event is {part} the cut-off {at}. The log ends at {end}.")
        if length is not None and after.any() and end < at + length:
            warn_caller(
                f"The log ends at {end}, within the horizon of the cut-off {at}, so labels of its "
                "future are those of a shorter time. Use an earlier cut-off or a shorter horizon."
            )
        pasts.append(histories._keep_events(before))
        futures.append(histories._keep_events(after))
    return _concatenate(pasts), _concatenate(futures)


def _length_of_time(horizon: Any) -> np.timedelta64:
    """Return a length of time in microseconds."""
    seconds: Any = horizon
    if isinstance(horizon, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhDW])", horizon.strip())
        seconds = match and float(match[1]) * _UNIT_SECONDS[match[2]]
    elif isinstance(horizon, (datetime.timedelta, np.timedelta64)):
        seconds = np.timedelta64(horizon) / np.timedelta64(1, "s")
    if isinstance(seconds, Real) and 0 < float(seconds) < np.inf:
        return np.timedelta64(round(float(seconds) * 1e6), "us")
    raise ValueError(
        "horizon must be a positive length of time, such as '90D', '12h', a timedelta or a number "
        f"of seconds, got {horizon!r}."
    )


def next_instants(
    histories: Histories, before: np.ndarray, in_window: np.ndarray
) -> tuple[Histories, np.ndarray]:
    """Return the prefixes up to a cut-off, and the first instants of the window after it.

    Parameters
    ----------
    histories : Histories
    before, in_window : ndarray of shape (n_events,), bool
        Mark the events up to the cut-off, and those of the window. Users without either are left
        out.
    """
    n_before = np.diff(kept_offsets(histories.offsets, before))
    active = np.diff(kept_offsets(histories.offsets, in_window)) > 0
    users = np.flatnonzero(active & (n_before > 0))
    first = histories.offsets[users] + n_before[users]
    stop = _edge_of_instant(histories, first, np.less_equal)
    until = histories._with_events(
        positions_of_ranges(histories.offsets[users], stop - histories.offsets[users]),
        offsets_of(stop - histories.offsets[users]),
        users,
    )
    X, targets = _cut(until, n_before[users])
    return X, _item_arrays(targets)


def _last_instants(histories: Histories) -> tuple[Histories, np.ndarray]:
    """Return the prefixes and the newest instants of users with an earlier event."""
    users = np.flatnonzero(histories.lengths > 0)
    last = first_of_instant(histories, histories.offsets[1:][users] - 1)
    n_kept = last - histories.offsets[:-1][users]
    users, n_kept = users[n_kept > 0], n_kept[n_kept > 0]
    X, targets = _cut(histories[users], n_kept)
    return X, _item_arrays(targets)


def _checked_cutoffs(times: np.ndarray, n_splits: int, cutoffs: Any) -> np.ndarray:
    if cutoffs is None:
        check_positive_int("n_splits", n_splits)
        ordered = np.sort(times)
        at = np.arange(1, n_splits + 1) * len(ordered) // (n_splits + 1)
        cutoffs = np.unique(ordered[at - 1]) if len(ordered) > n_splits else ordered[:0]
        if len(cutoffs) < n_splits:
            raise ValueError(
                f"{len(times)} events cannot be divided into {n_splits + 1} periods. "
                "Use fewer splits, or pass cutoffs."
            )
        return cutoffs
    cutoffs = moments_of(cutoffs, times, "cutoffs", "the timestamps of the histories")
    if cutoffs.ndim != 1 or not len(cutoffs) or (cutoffs[1:] <= cutoffs[:-1]).any():
        raise ValueError(f"cutoffs must be increasing times, got {cutoffs.tolist()}.")
    return cutoffs


def _times_of(histories: Histories, what: str) -> np.ndarray:
    if histories.timestamps is None:
        raise ValueError(
            f"{what} needs histories with timestamps, but these have none. Pass them with "
            "Histories.from_frame(..., time=...) or from_lists(..., timestamps=...)."
        )
    return histories.timestamps


def _cut(histories: Histories, n_kept: np.ndarray) -> tuple[Histories, Histories]:
    """Return each user's first ``n_kept`` events, and the others."""
    n_rest = histories.lengths - n_kept
    head = positions_of_ranges(histories.offsets[:-1], n_kept)
    tail = positions_of_ranges(histories.offsets[:-1] + n_kept, n_rest)
    return (
        histories._with_events(head, offsets_of(n_kept), slice(None)),
        histories._with_events(tail, offsets_of(n_rest), slice(None)),
    )


def _item_arrays(histories: Histories) -> np.ndarray:
    """Return the item ids of each user, as an object array of arrays."""
    arrays = np.empty(len(histories), dtype=object)
    for row, items in enumerate(histories):
        arrays[row] = items
    return arrays


def _concatenate(batches: list[Histories]) -> Histories:
    """Concatenate batches that share their item ids."""
    if len(batches) == 1:
        return batches[0]

    def joined(name: str) -> np.ndarray | None:
        columns = [getattr(batch, name) for batch in batches]
        return None if columns[0] is None else np.concatenate(columns)

    names = ("codes", "timestamps", "weights", "user_ids", "user_features")
    lengths = np.concatenate([batch.lengths for batch in batches])
    return batches[0]._replace(
        offsets=offsets_of(lengths), **{name: joined(name) for name in names}
    )


def is_liked(histories: Histories) -> np.ndarray:
    """Mark the events with a positive weight, shape (n_events,). Without weights, all have one."""
    if histories.weights is None:
        return np.ones(len(histories.codes), dtype=bool)
    return histories.weights > 0


def until_last_like(histories: Histories) -> Histories:
    """Cut histories after their newest liked instant, of which only liked events are kept."""
    marks = is_liked(histories)
    if marks.all():
        return histories
    position = np.arange(len(marks))
    start, last = (np.repeat(at, histories.lengths) for at in newest_liked(histories))
    return histories._keep_events((position < start) | ((position <= last) & marks))


def liked(histories: Histories) -> Histories:
    """Return the histories without events whose weight is zero or less."""
    marks = is_liked(histories)
    return histories if marks.all() else histories._keep_events(marks)


def first_of_instant(histories: Histories, events: np.ndarray) -> np.ndarray:
    """Return the first event with the same user and time. Without times, each event is an instant.

    Parameters
    ----------
    histories : Histories
    events : ndarray of shape (n,)
        Positions of events.
    """
    return events if histories.timestamps is None else _edge_of_instant(histories, events, np.less)


def _edge_of_instant(
    histories: Histories, events: np.ndarray, is_before: Callable[..., np.ndarray]
) -> np.ndarray:
    """Return the first event of the same user whose time is not before that of the event.

    With ``np.less``, this is the first event of the instant, with ``np.less_equal`` the one after
    the last. It is found by bisection, because the times of a user are sorted.
    """
    times = _times_of(histories, "A split by time")
    users = np.searchsorted(histories.offsets, events, side="right") - 1
    low, high, sought = histories.offsets[users], histories.offsets[users + 1], times[events]
    while (low < high).any():
        middle = (low + high) // 2
        later = low < high
        later[later] = is_before(times[middle[later]], sought[later])
        low, high = np.where(later, middle + 1, low), np.where(later, high, middle)
    return low


def newest_liked(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Return where each user's newest instant with a liked event starts, and its last liked event.

    Without times, each event is an instant. Users without a liked event get the position of their
    first event, and the one before it.
    """
    at = np.where(is_liked(histories), np.arange(len(histories.codes)), -1)
    starts = histories.offsets[:-1].copy()
    last = starts - 1
    filled = histories.lengths > 0
    if filled.any():
        last[filled] = np.maximum(np.maximum.reduceat(at, starts[filled]), last[filled])
    has = last >= starts
    starts[has] = first_of_instant(histories, last[has])
    return starts, last


def newest_starts(
    offsets: np.ndarray,
    first_of: Callable[[np.ndarray], np.ndarray],
    *,
    n_events: int | np.ndarray = 1,
    n_new: np.ndarray | None = None,
) -> np.ndarray:
    """Return where the events to hold out of each user start, shape (n_users,).

    They are the ``n_events`` newest events, and all others of the same instant. If nothing would
    remain before them, or if they are not all among the ``n_new`` newest, they are the newest
    instant alone. If that does not fit either, nothing is held out: the start is the end.

    Parameters
    ----------
    offsets : ndarray of shape (n_users + 1,)
    first_of : callable
        Returns the first events of the instants of events, as :func:`first_of_instant` does.
    n_events, n_new : int or ndarray of shape (n_users,)
    """
    starts, stops = offsets[:-1], offsets[1:]
    oldest = starts if n_new is None else stops - np.minimum(n_new, stops - starts)
    found = stops.copy()
    for n_newest in (1, n_events):
        reach = np.maximum(stops - n_newest, starts)
        able = np.flatnonzero(stops > starts)
        first = stops.copy()
        first[able] = first_of(reach[able])
        fits = (first > starts) & (first >= oldest)
        found[fits] = first[fits]
    return found


def marked_from(offsets: np.ndarray, starts: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Mark the events of some users from a position on, shape (n_events,), bool."""
    marks = np.zeros(offsets[-1], dtype=bool)
    stops = offsets[1:][users]
    marks[positions_of_ranges(starts[users], stops - starts[users])] = True
    return marks


def newest_instants(
    histories: Histories,
    share: float,
    random_state: np.random.RandomState,
    *,
    n_most: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose users, and mark their newest instant with a liked event and all that follows.

    A share of the users with an earlier event is chosen, at most ``n_most``.

    Returns
    -------
    rows : ndarray of shape (n_chosen,)
        Rows of the chosen users.
    held_out : ndarray of shape (n_events,), bool
    """
    newest, _ = newest_liked(histories)
    able = np.flatnonzero(newest > histories.offsets[:-1])
    n_chosen = round(share * len(able))
    if n_most is not None:
        n_chosen = min(n_chosen, n_most)
    rows = np.sort(random_state.permutation(able)[:n_chosen])
    return rows, marked_from(histories.offsets, newest, rows)
