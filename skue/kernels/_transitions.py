"""Which items follow an item: a table of transitions, and scores of histories."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from skue.kernels._arrays import owners
from skue.kernels._pair_counts import pair_counts

_WINDOW = 5
_WAY_BACK = 0.5
_POPULARITY_POWER = 0.1
_DECAY = 0.5
_LEAST_WEIGHT = 1e-12


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
    return sp.csr_array((scaled, (both.row, both.col)), shape=both.shape)


def transition_scores(
    rows: np.ndarray, offsets: np.ndarray, ages: np.ndarray, table: sp.csr_array
) -> np.ndarray:
    r"""Return the sum of the transitions from all distinct items of each user.

    The weight of an item is the sum of :math:`e^{-\text{age} / 2}` over its events, but at least
    1e-12. So what follows the oldest item still counts, and scores do not underflow. A history
    costs at most as much as the table has entries, however long it is.

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
    shape = len(offsets) - 1, table.shape[0]
    # The kind of integers of the table, which SciPy would otherwise convert at each call.
    places = owners(offsets).astype(table.indices.dtype), rows.astype(table.indices.dtype)
    weights = sp.csr_array((np.exp(-_DECAY * ages), places), shape=shape)
    weights.sum_duplicates()  # older versions of SciPy keep them
    np.maximum(weights.data, _LEAST_WEIGHT, out=weights.data)
    scores: np.ndarray = (weights @ table).toarray().astype(np.float32)
    return scores
