"""Splitting a log into training histories, queries and held-out items."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from skue.compare._about import moment
from skue.histories._histories import Histories
from skue.histories._splits import _next_instants, is_liked, leave_last_out, newest_liked
from skue.kernels._arrays import owners, starts_of_runs

_SHARE_BEFORE_CUTOFF = 0.8
# Enough users to measure recall to within .005 (95 %).
_SCORED_USERS = 50_000


@dataclass
class Task:
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


def make_task(histories: Histories, split: str) -> Task:
    """Hold out the last event of each user, or with times all events of the last instant.

    With ``split="time"``, the training data ends at one point in time, and the first instant of
    each user after it is held out.

    Raises
    ------
    ValueError
        If no user has events before the held-out ones.
    """
    histories = _ordered_within_instants(histories)
    if split == "time":
        task = _split_by_time(histories)
    else:
        task = _split_by_last(_until_last_like(histories))
    task.has_dislikes = not is_liked(histories).all()
    return with_at_most(_SCORED_USERS, task)


def with_at_most(n_users: int, task: Task) -> Task:
    """Score at most this many users, drawn at random. All users stay in the training data."""
    if len(task.queries) <= n_users:
        return task
    drawn = drawn_users(len(task.queries), n_users)
    return replace(
        task,
        queries=task.queries[drawn],
        held_out=task.held_out[drawn],
        n_not_scored=len(task.queries) - n_users,
    )


def drawn_users(n_users: int, n_drawn: int) -> np.ndarray:
    """Return the rows of users drawn at random, in order. The draw is always the same."""
    return np.sort(np.random.default_rng(0).choice(n_users, n_drawn, replace=False))


def inner_task(task: Task) -> Task:
    """Hold out once more inside the training histories, to choose parameters."""
    queries, held_out = _last_out(_until_last_like(task.train), task.unit)
    return Task(queries, queries, held_out, task.unit, task.simultaneous_share, task.again_share)


def _last_out(histories: Histories, unit: str) -> tuple[Histories, np.ndarray]:
    with warnings.catch_warnings():
        # The command prints how many users are left out.
        warnings.filterwarnings("ignore", message=".* users are left out")
        return leave_last_out(histories, by=unit)


def _split_by_last(histories: Histories) -> Task:
    unit = "event" if histories.timestamps is None else "instant"
    queries, held_out = _last_out(histories, unit)
    n_empty = int((histories.lengths == 0).sum())
    n_single = int((histories.lengths == 1).sum())
    n_at_once = len(histories) - len(queries) - n_single - n_empty
    likes = "" if histories.weights is None else " with a positive weight"
    left_out = {
        f"have no event{likes}": n_empty,
        "have one event only": n_single,
        "have all of their events at one time": n_at_once,
    }
    return Task(
        queries,
        queries,
        held_out,
        unit,
        _simultaneous_share(histories),
        again_share(histories),
        left_out,
    )


def _split_by_time(histories: Histories) -> Task:
    times = histories.timestamps
    if times is None:
        raise ValueError("--split time needs a log with a time column. Name it with --time NAME.")
    cutoff = np.sort(times)[int(_SHARE_BEFORE_CUTOFF * (len(times) - 1))]
    shown = moment(cutoff)
    train = histories._keep_events(times <= cutoff)
    histories = histories._keep_events((times <= cutoff) | is_liked(histories))
    times = histories.timestamps
    before, all_events = train.lengths, histories.lengths
    left_out = {
        f"have nothing after {shown}": int((before == all_events).sum()),
        f"have nothing up to {shown}": int((before == 0).sum()),
    }
    if sum(left_out.values()) == len(histories):
        reasons = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        raise ValueError(
            f"--split time: of {len(histories)} users {reasons}, so no users are left to score. "
            "Use --split last."
        )
    queries, held_out = _next_instants(histories, times <= cutoff, times > cutoff)
    return Task(
        train[before > 0],
        queries,
        held_out,
        "instant",
        _simultaneous_share(histories),
        again_share(histories),
        left_out,
        shown,
    )


def _until_last_like(histories: Histories) -> Histories:
    """Cut histories after their newest liked instant, of which only liked events are kept."""
    marks = is_liked(histories)
    if marks.all():
        return histories
    position = np.arange(len(marks))
    start, last = (np.repeat(at, histories.lengths) for at in newest_liked(histories))
    return histories._keep_events((position < start) | ((position <= last) & marks))


def again_share(histories: Histories) -> float:
    """Return the share of events whose item the user has had before.

    Events of the same user, item and time count as one, as they are duplicate lines.
    """
    keys = owners(histories.offsets) * np.int64(len(histories.item_ids)) + histories.codes
    if histories.timestamps is None:
        return 1 - len(np.unique(keys)) / max(len(keys), 1)
    order = np.lexsort((histories.timestamps, keys))
    keys, times = keys[order], histories.timestamps[order]
    same_pair = keys[1:] == keys[:-1]
    n_again = int((same_pair & (times[1:] != times[:-1])).sum())
    n_copies = int((same_pair & (times[1:] == times[:-1])).sum())
    return n_again / max(len(keys) - n_copies, 1)


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
