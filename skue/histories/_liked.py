"""Events with a positive weight. The others say that somebody disliked an item."""

from __future__ import annotations

import numpy as np

from skue.histories._histories import Histories


def is_liked(histories: Histories) -> np.ndarray:
    """Mark the events with a positive weight, shape (n_events,). Without weights, all have one."""
    if histories.weights is None:
        return np.ones(len(histories.codes), dtype=bool)
    return histories.weights > 0


def liked(histories: Histories) -> Histories:
    """Return the histories without events whose weight is zero or less."""
    marks = is_liked(histories)
    return histories if marks.all() else histories._keep_events(marks)


def last_liked(histories: Histories) -> np.ndarray:
    """Return the position of each user's newest liked event, shape (n_users,).

    Users without one get the position before their first event.
    """
    at = np.where(is_liked(histories), np.arange(len(histories.codes)), -1)
    newest = histories.offsets[:-1] - 1
    filled = histories.lengths > 0
    if filled.any():
        found = np.maximum.reduceat(at, histories.offsets[:-1][filled])
        newest[filled] = np.maximum(found, newest[filled])
    return newest
