"""Rankings that need no vectors: what every encoder has to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._segments import kept_offsets, starts_of_runs

# Scores are whole numbers, so anything below 1 tells equal from unequal.
TOLERANCE = 0.5


class Popularity:
    """Rank items by how many training events they have."""

    def fit(self, histories: Histories, items: ItemEmbeddings) -> Popularity:
        rows = items.rows_of(histories)
        counts = np.bincount(rows[rows >= 0], minlength=len(items))
        # Places among the distinct counts stay small enough to be exact beside other terms.
        self.items_ = items
        self.levels_ = np.unique(counts, return_inverse=True)[1].astype(np.float64)
        return self

    def score_blocks(self, histories: Histories) -> Callable[[int, int], np.ndarray]:
        """Return a function from a stretch of users to their scores of every item."""
        first = self._first_by(histories)
        scale = self.levels_.max(initial=0.0) + 1.0

        def score_block(start: int, stop: int) -> np.ndarray:
            return first[start:stop].toarray() * scale + self.levels_

        return score_block

    def _first_by(self, histories: Histories) -> sp.csr_array:
        """What goes before popularity: a number for each user and item."""
        return sp.csr_array((len(histories), len(self.items_)))

    def _counts(self, histories: Histories) -> sp.csr_array:
        rows = self.items_.rows_of(histories)
        known = rows >= 0
        offsets = kept_offsets(histories.offsets, known)
        counts = sp.csr_array(
            (np.ones(int(offsets[-1])), rows[known], offsets),
            shape=(len(histories), len(self.items_)),
        )
        counts.sum_duplicates()
        return counts


class LastItem(Popularity):
    """Rank the items of the newest instant (without times: the newest event) before all others."""

    def _first_by(self, histories: Histories) -> sp.csr_array:
        newest = self._counts(_newest_instant(histories))
        newest.data[:] = 1.0
        return newest


class OwnFrequency(Popularity):
    """Rank items by how often they are in the user's own history."""

    def _first_by(self, histories: Histories) -> sp.csr_array:
        return self._counts(histories)


def _newest_instant(histories: Histories) -> Histories:
    position = np.arange(len(histories.codes))
    times = position if histories.timestamps is None else histories.timestamps
    opens = np.flatnonzero(starts_of_runs(times, histories.offsets))
    starts = histories.offsets[1:].copy()
    filled = histories.lengths > 0
    starts[filled] = opens[np.searchsorted(opens, histories.offsets[1:][filled], side="left") - 1]
    return histories._keep_events(position >= np.repeat(starts, histories.lengths))
