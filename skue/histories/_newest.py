"""Hold out the newest instant of some users."""

from __future__ import annotations

import numpy as np

from skue.histories._histories import Histories
from skue.kernels._segments import starts_of_runs


def newest_instants(
    histories: Histories, share: float, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Choose people with two or more instants, and mark their newest instant.

    Returns
    -------
    rows : ndarray of shape (n_chosen,)
        Rows of the chosen people.
    held_out : ndarray of shape (n_events,), bool
    """
    position = np.arange(len(histories.codes))
    times = position if histories.timestamps is None else histories.timestamps
    opens = np.flatnonzero(starts_of_runs(times, histories.offsets))
    ends = histories.offsets[1:]
    newest = ends.copy()
    filled = histories.lengths > 0
    newest[filled] = opens[np.searchsorted(opens, ends[filled], side="left") - 1]
    able = np.flatnonzero(newest > histories.offsets[:-1])
    able = able[filled[able]]
    rows = np.sort(random_state.permutation(able)[: round(share * len(able))])
    chosen = np.zeros(len(histories), dtype=bool)
    chosen[rows] = True
    lengths = histories.lengths
    return rows, np.repeat(chosen, lengths) & (position >= np.repeat(newest, lengths))
