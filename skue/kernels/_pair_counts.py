"""Counts of items that appear near or after one another, and their normalisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from skue.kernels._arrays import (
    offsets_of,
    owners,
    positions_of_ranges,
    starts_of_runs,
    user_item_keys,
)

# The weight of a pair is rounded to a multiple of 2**-24. The sum of such numbers is exact in
# float64 up to 2**29, so counts do not depend on the order in which they are added.
_PRECISION = 2.0**24
# Number of pairs held at a time.
_BLOCK = 2**22
# About the largest number of pairs of one history.
_MOST_PAIRS = 2**24


def pair_counts(
    codes: np.ndarray,
    offsets: np.ndarray,
    n_items: int,
    *,
    window: int,
    timestamps: np.ndarray | None = None,
    directed: bool = False,
    most_between: int | None = None,
) -> sp.csr_array:
    """Count pairs of different items at most ``window`` apart in a history.

    A pair at distance ``d`` counts ``1 / d``. Distance is measured in events, or with timestamps
    in instants. Two items of one instant are at distance 1 whatever their order. If the counts
    are directed, they are no pair, because neither follows the other.

    An instant further on than the next one is left out if more than ``most_between`` events lie in
    between. In a history of ``n`` events, each is paired with ``2**24 / n`` later ones at most (but
    with ``window`` in any case), so that a bot with large baskets costs no more than a large shop.

    Returns
    -------
    counts : csr_array of shape (n_items, n_items), float64
        If directed, entry (i, j) is for j after i. If not, it is for both orders, and i < j.
    """
    events = instants_of(codes, offsets, n_items, timestamps)
    window = min(window, len(events.codes))
    weights = pair_weights(window)
    instants = np.arange(len(events.ends))
    last = np.minimum(instants + window, events.ends - 1)
    if most_between is not None:
        limits = events.starts[1:] + most_between
        within = np.searchsorted(events.starts, limits, side="right") - 1
        last = np.minimum(last, np.maximum(within, instants + 1))
    stops = events.starts[last + 1][events.instants]
    if directed:
        starts = events.starts[instants + 1][events.instants]
    else:
        starts = np.arange(len(events.codes)) + 1
    n_most = np.maximum(window, _MOST_PAIRS // np.maximum(np.diff(offsets), 1))
    n_later = np.minimum(stops - starts, n_most[events.users][events.instants])
    pairs = offsets_of(n_later)
    counts = sp.csr_array((n_items, n_items))
    n_before = 0
    while n_before < len(events.codes):
        limit = np.searchsorted(pairs, pairs[n_before] + _BLOCK, "right") - 1
        block = slice(n_before, max(n_before + 1, int(limit)))
        counts = counts + _counts_between(events, starts, pairs, weights, n_items, block)
        n_before = block.stop
    if not directed:
        return sp.triu(counts, 1, format="csr") + sp.triu(counts.T, 1, format="csr")
    counts.sort_indices()
    return counts - sp.diags_array(counts.diagonal(), format="csr")  # drops the entries


class Instants(NamedTuple):
    """Events by instant, without repeats inside an instant."""

    codes: np.ndarray
    instants: np.ndarray
    # First event of each instant, and the number of events.
    starts: np.ndarray
    # The user of each instant, and the first instant after those of the same user.
    users: np.ndarray
    ends: np.ndarray


def instants_of(
    codes: np.ndarray, offsets: np.ndarray, n_items: int, timestamps: np.ndarray | None
) -> Instants:
    """Return the events by instant; without timestamps, every event is an instant."""
    n_events = len(codes)
    users = owners(offsets)
    ends = offsets[1:][users]
    if timestamps is None:
        return Instants(codes, np.arange(n_events), np.arange(n_events + 1), users, ends)
    opens = starts_of_runs(timestamps, offsets)
    instants = np.cumsum(opens) - 1
    n_before = np.append(0, instants + 1)
    ends = n_before[ends[opens]]
    if not opens.all():
        keys = np.sort(user_item_keys(instants, codes, n_items))
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
        instants, codes = keys // n_items, (keys % n_items).astype(codes.dtype)
    starts = offsets_of(np.bincount(instants, minlength=len(ends)))
    return Instants(codes, instants, starts, users[opens], ends)


def pair_weights(window: int) -> np.ndarray:
    """Return the weight of a pair at each distance; distance 0 is the same instant."""
    distances = np.maximum(np.arange(window + 1), 1)
    return np.rint(_PRECISION / distances) / _PRECISION


def _counts_between(
    events: Instants,
    starts: np.ndarray,
    pairs: np.ndarray,
    weights: np.ndarray,
    n_items: int,
    block: slice,
) -> sp.csr_array:
    """Count the pairs of the events in a block with those after ``starts``, in any order."""
    own = pairs[block.start : block.stop + 1] - pairs[block.start]
    lengths = np.diff(own)
    later = positions_of_ranges(starts[block], lengths)
    distances = events.instants[later] - np.repeat(events.instants[block], lengths)
    codes = events.codes[block].astype(np.int32)
    shape = (len(codes), n_items)
    following = sp.csr_array(
        (weights[distances], events.codes[later].astype(np.int32), own.astype(np.int32)),
        shape=shape,
    )
    ones, rows = np.ones(len(codes)), np.arange(len(codes) + 1, dtype=np.int32)
    return sp.csr_array((ones, codes, rows), shape=shape).T.tocsr() @ following


def renumbered(counts: sp.csr_array, positions: np.ndarray, n_items: int) -> sp.csr_array:
    """Return counts that are not directed with item ``i`` at ``positions[i]`` of ``n_items``."""
    rows, columns = positions[np.stack(counts.tocoo().coords)]
    places = np.minimum(rows, columns), np.maximum(rows, columns)
    return sp.csr_array((counts.data, places), shape=(n_items, n_items))


def degree_normalized(
    counts: sp.csr_array, *, smoothing: float, directed: bool = False
) -> sp.csr_array:
    r"""Divide each count by how often its two items appear near any item.

    .. math:: \frac{\#(i, j)}{\sqrt{(r_i + \tau)(c_j + \tau)}}, \qquad
              r_i = \sum_j \#(i, j), \quad c_j = \sum_i \#(i, j),

    with :math:`\tau` the ``smoothing`` times the mean of :math:`r` (Qin and Rohe 2013). Counts
    that are not directed stand in the upper triangle; the result is symmetric.

    Returns
    -------
    table : csr_array of shape (n_items, n_items), float32
    """
    rows, columns = (np.asarray(counts.sum(axis=axis)).ravel() for axis in (1, 0))
    if not directed:
        rows = columns = rows + columns
    rows, columns = (_inverse_roots(degrees, smoothing) for degrees in (rows, columns))
    scaled = counts.data * np.repeat(rows, np.diff(counts.indptr))
    scaled *= columns[counts.indices]
    entries = scaled.astype(np.float32), counts.indices, counts.indptr
    table = sp.csr_array(entries, shape=counts.shape)
    return table if directed else table + table.T.tocsr()


def _inverse_roots(degrees: np.ndarray, smoothing: float) -> np.ndarray:
    degrees = degrees + smoothing * degrees.mean()
    return 1 / np.sqrt(np.where(degrees > 0, degrees, np.inf))


def n_repeats(codes: np.ndarray, offsets: np.ndarray) -> int:
    """Return the number of events whose item occurs earlier in the same history."""
    return len(codes) - len(np.unique(user_item_keys(owners(offsets), codes)))
