"""Which items follow an item: a table of transitions, and scores of histories."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from skue.kernels._arrays import positions_of_ranges
from skue.kernels._pair_counts import pair_counts

_WINDOW = 5
_WAY_BACK = 0.5
_POPULARITY_POWER = 0.1
_DECAY = 0.5


def transition_table(
    rows: np.ndarray, offsets: np.ndarray, n_items: int, *, timestamps: np.ndarray | None = None
) -> sp.csr_array:
    r"""Return how strongly an item follows another one, shape (n_items, n_items).

    .. math:: T_{ij} = \frac{F_{ij} + F_{ji} / 2}{\sqrt{n_i}\, n_j^{0.1}},

    with :math:`F_{ij}` the sum of 1/distance over all pairs of j at most 5 events (with times,
    instants) after i, and :math:`n` the number of events.
    """
    counts = pair_counts(
        rows, offsets, n_items, window=_WINDOW, timestamps=timestamps, directed=True
    )
    both = (counts + _WAY_BACK * counts.T).tocoo()
    n = np.maximum(np.bincount(rows, minlength=n_items), 1)
    scaled = both.data * (n**-0.5)[both.row] * (n**-_POPULARITY_POWER)[both.col]
    return sp.csr_array((scaled.astype(np.float32), (both.row, both.col)), shape=both.shape)


def transition_scores(
    rows: np.ndarray, offsets: np.ndarray, ages: np.ndarray, table: sp.csr_array
) -> np.ndarray:
    """Return the sum of the transitions from all events of each user, each times exp(-age / 2).

    Parameters
    ----------
    rows : ndarray of shape (n_events,)
    offsets : ndarray of shape (n_users + 1,)
    ages : ndarray of shape (n_events,)
        In events, or with times in instants.
    table : csr_array of shape (n_items, n_items)

    Returns
    -------
    scores : ndarray of shape (n_users, n_items), float32
    """
    weights, n_items = np.exp(-_DECAY * ages), table.shape[0]
    scores = np.empty((len(offsets) - 1, n_items), dtype=np.float32)
    for user, (start, stop) in enumerate(pairwise(offsets.tolist())):
        own = rows[start:stop]
        first = table.indptr[own]
        n_following = table.indptr[own + 1] - first
        entries = positions_of_ranges(first, n_following)
        values = np.repeat(weights[start:stop], n_following) * table.data[entries]
        scores[user] = np.bincount(table.indices[entries], values, n_items)
    return scores
