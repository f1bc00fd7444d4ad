"""Which items follow an item: a table of transitions, and scores of histories."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from skue.kernels._arrays import owners
from skue.kernels._pair_counts import Instants, instants_of, pair_weights
from skue.kernels._threads import spread

_WINDOW = 5
# An instant further on than the next one is left out if more events than these are in between.
_MOST_BETWEEN = 100
_WAY_BACK = 0.5
_POPULARITY_POWER = 0.1
# The number of items that follow an item.
_MOST_FOLLOWERS = 200
_DECAY = 0.5
_LEAST_WEIGHT = 1e-12
# The number of items of a history whose followers are looked up.
_MOST_ITEMS = 50
# The number of events whose neighbours are held at a time.
_BLOCK = 2**17


def transition_table(
    rows: np.ndarray, offsets: np.ndarray, n_items: int, *, timestamps: np.ndarray | None = None
) -> sp.csr_array:
    r"""Return how strongly an item follows another one, shape (n_items, n_items), float32.

    .. math:: T_{ij} = \frac{F_{ij} + F_{ji} / 2}{\sqrt{n_i}\, n_j^{0.1}},

    with :math:`F_{ij}` the sum of 1/distance over all pairs of j at most 5 events (with times,
    instants) after i, and :math:`n` the number of events. An instant after the next one
    counts only if at most 100 events lie in between. Of each row, the 200 largest entries are kept,
    which bounds the memory for logs of large baskets.
    """
    instants = instants_of(rows, offsets, n_items, timestamps)
    starts = instants.starts.astype(np.int32)
    has = sp.csr_array(
        (np.ones(len(instants.codes)), instants.codes.astype(np.int32), starts),
        shape=(len(instants.ends), n_items),
    )
    of_items = has.T.tocsr()
    n = np.maximum(np.bincount(rows, minlength=n_items), 1)
    scales = n**-0.5, n**-_POPULARITY_POWER
    bounds = np.searchsorted(of_items.indptr, np.arange(0, of_items.nnz, _BLOCK))

    def followers(block: tuple[int, int]) -> sp.csr_array:
        start, stop = block
        return _strongest(_neighbours(of_items[start:stop], instants) @ has, start, scales)

    parts = spread(followers, pairwise(np.unique(np.append(bounds, n_items)).tolist()))
    return sp.vstack([sp.csr_array((0, n_items), dtype=np.float32), *parts], format="csr")


def _neighbours(of_items: sp.csr_array, instants: Instants) -> sp.csr_array:
    """Return the weight of each instant near those of an item, shape (n_items, n_instants)."""
    items, own = owners(of_items.indptr), of_items.indices
    weights = pair_weights(_WINDOW)
    parts = []
    for distance in range(1, _WINDOW + 1):
        for way, weight in ((1, 1.0), (-1, _WAY_BACK)):
            other = own + way * distance
            first, last = np.minimum(own, other), np.maximum(own, other)
            near = (first >= 0) & (last < instants.ends[np.maximum(first, 0)])
            between = instants.starts[last[near]] - instants.starts[first[near] + 1]
            near[near] = between <= _MOST_BETWEEN
            values = np.full(near.sum(), weight * weights[distance])
            parts.append((values, items[near], other[near]))
    values, rows, columns = map(np.concatenate, zip(*parts, strict=True))
    places = rows.astype(np.int32), columns.astype(np.int32)
    return sp.csr_array((values, places), shape=of_items.shape)


def _strongest(
    counts: sp.csr_array, first: int, scales: tuple[np.ndarray, np.ndarray]
) -> sp.csr_array:
    """Scale the counts of the items from ``first`` on, and keep the largest of each row."""
    rows = owners(counts.indptr)
    values = counts.data * scales[0][first + rows] * scales[1][counts.indices]
    values[counts.indices == first + rows] = 0.0  # an item does not follow itself
    kept = values > 0
    for start, stop in pairwise(counts.indptr.tolist()):
        if stop - start > _MOST_FOLLOWERS:
            kept[start:stop] &= _are_largest(values[start:stop], counts.indices[start:stop])
    places = rows[kept].astype(np.int32), counts.indices[kept]
    return sp.csr_array((values[kept].astype(np.float32), places), shape=counts.shape)


def _are_largest(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mark the largest values of a row; of equal ones, those of the first columns."""
    least = np.partition(values, -_MOST_FOLLOWERS)[-_MOST_FOLLOWERS]
    marked = values > least
    equal = np.flatnonzero(values == least)
    marked[equal[np.argsort(columns[equal])][: _MOST_FOLLOWERS - marked.sum()]] = True
    return marked


def transition_scores(
    rows: np.ndarray, offsets: np.ndarray, ages: np.ndarray, table: sp.csr_array
) -> sp.csr_array:
    r"""Return the sum of the transitions from the items of each user.

    The weight of an item is the sum of :math:`e^{-\text{age} / 2}` over its events, but at least
    1e-12, so that what follows the oldest item still counts. The 50 items of a user with the
    largest weights are looked up, so a history costs no more than that, however long it is.

    Parameters
    ----------
    rows : ndarray of shape (n_events,)
    offsets : ndarray of shape (n_users + 1,)
    ages : ndarray of shape (n_events,)
        In events, or with times in instants.
    table : csr_array of shape (n_items, n_items)

    Returns
    -------
    scores : csr_array of shape (n_users, n_items), float32
        With sorted columns.
    """
    shape = len(offsets) - 1, table.shape[0]
    # The kinds of numbers of the table, which SciPy would otherwise convert at each call.
    places = owners(offsets).astype(table.indices.dtype), rows.astype(table.indices.dtype)
    weights = np.exp(-_DECAY * ages).astype(table.dtype)
    weights = sp.csr_array((weights, places), shape=shape)
    weights.sum_duplicates()  # older versions of SciPy keep them
    np.maximum(weights.data, _LEAST_WEIGHT, out=weights.data)
    if np.diff(weights.indptr).max(initial=0) > _MOST_ITEMS:
        users = owners(weights.indptr)
        order = np.lexsort((-weights.data, users))
        kept = order[np.arange(len(users)) - weights.indptr[users] < _MOST_ITEMS]
        places = users[kept].astype(places[0].dtype), weights.indices[kept]
        weights = sp.csr_array((weights.data[kept], places), shape=shape)
    scores = weights @ table
    scores.sort_indices()
    return scores
