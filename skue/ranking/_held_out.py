"""The events that the second stage learns from: those that the encoder has not learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from skue._warn import warn_caller
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.encoders.two_tower._fingerprints import count_new_events
from skue.histories._histories import Histories
from skue.histories._newest import newest_instants
from skue.kernels._segments import positions_of_ranges

# The ranker needs no more users, and the table of their candidates has to fit into memory.
_SHARE, _MOST_USERS = 0.25, 10_000
# The default encoder holds out more than a tenth of the users, if that would be fewer than these.
_FEWEST_USERS = 1_000


def default_encoder(n_users: int) -> TwoTowerUserEncoder:
    """Return a two-tower encoder that holds out enough users for a second stage to learn from."""
    share = min(_SHARE, max(0.1, _FEWEST_USERS / max(n_users, 1)))
    return TwoTowerUserEncoder(validation_fraction=share)


def fitted_encoder(
    encoder: Any, histories: Histories, random_state: np.random.RandomState
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Fit the encoder without the newest events of some users, and return which these are.

    A two-tower encoder holds out events itself, and they serve the second stage as well. For
    other encoders, the newest instant of a quarter of the users is held out, at most 10,000.

    Returns
    -------
    encoder : fitted encoder
    rows : ndarray of shape (n_held_out_users,)
        Rows of the users with held-out events.
    held_out : ndarray of shape (n_events,), bool
    """
    if _holds_out(encoder):
        encoder = encoder.fit(histories, None)
        rows, held_out = _not_learned(encoder, histories, random_state)
        if len(rows):
            return encoder, rows, held_out
        if isinstance(encoder, FrozenEstimator):
            warn_caller(
                "The frozen encoder has learned from all events that could be held out, so its "
                "cosines are too good where the second stage learns. Fit the encoder with "
                "early_stopping=True, or on a log without the newest events."
            )
    rows, held_out = newest_instants(histories, _SHARE, random_state, n_most=_MOST_USERS)
    return encoder.fit(histories._keep_events(~held_out), None), rows, held_out


def _holds_out(encoder: Any) -> bool:
    """Whether the encoder will be able to tell which events it has not learned from."""
    if isinstance(encoder, FrozenEstimator):
        return isinstance(encoder.estimator, TwoTowerUserEncoder)
    return isinstance(encoder, TwoTowerUserEncoder) and encoder.early_stopping


def _not_learned(
    encoder: Any, histories: Histories, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return users with newest events that a two-tower encoder has not learned from, and these."""
    state = getattr(encoder, "training_state_", None)
    if state is None:  # fitted by an earlier version
        return np.empty(0, dtype=np.int64), np.zeros(len(histories.codes), dtype=bool)
    n_new, _ = count_new_events(histories, state.learned)
    rows = np.flatnonzero((n_new > 0) & (n_new < histories.lengths))
    if len(rows) > _MOST_USERS:
        rows = np.sort(random_state.choice(rows, _MOST_USERS, replace=False))
    held_out = np.zeros(len(histories.codes), dtype=bool)
    held_out[positions_of_ranges(histories.offsets[1:][rows] - n_new[rows], n_new[rows])] = True
    return rows, held_out
