"""Counting which items appear near one another, and weighing what the counts say."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from skue.kernels._segments import owners, starts_of_runs


def cooccurrence_counts(
    codes: np.ndarray,
    offsets: np.ndarray,
    n_items: int,
    *,
    window: int,
    timestamps: np.ndarray | None = None,
) -> sp.csr_array:
    """Count pairs of different items at a distance of up to ``window`` within a history.

    A pair at distance ``d`` counts ``1 / d``. Distance is in events; with timestamps in instants,
    and events of one instant are at distance 1, so that the order inside a basket means nothing.

    Returns
    -------
    counts : csr_array of shape (n_items, n_items)
        Symmetric, with an empty diagonal.
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
    # One row an instant: which items it holds.
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


def positive_pmi(counts: sp.csr_array, *, smoothing: float) -> sp.csr_array:
    r"""Return the positive pointwise mutual information of a table of counts.

    .. math:: \max\left(0, \log \frac{\#(i, j)\, \sum_k \#(k)^s}{\#(i)\, \#(j)^s}\right)

    where ``s`` is the smoothing of the context counts (Levy, Goldberg and Dagan 2015).
    """
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    contexts = totals**smoothing
    table = counts.tocoo()
    expected = totals[table.row] * contexts[table.col] / contexts.sum()
    information = np.log(table.data / expected).astype(np.float32)
    above = information > 0
    return sp.csr_array(
        (information[above], (table.row[above], table.col[above])), shape=counts.shape
    )
