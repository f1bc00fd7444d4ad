"""Hold out the newest instant of some users."""

from __future__ import annotations

import numpy as np

from skue.histories._histories import Histories
from skue.histories._liked import newest_liked


def newest_instants(
    histories: Histories,
    share: float,
    random_state: np.random.RandomState,
    *,
    n_most: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose users, and mark their newest instant with a liked event and all that follows.

    A share of the users with an earlier event is chosen, at most ``n_most``.

    Returns
    -------
    rows : ndarray of shape (n_chosen,)
        Rows of the chosen users.
    held_out : ndarray of shape (n_events,), bool
    """
    position = np.arange(len(histories.codes))
    newest, _ = newest_liked(histories)
    able = np.flatnonzero(newest > histories.offsets[:-1])
    n_chosen = round(share * len(able))
    if n_most is not None:
        n_chosen = min(n_chosen, n_most)
    rows = np.sort(random_state.permutation(able)[:n_chosen])
    chosen = np.zeros(len(histories), dtype=bool)
    chosen[rows] = True
    lengths = histories.lengths
    return rows, np.repeat(chosen, lengths) & (position >= np.repeat(newest, lengths))
