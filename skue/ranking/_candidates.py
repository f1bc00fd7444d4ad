"""Candidates of a block of users: the items that the second stage orders."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skue.ranking._counts import LogCounts, OwnItems


class Candidates(NamedTuple):
    """Pairs of a user and an item, sorted by user and item, with all that features need."""

    users: np.ndarray
    rows: np.ndarray
    cosine: np.ndarray
    transition: np.ndarray
    own: np.ndarray
    history: OwnItems
    counts: LogCounts


def candidates_of(
    cosines: np.ndarray,
    transitions: np.ndarray,
    history: OwnItems,
    counts: LogCounts,
    n_candidates: int,
) -> Candidates:
    """Return the candidates of a block of users.

    These are the ``n_candidates`` items nearest by cosine, half as many by transition score, half
    as many of the most popular, and all items of the history.

    Parameters
    ----------
    cosines : ndarray of shape (n_users, n_items)
        ``-inf`` where an item is not allowed.
    transitions : ndarray of shape (n_users, n_items)
        Transition scores.
    history : OwnItems
    counts : LogCounts
    n_candidates : int
    """
    n_users, n_items = cosines.shape
    half = min(-(-n_candidates // 2), n_items)
    first = np.arange(n_users)[:, None] * np.int64(n_items)
    pairs = [
        (first + _largest(cosines, n_candidates)).ravel(),
        (first + _largest(transitions, half)).ravel(),
        (first + counts.by_popularity[:half]).ravel(),
        history.keys,
    ]
    keys = np.unique(np.concatenate(pairs))
    keys = keys[np.isfinite(cosines.ravel()[keys])]
    users, rows = np.divmod(keys, n_items)
    return Candidates(
        users,
        rows,
        cosines[users, rows].astype(np.float64),
        transitions[users, rows].astype(np.float64),
        history.find(keys),
        history,
        counts,
    )


def _largest(scores: np.ndarray, n: int) -> np.ndarray:
    """Return the columns of the n largest scores of each row, in no order."""
    n_columns = scores.shape[1]
    if n >= n_columns:
        return np.broadcast_to(np.arange(n_columns), scores.shape)
    return np.argpartition(scores, n_columns - n, axis=1)[:, n_columns - n :]
