"""The events that the second stage learns from: those that the encoder has not learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from skue._warn import warn_caller
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._fingerprints import count_new_events
from skue.histories._histories import Histories
from skue.histories._liked import is_liked, liked
from skue.histories._newest import newest_instants
from skue.kernels._segments import offsets_of, positions_of_ranges, starts_of_runs

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
) -> tuple[Any, np.ndarray]:
    """Fit the encoder without the newest events of some users, and return which these are.

    A two-tower encoder holds out events itself, and they serve the second stage as well. For
    other encoders, the newest instant of a quarter of the users is held out, at most 10,000.

    Returns
    -------
    encoder : fitted encoder
    held_out : ndarray of shape (n_events,), bool
    """
    if _holds_out(encoder):
        encoder = encoder.fit(histories, None)
        held_out = _not_learned(encoder, histories, random_state)
        if held_out.any():
            return encoder, held_out
        if isinstance(encoder, FrozenEstimator):
            warn_caller(
                "The frozen encoder has learned from all events that could be held out, so its "
                "cosines are too good where the second stage learns. Fit the encoder with "
                "early_stopping=True, or on a log without the newest events."
            )
    _, held_out = newest_instants(histories, _SHARE, random_state, n_most=_MOST_USERS)
    return encoder.fit(histories._keep_events(~held_out), None), held_out


def queries_before(
    histories: Histories, held_out: np.ndarray, random_state: np.random.RandomState
) -> tuple[np.ndarray, Histories, Histories]:
    """Return a query for each held-out instant with a liked event: all of the user before it.

    Several instants of a user are predicted one after the other, as the next instant will be. If
    all were predicted from the first query, the newest events would be missing where tastes move.

    Returns
    -------
    people : ndarray of shape (n_queries,)
        The user of each query, numbered from 0.
    queries, answers : Histories
        The events before an instant, and the liked ones of the instant. At most 10,000, chosen at
        random.
    """
    times = (
        np.arange(len(histories.codes)) if histories.timestamps is None else histories.timestamps
    )
    bounds = np.flatnonzero(np.append(starts_of_runs(times, histories.offsets), True))
    n_liked = np.append(0, np.cumsum(is_liked(histories)))[bounds]
    chosen = np.flatnonzero(held_out[bounds[:-1]] & (np.diff(n_liked) > 0))
    if len(chosen) > _MOST_USERS:
        chosen = np.sort(random_state.choice(chosen, _MOST_USERS, replace=False))
    opens, ends = bounds[chosen], bounds[chosen + 1]
    users = np.searchsorted(histories.offsets, opens, side="right") - 1
    starts = histories.offsets[users]

    def between(starts: np.ndarray, stops: np.ndarray) -> Histories:
        events = positions_of_ranges(starts, stops - starts)
        return histories._with_events(events, offsets_of(stops - starts), users)

    people = np.unique(users, return_inverse=True)[1]
    return people, between(starts, opens), liked(between(opens, ends))


def _holds_out(encoder: Any) -> bool:
    """Whether the encoder will be able to tell which events it has not learned from."""
    if isinstance(encoder, FrozenEstimator):
        return isinstance(encoder.estimator, TwoTowerUserEncoder)
    return isinstance(encoder, TwoTowerUserEncoder) and encoder.early_stopping


def _not_learned(
    encoder: Any, histories: Histories, random_state: np.random.RandomState
) -> np.ndarray:
    """Mark the newest events that a two-tower encoder has not learned from, of some users."""
    held_out = np.zeros(len(histories.codes), dtype=bool)
    state = getattr(encoder, "training_state_", None)
    if state is None:  # fitted by an earlier version
        return held_out
    n_new, _ = count_new_events(histories, state.learned)
    rows = np.flatnonzero((n_new > 0) & (n_new < histories.lengths))
    if len(rows) > _MOST_USERS:
        rows = np.sort(random_state.choice(rows, _MOST_USERS, replace=False))
    held_out[positions_of_ranges(histories.offsets[1:][rows] - n_new[rows], n_new[rows])] = True
    return held_out
