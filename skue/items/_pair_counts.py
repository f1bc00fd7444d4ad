"""Counts of the pairs of items in a log, by joblib workers, each a chunk of users at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary, check_same_type
from skue.kernels._arrays import LONGEST_HISTORY, kept_offsets
from skue.kernels._pair_counts import n_repeats, pair_counts, renumbered

# Number of events counted at a time. A longer history is a chunk of its own.
CHUNK_EVENTS = 2**18


class PairCounts(NamedTuple):
    """Counts of a log, as :func:`skue.kernels._pair_counts.pair_counts` returns them."""

    pairs: sp.csr_array
    # The items of the rows and columns.
    item_ids: np.ndarray
    n_events: int
    n_repeats: int

    @property
    def share_of_repeats(self) -> float:
        """Share of the events whose item occurs earlier in the same history."""
        return self.n_repeats / self.n_events

    def plus(self, later: PairCounts) -> PairCounts:
        """Return the counts of both logs, with the ids of both, sorted if there are new ones."""
        item_ids = self.item_ids
        if len(later.item_ids) and not np.array_equal(item_ids, later.item_ids):
            check_same_type(later.item_ids, item_ids, "The item ids of X", "earlier calls had")
            item_ids = np.union1d(item_ids, later.item_ids)
        vocabulary = Vocabulary._trusted(item_ids)
        earlier, newer = (
            renumbered(counts.pairs, vocabulary.lookup(counts.item_ids), len(item_ids))
            for counts in (self, later)
        )
        return PairCounts(
            earlier + newer,
            item_ids,
            self.n_events + later.n_events,
            self.n_repeats + later.n_repeats,
        )


def count_pairs(
    histories: Histories,
    *,
    window: int,
    directed: bool = False,
    most_between: int | None = None,
    n_jobs: int | None = None,
) -> PairCounts:
    """Count the pairs of a log. Events with a weight of zero or less are ignored.

    Of each history, the newest 10,000 events are counted. The counts are exact sums, so they are
    the same for every number of workers. A memory-mapped log is read chunk by chunk.
    """
    n_items = len(histories.vocabulary)
    n_events = repeats = 0
    # Tables of about equal size are added first, so that adding stays cheap.
    sums: list[tuple[int, sp.csr_array]] = []
    for pairs, n_counted, n_repeated in _counts_of_chunks(
        histories, window, directed, most_between, n_jobs
    ):
        n_events, repeats, n_added = n_events + n_counted, repeats + n_repeated, 1
        while sums and sums[-1][0] == n_added:
            pairs, n_added = sums.pop()[1] + pairs, 2 * n_added
        sums.append((n_added, pairs))
    total = sp.csr_array((n_items, n_items))
    while sums:
        total = sums.pop()[1] + total
    return PairCounts(total, histories.item_ids, n_events, repeats)


def _counts_of_chunks(
    histories: Histories,
    window: int,
    directed: bool,
    most_between: int | None,
    n_jobs: int | None,
) -> Iterator[tuple[sp.csr_array, int, int]]:
    """Yield the counts of every chunk, of two chunks a worker at a time to limit memory."""
    chunks, n_items = _chunks(histories.offsets), len(histories.vocabulary)
    n_workers = max(1, min(effective_n_jobs(n_jobs), len(chunks)))
    with Parallel(n_jobs=n_workers, batch_size=1) as workers:
        for start in range(0, len(chunks), 2 * n_workers):
            parts = (
                histories[users]._newest(LONGEST_HISTORY)
                for users in chunks[start : start + 2 * n_workers]
            )
            columns = ((part.codes, part.offsets, part.timestamps, part.weights) for part in parts)
            yield from workers(
                delayed(_counts_of)(*each, n_items, window, directed, most_between)
                for each in columns
            )


def _chunks(offsets: np.ndarray) -> list[slice]:
    """Return chunks of users that do not depend on the number of workers."""
    bounds = np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK_EVENTS))
    bounds = np.unique(np.append(bounds, len(offsets) - 1)).tolist()
    return [slice(*pair) for pair in pairwise(bounds)]


def _counts_of(
    codes: np.ndarray,
    offsets: np.ndarray,
    timestamps: np.ndarray | None,
    weights: np.ndarray | None,
    n_items: int,
    window: int,
    directed: bool,
    most_between: int | None,
) -> tuple[sp.csr_array, int, int]:
    """Return the pairs of a chunk, the number of its events and how many of them are repeats."""
    if weights is not None and (weights <= 0).any():
        keep = weights > 0
        codes, offsets = codes[keep], kept_offsets(offsets, keep)
        timestamps = None if timestamps is None else timestamps[keep]
    pairs = pair_counts(
        codes,
        offsets,
        n_items,
        window=window,
        timestamps=timestamps,
        directed=directed,
        most_between=most_between,
    )
    return pairs, len(codes), n_repeats(codes, offsets)
