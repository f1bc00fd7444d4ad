"""Events with a positive weight. The others say that somebody disliked an item."""

from __future__ import annotations

import numpy as np

from skue.histories._histories import Histories
from skue.kernels._segments import starts_of_runs


def is_liked(histories: Histories) -> np.ndarray:
    """Mark the events with a positive weight, shape (n_events,). Without weights, all have one."""
    if histories.weights is None:
        return np.ones(len(histories.codes), dtype=bool)
    return histories.weights > 0


def liked(histories: Histories) -> Histories:
    """Return the histories without events whose weight is zero or less."""
    marks = is_liked(histories)
    return histories if marks.all() else histories._keep_events(marks)


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
    times = np.arange(len(at)) if histories.timestamps is None else histories.timestamps
    opens = np.flatnonzero(starts_of_runs(times, histories.offsets))
    has = last >= starts
    starts[has] = opens[np.searchsorted(opens, last[has], side="right") - 1]
    return starts, last
