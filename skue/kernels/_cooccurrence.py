"""Counts of items that appear near one another, and their normalisation."""

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
    users = owners(offsets)
    if timestamps is None:
        instants = np.arange(len(codes))
        user_of_instant = users
    else:
        opens = starts_of_runs(timestamps, offsets)
        instants = np.cumsum(opens) - 1
        user_of_instant = users[opens]
    n_instants = len(user_of_instant)
    # One row per instant, marking the items in it.
    baskets = sp.csr_array(
        (np.ones(len(codes), dtype=np.float32), (instants, codes)), shape=(n_instants, n_items)
    )
    baskets.data[:] = 1.0
    counts = sp.csr_array((n_items, n_items), dtype=np.float32)
    if n_instants < len(codes):
        counts = (baskets.T @ baskets).tocsr()
    for distance in range(1, min(window, n_instants - 1) + 1):
        together = user_of_instant[distance:] == user_of_instant[:-distance]
        later = baskets[distance:][together]
        earlier = baskets[:-distance][together]
        pairs = (earlier.T @ later).tocsr()
        counts = counts + (pairs + pairs.T) * np.float32(1 / distance)
    counts = counts.tocoo()
    apart = counts.row != counts.col
    return sp.csr_array(
        (counts.data[apart], (counts.row[apart], counts.col[apart])), shape=(n_items, n_items)
    )


def degree_normalized(counts: sp.csr_array, *, smoothing: float) -> sp.csr_array:
    r"""Divide each count by how often its two items appear near any item.

    .. math:: \frac{\#(i, j)}{\sqrt{(d_i + \tau)(d_j + \tau)}}, \qquad d_i = \sum_j \#(i, j),

    with :math:`\tau` the ``smoothing`` times the mean of :math:`d` (Qin and Rohe 2013).
    """
    degrees = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    degrees += smoothing * degrees.mean()
    scale = 1 / np.sqrt(np.where(degrees > 0, degrees, np.inf))
    table = counts.tocoo()
    scaled = table.data * scale[table.row] * scale[table.col]
    return sp.csr_array((scaled.astype(np.float32), (table.row, table.col)), shape=counts.shape)


def share_of_repeats(codes: np.ndarray, offsets: np.ndarray) -> float:
    """Return the share of events whose item occurs earlier in the same history."""
    keys = user_item_keys(owners(offsets), codes)
    return 1 - len(np.unique(keys)) / max(len(keys), 1)
