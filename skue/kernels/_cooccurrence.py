"""Counts of items that appear near or after one another, and their normalisation."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from skue.kernels._segments import owners, starts_of_runs, user_item_keys


def cooccurrence_counts(
    codes: np.ndarray,
    offsets: np.ndarray,
    n_items: int,
    *,
    window: int,
    timestamps: np.ndarray | None = None,
) -> sp.csr_array:
    """Count pairs of different items at most ``window`` apart in a history.

    A pair at distance ``d`` counts ``1 / d``. Distance is measured in events, or with timestamps
    in instants. Events of one instant are at distance 1, so the order inside a basket does not
    matter.

    Returns
    -------
    counts : csr_array of shape (n_items, n_items)
        Symmetric, with zeros on the diagonal.
    """
    baskets, users = _baskets(codes, offsets, n_items, timestamps)
    following = _following(baskets, users, window)
    counts = following + following.T
    if baskets.shape[0] < len(codes):
        counts = counts + baskets.T @ baskets
    return _without_diagonal(counts)


def transition_counts(
    codes: np.ndarray,
    offsets: np.ndarray,
    n_items: int,
    *,
    window: int,
    timestamps: np.ndarray | None = None,
) -> sp.csr_array:
    """Count how often an item follows another one at most ``window`` later in a history.

    A pair at distance ``d`` counts ``1 / d``. Distance is measured in events, or with timestamps
    in instants. Events of one instant do not follow one another.

    Returns
    -------
    counts : csr_array of shape (n_items, n_items)
        Entry (i, j) is for j after i. The diagonal is zero.
    """
    baskets, users = _baskets(codes, offsets, n_items, timestamps)
    return _without_diagonal(_following(baskets, users, window))


def _baskets(
    codes: np.ndarray, offsets: np.ndarray, n_items: int, timestamps: np.ndarray | None
) -> tuple[sp.csr_array, np.ndarray]:
    """Return one row per instant that marks its items, and the user of each instant."""
    users = owners(offsets)
    instants = np.arange(len(codes))
    if timestamps is not None:
        opens = starts_of_runs(timestamps, offsets)
        instants, users = np.cumsum(opens) - 1, users[opens]
    ones = np.ones(len(codes), dtype=np.float32)
    baskets = sp.csr_array((ones, (instants, codes)), shape=(len(users), n_items))
    baskets.data[:] = 1.0
    return baskets, users


def _following(baskets: sp.csr_array, users: np.ndarray, window: int) -> sp.csr_array:
    """Return the counts of items that follow others; the diagonal is not zero."""
    n_instants, n_items = baskets.shape
    counts = sp.csr_array((n_items, n_items), dtype=np.float32)
    for distance in range(1, min(window, n_instants - 1) + 1):
        together = users[distance:] == users[:-distance]
        later = baskets[distance:][together]
        earlier = baskets[:-distance][together]
        counts = counts + (earlier.T @ later) * np.float32(1 / distance)
    return counts


def _without_diagonal(counts: sp.csr_array) -> sp.csr_array:
    counts = counts.tocoo()
    apart = counts.row != counts.col
    entries = counts.data[apart], (counts.row[apart], counts.col[apart])
    return sp.csr_array(entries, shape=counts.shape)


def degree_normalized(counts: sp.csr_array, *, smoothing: float) -> sp.csr_array:
    r"""Divide each count by how often its two items appear near any item.

    .. math:: \frac{\#(i, j)}{\sqrt{(r_i + \tau)(c_j + \tau)}}, \qquad
              r_i = \sum_j \#(i, j), \quad c_j = \sum_i \#(i, j),

    with :math:`\tau` the ``smoothing`` times the mean of :math:`r` (Qin and Rohe 2013).
    """
    table = counts.tocoo()
    rows, columns = (_inverse_root_degrees(counts, axis, smoothing) for axis in (1, 0))
    scaled = table.data * rows[table.row] * columns[table.col]
    return sp.csr_array((scaled.astype(np.float32), (table.row, table.col)), shape=counts.shape)


def _inverse_root_degrees(counts: sp.csr_array, axis: int, smoothing: float) -> np.ndarray:
    degrees = np.asarray(counts.sum(axis=axis), dtype=np.float64).ravel()
    degrees += smoothing * degrees.mean()
    return 1 / np.sqrt(np.where(degrees > 0, degrees, np.inf))


def share_of_repeats(codes: np.ndarray, offsets: np.ndarray) -> float:
    """Return the share of events whose item occurs earlier in the same history."""
    keys = user_item_keys(owners(offsets), codes)
    return 1 - len(np.unique(keys)) / max(len(keys), 1)
