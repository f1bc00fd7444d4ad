"""Ragged arrays: user ``i`` owns the events ``offsets[i]:offsets[i + 1]`` of a flat array."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Return the offsets of segments of the given lengths, int64, shape (n_users + 1,)."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def owners(offsets: np.ndarray) -> np.ndarray:
    """Return the user of every event, shape (n_events,)."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def positions_of_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return ``start, start + 1, ...`` of every range, one range after the other."""
    offsets = offsets_of(lengths)
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])


def kept_offsets(offsets: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the offsets that remain when only the events under the mask ``keep`` stay."""
    before = np.zeros(len(keep) + 1, dtype=np.int64)
    np.cumsum(keep, out=before[1:])
    return before[offsets]


def starts_of_runs(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Mark the events that open a run of equal values within their user.

    With timestamps as values the runs are instants. Shape (n_events,), bool.
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
    """Return how many events of its user came after each event (0 for the newest), float64."""
    n_events = offsets[-1]
    return (newest_position(offsets) - np.arange(n_events)).astype(np.float64)


def instant_ages(timestamps: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return how many distinct later times its user has after each event, float64."""
    instant = np.cumsum(starts_of_runs(timestamps, offsets))
    return (instant[newest_position(offsets)] - instant).astype(np.float64)


def elapsed_ages(seconds: np.ndarray, offsets: np.ndarray, unit_seconds: float) -> np.ndarray:
    """Return the time from each event to its user's newest one, in the unit, float64."""
    return (seconds[newest_position(offsets)] - seconds) / unit_seconds


def order_by_user(
    users: np.ndarray, n_users: int, timestamps: np.ndarray | None
) -> np.ndarray | None:
    """Return the stable order of a log by user, then time; None where it is so already."""
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
    """Return the positions of the codes 0, 1, ..., by counting: linear, unlike a sort."""
    n = len(codes)
    marks = np.ones(n, dtype=np.int8)
    return sp.csr_array((marks, codes, np.arange(n + 1)), shape=(n, n_codes)).tocsc().indices


def add_at_rows(total: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Add each row of ``values`` to the row of ``total`` that it names; rows may repeat."""
    chosen = sp.csr_array(
        (np.ones(len(rows), dtype=np.float32), rows, np.arange(len(rows) + 1)),
        shape=(len(rows), len(total)),
    )
    total += chosen.T @ values
