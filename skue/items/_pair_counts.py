"""Counts of item pairs of a log: counted in chunks of users by joblib workers, and added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.kernels._cooccurrence import n_repeats, pair_counts, renumbered
from skue.kernels._segments import kept_offsets
from skue.reading._ids import is_text, shown

# Number of events counted at a time. A longer history is a chunk of its own.
CHUNK_EVENTS = 2**18


class PairCounts(NamedTuple):
    """Counts of a log, as :func:`skue.kernels._cooccurrence.pair_counts` returns them."""

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
        if not np.array_equal(item_ids, later.item_ids):
            item_ids = _union(item_ids, later.item_ids)
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


def counted(
    histories: Histories, *, window: int, directed: bool = False, n_jobs: int | None = None
) -> PairCounts:
    """Count the pairs of a log. Events with a weight of zero or less are ignored.

    The counts are exact sums, so they are the same for every number of workers. A memory-mapped
    log is read chunk by chunk.
    """
    n_items = len(histories.vocabulary)
    options = {"window": window, "directed": directed}
    n_events, repeats = 0, 0

    def tables() -> Iterator[sp.csr_array]:
        nonlocal n_events, repeats
        for table, n_counted, n_repeated in _parts(histories, n_items, options, n_jobs):
            n_events, repeats = n_events + n_counted, repeats + n_repeated
            yield table

    pairs = _summed(tables(), n_items)
    return PairCounts(pairs, histories.item_ids, n_events, repeats)


def _parts(
    histories: Histories, n_items: int, options: dict, n_jobs: int | None
) -> Iterator[tuple[sp.csr_array, int, int]]:
    """Yield the counts of every chunk, of two chunks a worker at a time to limit memory."""
    chunks = _chunks(histories.offsets)
    n_workers = min(effective_n_jobs(n_jobs), len(chunks))
    if n_workers < 2:
        yield from (_count(*_columns(histories, users), n_items, options) for users in chunks)
        return
    with Parallel(n_jobs=n_jobs, batch_size=1) as workers:
        for start in range(0, len(chunks), 2 * n_workers):
            yield from workers(
                delayed(_count)(*_columns(histories, users), n_items, options)
                for users in chunks[start : start + 2 * n_workers]
            )


def _chunks(offsets: np.ndarray) -> list[slice]:
    """Return chunks of users that do not depend on the number of workers."""
    bounds = np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK_EVENTS))
    bounds = np.unique(np.append(bounds, len(offsets) - 1)).tolist()
    return [slice(*pair) for pair in pairwise(bounds)]


def _columns(
    histories: Histories, users: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return what workers need of these users; the ids stay here."""
    chunk = histories[users]
    return chunk.codes, chunk.offsets, chunk.timestamps, chunk.weights


def _count(
    codes: np.ndarray,
    offsets: np.ndarray,
    timestamps: np.ndarray | None,
    weights: np.ndarray | None,
    n_items: int,
    options: dict,
) -> tuple[sp.csr_array, int, int]:
    """Return the pairs of a chunk, the number of its events and how many of them are repeats."""
    if weights is not None and (weights <= 0).any():
        keep = weights > 0
        codes, offsets = codes[keep], kept_offsets(offsets, keep)
        timestamps = None if timestamps is None else timestamps[keep]
    pairs = pair_counts(codes, offsets, n_items, timestamps=timestamps, **options)
    return pairs, len(codes), n_repeats(codes, offsets)


def _summed(tables: Iterable[sp.csr_array], n_items: int) -> sp.csr_array:
    """Add tables as they arrive: two at a time, of about equal size, so that adding stays cheap."""
    sums: list[tuple[int, sp.csr_array]] = []
    for total in tables:
        n_added = 1
        while sums and sums[-1][0] == n_added:
            total = sums.pop()[1] + total
            n_added *= 2
        sums.append((n_added, total))
    total = sp.csr_array((n_items, n_items))
    while sums:
        total = sums.pop()[1] + total
    return total


def _union(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    for ids, others in ((earlier, later), (later, earlier)):
        if not len(ids):
            return others
    if is_text(earlier) != is_text(later):
        raise ValueError(
            f"The items of X are {_kind(later)}, but those counted before are {_kind(earlier)}. "
            "Pass ids of one type."
        )
    return np.union1d(earlier, later)


def _kind(ids: np.ndarray) -> str:
    return f"{'text' if is_text(ids) else 'integers'} (such as {shown(ids[0])})"
