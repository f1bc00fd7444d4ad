"""Splitting a log into training histories, queries and held-out items."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from skue.histories._histories import Histories
from skue.histories._splits import is_liked, leave_last_out, next_instants, until_last_like
from skue.kernels._arrays import owners, starts_of_runs

_SHARE_BEFORE_CUTOFF = 0.8
# Enough users to measure recall to within .005 (95 %).
_SCORED_USERS = 50_000
# The years 1990 to 2100 in seconds.
_DATES_IN_SECONDS = (631_152_000, 4_133_980_800)


@dataclass
class Split:
    """Training histories, queries and held-out items.

    Attributes
    ----------
    train, queries : Histories
    held_out : ndarray of shape (n_users,)
    unit : {"event", "instant"}
        What is held out of each history: the last event, or all events of the last time.
    simultaneous_share : float
        Share of users whose last two events have the same time.
    again_share : float
        Share of events whose item the user has had before.
    left_out : dict
        Reasons why users are not scored, with the number of users.
    cutoff : str or None
        The time up to which events are training data.
    n_not_scored : int
        Number of users that could be scored but were not drawn.
    has_dislikes : bool
        Whether there are events with a weight of zero or less. They are never held out.
    """

    train: Histories
    queries: Histories
    held_out: np.ndarray
    unit: str
    simultaneous_share: float
    again_share: float
    left_out: dict[str, int] = field(default_factory=dict)
    cutoff: str | None = None
    n_not_scored: int = 0
    has_dislikes: bool = False


def split_log(histories: Histories, by: str) -> Split:
    """Hold out the last event of each user, or with times all events of the last instant.

    With ``by="time"``, the training data ends at one point in time, and the first instant of each
    user after it is held out.

    Raises
    ------
    ValueError
        If no user has events before the held-out ones.
    """
    histories = _ordered_within_instants(histories)
    split = _by_time(histories) if by == "time" else _by_last(until_last_like(histories))
    split.has_dislikes = not is_liked(histories).all()
    return with_at_most(_SCORED_USERS, split)


def inner_split(split: Split) -> Split:
    """Hold out once more inside the training histories, to choose parameters."""
    queries, held_out = _last_out(until_last_like(split.train), split.unit)
    return replace(split, train=queries, queries=queries, held_out=held_out)


def with_at_most(n_users: int, split: Split) -> Split:
    """Score at most this many users, drawn at random. All users stay in the training data."""
    if len(split.queries) <= n_users:
        return split
    drawn = drawn_users(len(split.queries), n_users)
    return replace(
        split,
        queries=split.queries[drawn],
        held_out=split.held_out[drawn],
        n_not_scored=len(split.queries) - n_users,
    )


def drawn_users(n_users: int, n_drawn: int) -> np.ndarray:
    """Return the rows of users drawn at random, in order. The draw is always the same."""
    return np.sort(np.random.default_rng(0).choice(n_users, n_drawn, replace=False))


def moment(time: Any) -> str:
    """Return a time as a date, or as a number if it cannot be a date in seconds."""
    if not isinstance(time, np.datetime64):
        first, last = _DATES_IN_SECONDS
        if not first <= time <= last:
            return f"{time:.15g}"
        time = np.datetime64(int(time), "s")
    return str(time.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")


def _last_out(histories: Histories, unit: str) -> tuple[Histories, np.ndarray]:
    with warnings.catch_warnings():
        # The command prints how many users are left out.
        warnings.filterwarnings("ignore", message=".* users are left out")
        return leave_last_out(histories, by=unit)


def _by_last(histories: Histories) -> Split:
    unit = "event" if histories.timestamps is None else "instant"
    queries, held_out = _last_out(histories, unit)
    n_empty = int((histories.lengths == 0).sum())
    n_single = int((histories.lengths == 1).sum())
    likes = "" if histories.weights is None else " with a positive weight"
    left_out = {
        f"have no event{likes}": n_empty,
        "have one event only": n_single,
        "have all of their events at one time": len(histories) - len(queries) - n_single - n_empty,
    }
    shares = _simultaneous_share(histories), _again_share(histories)
    return Split(queries, queries, held_out, unit, *shares, left_out)


def _by_time(histories: Histories) -> Split:
    times = histories.timestamps
    if times is None:
        raise ValueError("--split time needs a log with a time column. Name it with --time NAME.")
    cutoff = np.sort(times)[int(_SHARE_BEFORE_CUTOFF * (len(times) - 1))]
    shown = moment(cutoff)
    train = histories._keep_events(times <= cutoff)
    histories = histories._keep_events((times <= cutoff) | is_liked(histories))
    times = histories.timestamps
    has_past = train.lengths > 0
    left_out = {
        f"have nothing after {shown}": int((train.lengths == histories.lengths).sum()),
        f"have nothing up to {shown}": int((~has_past).sum()),
    }
    if sum(left_out.values()) == len(histories):
        reasons = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        raise ValueError(
            f"--split time: of {len(histories)} users {reasons}, so no users are left to score. "
            "Use --split last."
        )
    queries, held_out = next_instants(histories, times <= cutoff, times > cutoff)
    shares = _simultaneous_share(histories), _again_share(histories)
    return Split(train[has_past], queries, held_out, "instant", *shares, left_out, shown)


def _again_share(histories: Histories) -> float:
    """Return the share of events whose item the user has had before.

    Events of the same user, item and time count as one, as they are duplicate lines.
    """
    pairs = owners(histories.offsets) * np.int64(len(histories.item_ids)) + histories.codes
    order = np.argsort(pairs, kind="stable")  # the events of a pair stay in order of time
    is_new = np.diff(pairs[order], prepend=-1) != 0
    is_event = is_new.copy()
    if histories.timestamps is not None:
        times = histories.timestamps[order]
        is_event[1:] |= times[1:] != times[:-1]
    else:
        is_event[:] = True
    return float((is_event.sum() - is_new.sum()) / max(is_event.sum(), 1))


def _ordered_within_instants(histories: Histories) -> Histories:
    """Order simultaneous events by item, so that the order of lines does not matter."""
    if histories.timestamps is None:
        return histories
    weights = np.zeros(len(histories.codes)) if histories.weights is None else histories.weights
    order = np.lexsort((weights, histories.codes, histories.timestamps, owners(histories.offsets)))
    return histories._with_events(order, histories.offsets, slice(None))


def _simultaneous_share(histories: Histories) -> float:
    """Return the share of users with two events or more whose last two have the same time."""
    if histories.timestamps is None:
        return 0.0
    opens = starts_of_runs(histories.timestamps, histories.offsets)
    last = histories.offsets[1:][histories.lengths > 1] - 1
    return float(np.mean(~opens[last])) if len(last) else 0.0
