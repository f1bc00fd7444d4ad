"""What is held out, and what may be learned from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from skue.histories._histories import Histories
from skue.histories._splits import leave_last_out, temporal_folds
from skue.kernels._segments import owners, starts_of_runs

_SHARE_BEFORE_CUTOFF = 0.8
# So many users tell recall to within .005 (95 %); more would only take longer.
_SCORED_USERS = 50_000


@dataclass
class Task:
    """Training histories, queries, and the items that the queries should find."""

    train: Histories
    queries: Histories
    held_out: np.ndarray
    unit: str
    simultaneous_share: float
    n_left_out: int
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
    share = _simultaneous_share(histories)
    unit = "event" if histories.timestamps is None else "instant"
    if split == "time":
        return with_at_most(_SCORED_USERS, _split_by_time(histories, share))
    queries, held_out = _last_out(histories, unit)
    n_left_out = len(histories) - len(queries)
    return with_at_most(_SCORED_USERS, Task(queries, queries, held_out, unit, share, n_left_out))


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
    return Task(queries, queries, held_out, task.unit, task.simultaneous_share, 0)


def _last_out(histories: Histories, unit: str) -> tuple[Histories, np.ndarray]:
    with warnings.catch_warnings():
        # How many users are left out is part of what the command prints.
        warnings.filterwarnings("ignore", message=".* users are left out")
        return leave_last_out(histories, by=unit)


def _split_by_time(histories: Histories, share: float) -> Task:
    times = histories.timestamps
    if times is None:
        raise ValueError("--split time needs a log with a time column.")
    cutoff = np.sort(times)[int(_SHARE_BEFORE_CUTOFF * (len(times) - 1))]
    rows, held_out, cv = temporal_folds(histories, cutoffs=np.array([cutoff]))
    test = cv[0][1]
    train = histories._keep_events(times <= cutoff)
    train = train[train.lengths > 0]
    n_left_out = len(histories) - len(test)
    return Task(train, rows[test], held_out[test], "instant", share, n_left_out, str(cutoff))


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
