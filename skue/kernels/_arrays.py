"""Ragged arrays: user ``i`` owns the events ``offsets[i]:offsets[i + 1]`` of a flat array."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

LONGEST_HISTORY = 10_000
"""What is learned of a history comes from at most this many of its newest events."""


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Return the offsets of segments of these lengths, int64, shape (n_users + 1,)."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def owners(offsets: np.ndarray) -> np.ndarray:
    """Return the user of every event, shape (n_events,)."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def pairs_of_block(
    rows: np.ndarray, offsets: np.ndarray, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the user (counted from ``start``) and the row of each event of users start:stop."""
    own = offsets[start : stop + 1]
    return owners(own), rows[own[0] : own[-1]]


def user_item_keys(users: np.ndarray, rows: np.ndarray, n_items: int | None = None) -> np.ndarray:
    """Return one integer for each pair of user and item row; equal pairs have equal keys.

    ``n_items`` must be larger than every row. By default it is the largest row plus one.
    """
    if n_items is None:
        n_items = int(rows.max(initial=0)) + 1
    return users * np.int64(n_items) + rows


def is_among(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return whether each integer is among others, many times faster than ``np.isin`` for few."""
    if not len(others):
        return np.zeros(len(values), dtype=bool)
    others = np.sort(others)
    found: np.ndarray = others[np.searchsorted(others[:-1], values)] == values
    return found


def positions_of_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the positions ``start, start + 1, ...`` of all ranges, one range after another."""
    offsets = offsets_of(lengths)
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])


def newest_events(offsets: np.ndarray, n_most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of each user's ``n_most`` newest events, and their offsets."""
    kept = np.minimum(np.diff(offsets), n_most)
    return positions_of_ranges(offsets[1:] - kept, kept), offsets_of(kept)


def kept_offsets(offsets: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the offsets after removing the events that the mask ``keep`` does not keep."""
    before = np.zeros(len(keep) + 1, dtype=np.int64)
    np.cumsum(keep, out=before[1:])
    return before[offsets]


def starts_of_runs(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Mark the first event of each run of equal values within a user, shape (n_events,), bool.

    With timestamps as values, the runs are instants.
    """
    opens = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=opens[1:])
    filled = offsets[:-1][np.diff(offsets) > 0]
    opens[filled] = True
    return opens


def newest_position(offsets: np.ndarray) -> np.ndarray:
    """Return, for every event, the position of its user's newest event."""
    return np.repeat(offsets[1:] - 1, np.diff(offsets))


def step_ages(offsets: np.ndarray) -> np.ndarray:
    """Return how many later events the same user has, 0 for the newest event, float64."""
    n_events = offsets[-1]
    return (newest_position(offsets) - np.arange(n_events)).astype(np.float64)


def instant_ages(timestamps: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return how many distinct later timestamps the same user has, float64."""
    instant = np.cumsum(starts_of_runs(timestamps, offsets))
    return (instant[newest_position(offsets)] - instant).astype(np.float64)


def elapsed_ages(seconds: np.ndarray, offsets: np.ndarray, unit_seconds: float) -> np.ndarray:
    """Return the time from each event to its user's newest event, in the given unit, float64."""
    return (seconds[newest_position(offsets)] - seconds) / unit_seconds


def order_by_user(
    users: np.ndarray, n_users: int, timestamps: np.ndarray | None
) -> np.ndarray | None:
    """Return the stable order of a log by user, then time, or None if it is sorted already."""
    backwards = users[1:] < users[:-1]
    if timestamps is None:
        return stable_order(users, n_users) if backwards.any() else None
    earlier = timestamps[1:] < timestamps[:-1]
    if not (backwards | (earlier & (users[1:] == users[:-1]))).any():
        return None
    if not earlier.any():
        return stable_order(users, n_users)
    by_time = np.argsort(timestamps, kind="stable")
    return by_time[stable_order(users[by_time], n_users)]


def stable_order(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Return the stable order of integer codes below ``n_codes``, by a counting sort."""
    n = len(codes)
    marks = np.ones(n, dtype=np.int8)
    return sp.csr_array((marks, codes, np.arange(n + 1)), shape=(n, n_codes)).tocsc().indices


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a read-only view. The array itself stays writeable."""
    array = array.view()
    array.flags.writeable = False
    return array


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only array whose memory is not writeable through another array.

    Copies the array if necessary. An array mapped from a file opened for reading is not copied.
    """
    holder: Any = array
    while isinstance(holder, np.ndarray):
        if holder.flags.writeable:
            array = array.copy()
            break
        holder = holder.base
    return read_only(array)
