"""What is held out, and what may be learned from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from skue.compare._about import moment
from skue.histories._histories import Histories
from skue.histories._splits import _next_instants, leave_last_out
from skue.kernels._segments import owners, starts_of_runs

_SHARE_BEFORE_CUTOFF = 0.8
# So many users tell recall to within .005 (95 %); more would only take longer.
_SCORED_USERS = 50_000


@dataclass
class Task:
    """Training histories, queries, and the items that the queries should find.

    Attributes
    ----------
    train, queries : Histories
    held_out : ndarray of shape (n_users,)
    unit : {"event", "instant"}
        What is held out of each history.
    simultaneous_share : float
        Share of users whose last two events are at one time.
    again_share : float
        Share of events with an item that the user has had before.
    left_out : dict
        Why users are not scored, in words, and how many they are.
    cutoff : str or None
        The point in time that parts training from scoring.
    n_not_scored : int
        Users who could be scored but were not drawn.
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


def make_task(histories: Histories, split: str) -> Task:
    """Hold out each user's newest event (newest instant where there are times).

    With ``split="time"`` everything after one point in time is out of sight in training, and the
    first instant of each user after it is to be found.

    Raises
    ------
    ValueError
        When no user has anything before what is held out.
    """
    histories = _ordered_within_instants(histories)
    task = _split_by_time(histories) if split == "time" else _split_by_last(histories)
    return with_at_most(_SCORED_USERS, task)


def with_at_most(n_users: int, task: Task) -> Task:
    """Score no more than so many users, drawn at random; all of them stay in training."""
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
    """Return the rows of so many users, in order; the same ones every time."""
    return np.sort(np.random.default_rng(0).choice(n_users, n_drawn, replace=False))


def inner_task(task: Task) -> Task:
    """Hold out once more inside the training histories, to choose parameters by."""
    queries, held_out = _last_out(task.train, task.unit)
    return Task(queries, queries, held_out, task.unit, task.simultaneous_share, task.again_share)


def _last_out(histories: Histories, unit: str) -> tuple[Histories, np.ndarray]:
    with warnings.catch_warnings():
        # How many users are left out is part of what the command prints.
        warnings.filterwarnings("ignore", message=".* users are left out")
        return leave_last_out(histories, by=unit)


def _split_by_last(histories: Histories) -> Task:
    unit = "event" if histories.timestamps is None else "instant"
    queries, held_out = _last_out(histories, unit)
    n_single = int((histories.lengths < 2).sum())
    n_at_once = len(histories) - len(queries) - n_single
    left_out = {"have one event only": n_single, "have all of their events at one time": n_at_once}
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
    before, all_events = train.lengths, histories.lengths
    left_out = {
        f"have nothing after {shown}": int((before == all_events).sum()),
        f"have nothing up to {shown}": int((before == 0).sum()),
    }
    if sum(left_out.values()) == len(histories):
        reasons = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        raise ValueError(
            f"--split time: of {len(histories)} users {reasons}, so nobody is left to score. "
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


def again_share(histories: Histories) -> float:
    """Return the share of events with an item that the user has had before.

    Where there are times, events of one user and item at one time are one event: a line that is
    in the file twice is nobody coming back.
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
    """Order simultaneous events by item, so that the order of rows in a file means nothing."""
    if histories.timestamps is None:
        return histories
    weights = np.zeros(len(histories.codes)) if histories.weights is None else histories.weights
    order = np.lexsort((weights, histories.codes, histories.timestamps, owners(histories.offsets)))
    return histories._with_events(order, histories.offsets, slice(None))


def _simultaneous_share(histories: Histories) -> float:
    """Share of users, with two events or more, whose last two events are at one time."""
    if histories.timestamps is None:
        return 0.0
    opens = starts_of_runs(histories.timestamps, histories.offsets)
    last = histories.offsets[1:][histories.lengths > 1] - 1
    return float(np.mean(~opens[last])) if len(last) else 0.0
