"""What a log says about its items: how popular they are, who comes back, and what follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.encoders._events import Events, known_events, newest_of
from skue.histories._histories import Histories
from skue.histories._splits import liked
from skue.kernels._arrays import (
    LONGEST_HISTORY,
    elapsed_ages,
    instant_ages,
    owners,
    step_ages,
    user_item_keys,
)
from skue.kernels._clocks import as_seconds, end_of_log
from skue.kernels._transitions import transition_scores, transition_table

_OWN_DECAY = 0.2
_LATELY_DAYS = 30.0
_LATELY_INSTANTS = 2.0
_DAY = 86400.0
# Number of users, of instants and of gaps that the mean of all items counts as.
_PRIOR_USERS = 5.0
_PRIOR_INSTANTS = 50.0
_PRIOR_GAPS = 5.0


def liked_events(items: Any, histories: Histories) -> Events:
    """Return the events of known items with a positive weight."""
    return known_events(items, liked(histories), None)


def ages_in_instants(events: Events | Histories) -> np.ndarray:
    """Return how many newer instants (without times: events) of the same user follow an event."""
    if events.timestamps is None:
        return step_ages(events.offsets)
    return instant_ages(events.timestamps, events.offsets)


def ages_in_days(events: Events) -> np.ndarray:
    """Return the days from an event to the newest of the same user; zeros without times."""
    if events.timestamps is None:
        return np.zeros(len(events.rows))
    return elapsed_ages(as_seconds(events.timestamps), events.offsets, _DAY)


class OwnItems:
    """The distinct items of each user, sorted by user and item, and how each was chosen.

    All ages are measured from the newest event of the user.
    """

    def __init__(self, events: Events, n_items: int) -> None:
        keys = user_item_keys(owners(events.offsets), events.rows, n_items)
        order = np.argsort(keys, kind="stable")
        ages, days = ages_in_instants(events), ages_in_days(events)
        keys, instants = keys[order], ages[order]
        opens = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
        first = np.flatnonzero(opens)
        last = np.append(first[1:], len(keys))[: len(first)] - 1
        group = np.cumsum(opens) - 1
        again = ~opens
        again[1:] &= instants[1:] != instants[:-1]
        self.keys = keys[first]
        self.users, self.rows = np.divmod(self.keys, n_items)
        self.count = np.bincount(group, minlength=len(first)).astype(np.float64)
        self.instants = np.bincount(group, opens | again, len(first))
        self.decayed = np.bincount(group, np.exp(-_OWN_DECAY * instants), len(first))
        self.age = instants[last]
        self.days = days[order][last]
        self.first_age = instants[first]
        # Of the users.
        self.n_events = np.diff(events.offsets)
        self.n_distinct = np.bincount(self.users, minlength=events.n_users)
        filled = self.n_events > 0
        self.n_instants, self.n_days = np.zeros((2, events.n_users))
        oldest = events.offsets[:-1][filled]
        self.n_instants[filled] = ages[oldest] + 1
        self.n_days[filled] = days[oldest]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the position of each pair of user and item, -1 for items that are not own."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)


class LogCounts:
    """Counts of a log by item, and its transitions.

    Attributes
    ----------
    popularity : ndarray of shape (n_items,)
        Number of users who chose the item.
    lately : ndarray of shape (n_items,)
        Number of events, each halved for every 30 days before the end of the log; without times,
        for every two newer events of the same user.
    return_rate : ndarray of shape (n_items,)
        Share of its users who chose the item at two or more instants, smoothed.
    returns_per_instant : ndarray of shape (n_items,)
        How often its users came back to the item, over their instants since the first, smoothed.
    return_gap : ndarray of shape (n_items,)
        Mean number of instants from one choice of the item to the next of a user, smoothed.
    transitions : csr_array of shape (n_items, n_items)
        See :func:`transition_table`.
    by_popularity : ndarray of shape (n_items,)
        Item rows, the most popular first.
    """

    def __init__(self, items: Any, histories: Histories) -> None:
        n_items = len(items)
        events = liked_events(items, histories)
        own = OwnItems(events, n_items)
        self.popularity = np.bincount(own.rows, minlength=n_items).astype(np.float64)
        returned, returns, instants, gaps = (
            np.bincount(own.rows, column, n_items)
            for column in (
                own.instants > 1,
                own.instants - 1,
                own.first_age,
                own.first_age - own.age,
            )
        )
        self.return_rate = _smoothed(returned, self.popularity, _PRIOR_USERS)
        self.returns_per_instant = _smoothed(returns, instants, _PRIOR_INSTANTS)
        self.return_gap = _smoothed(gaps, returns, _PRIOR_GAPS)
        self.lately = np.bincount(events.rows, _recency(events), n_items)
        newest = newest_of(events, LONGEST_HISTORY)
        self.transitions = transition_table(
            newest.rows, newest.offsets, n_items, timestamps=newest.timestamps
        )
        self.by_popularity = np.argsort(-self.popularity, kind="stable")
        counts, levels = np.unique(self.popularity, return_inverse=True)
        # From -1 to 0, apart enough that no two counts are taken for a tie.
        self._below_transitions = (levels + 1) / (len(counts) + 1) - 1

    def transition_scores(self, events: Events) -> sp.csr_array:
        """Return the transition scores of the items that follow, shape (n_users, n_items)."""
        ages = ages_in_instants(events)
        return transition_scores(events.rows, events.offsets, ages, self.transitions)

    def scores_by_transitions(self, events: Events) -> np.ndarray:
        """Return the transition scores; items that do not follow are below, by popularity."""
        scores = self.transition_scores(events).toarray()
        return np.where(scores > 0, scores, self._below_transitions)


def _smoothed(sums: np.ndarray, n: np.ndarray, n_prior: float) -> np.ndarray:
    """Return means of items, to which the mean of all adds ``n_prior`` more."""
    smoothed: np.ndarray = (sums + n_prior * sums.sum() / max(n.sum(), 1.0)) / (n + n_prior)
    return smoothed


def _recency(events: Events) -> np.ndarray:
    if events.timestamps is None or not len(events.rows):
        return 0.5 ** (ages_in_instants(events) / _LATELY_INSTANTS)
    seconds = as_seconds(events.timestamps)
    ages = np.maximum(end_of_log(seconds)[0] - seconds, 0.0)
    return 0.5 ** (ages / (_DAY * _LATELY_DAYS))
