"""The events that encoders read: events of known items, and their ages."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from skue.histories._histories import Histories
from skue.items._item_embeddings import Catalogue
from skue.kernels._arrays import (
    elapsed_ages,
    instant_ages,
    kept_offsets,
    newest_events,
    step_ages,
)
from skue.kernels._clocks import as_seconds

AgeUnit: TypeAlias = Literal["step", "instant", "s", "m", "h", "D", "W"]
AGE_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "D": 86400.0, "W": 604800.0}
AGE_UNITS = {"step", "instant", *AGE_SECONDS}


class Events(NamedTuple):
    """The known events of a batch of users as flat columns, oldest first.

    :class:`UserEncoder` hands them to ``_encode_events``. User ``i`` has the events
    ``offsets[i]:offsets[i + 1]``, none if both are equal.

    Parameters
    ----------
    rows : ndarray of shape (n_events,), int32
        Row of each event's item in ``item_embeddings_``.
    offsets : ndarray of shape (n_users + 1,), int64
        Where the events of each user start; the last entry is ``n_events``.
    timestamps : ndarray of shape (n_events,), datetime64 or float64 (seconds), or None
        Time of each event.
    weights : ndarray of shape (n_events,), float64, or None
        None is a weight of 1 for every event.
    user_features : ndarray of shape (n_users, n_features), or None
        Numbers known of each user.

    Examples
    --------
    >>> import numpy as np
    >>> from skue import Events
    >>> events = Events(np.array([4, 1, 4]), np.array([0, 2, 3]), None, None)
    >>> events.n_users, events.ages("step")
    (2, array([1., 0., 0.]))
    """

    rows: np.ndarray
    offsets: np.ndarray
    timestamps: np.ndarray | None
    weights: np.ndarray | None
    user_features: np.ndarray | None = None

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.offsets) - 1

    def of_users(self, start: int, stop: int) -> Events:
        """Return the events of some users, without copying.

        Parameters
        ----------
        start, stop : int
            The first user, and the one after the last.

        Returns
        -------
        events : Events
        """
        events = slice(self.offsets[start], self.offsets[stop])
        return Events(
            self.rows[events],
            self.offsets[start : stop + 1] - self.offsets[start],
            None if self.timestamps is None else self.timestamps[events],
            None if self.weights is None else self.weights[events],
            None if self.user_features is None else self.user_features[start:stop],
        )

    def take(self, events: np.ndarray, offsets: np.ndarray) -> Events:
        """Return the selected events with new offsets.

        Parameters
        ----------
        events : slice, mask or ndarray of int
            The events to keep, in the order of the users.
        offsets : ndarray of shape (n_users + 1,), int64
            Where the kept events of each user start.

        Returns
        -------
        events : Events
        """
        return Events(
            self.rows[events],
            offsets,
            None if self.timestamps is None else self.timestamps[events],
            None if self.weights is None else self.weights[events],
            self.user_features,
        )

    def ages(self, age_unit: AgeUnit) -> np.ndarray:
        """Return the age of every event in a unit, float64; 0 for a user's newest.

        Parameters
        ----------
        age_unit : {"step", "instant", "s", "m", "h", "D", "W"}
            As in :class:`DecayAverageUserEncoder`.
        """
        if age_unit == "step":
            return step_ages(self.offsets)
        if not len(self.rows):
            return np.empty(0)
        if self.timestamps is None:
            raise ValueError(
                f"age_unit={age_unit!r} needs timestamps, but X has none. Pass Histories or a "
                "frame with timestamps, or set age_unit='step'."
            )
        if age_unit == "instant":
            return instant_ages(self.timestamps, self.offsets)
        return elapsed_ages(as_seconds(self.timestamps), self.offsets, AGE_SECONDS[age_unit])


def known_events(items: Catalogue, histories: Histories, max_history: int | None = None) -> Events:
    """Drop the events of unknown items, then keep each user's newest ``max_history``."""
    rows = items.rows_of(histories)
    columns = histories.offsets, histories.timestamps, histories.weights, histories.user_features
    events = Events(rows, *columns)
    if not items.vocabulary.map_of(histories.vocabulary)[1]:
        known = rows >= 0
        events = events.take(known, kept_offsets(histories.offsets, known))
    return events if max_history is None else newest_of(events, max_history)


def new_items(items: Catalogue, histories: Histories) -> np.ndarray:
    """Mark the items without an event, shape (n_items,), bool."""
    counts = np.bincount(histories.codes, minlength=len(histories.item_ids))
    rows = items.lookup(histories.item_ids[counts > 0])
    is_new = np.ones(len(items), dtype=bool)
    is_new[rows[rows >= 0]] = False
    return is_new


def newest_of(events: Events, n_most: int) -> Events:
    """Keep each user's ``n_most`` newest events."""
    if np.diff(events.offsets).max(initial=0) <= n_most:
        return events
    return events.take(*newest_events(events.offsets, n_most))
