"""What training learns from: the events to predict, how they are drawn, which are held out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skue.encoders.two_tower._sequences import Sequences, stretches
from skue.kernels._arrays import positions_of_ranges

# An epoch uses at most about this many examples, drawn anew, and this many of one user.
_EXAMPLES_PER_EPOCH = 2**18
_EXAMPLES_PER_USER = 50


@dataclass(frozen=True)
class Examples:
    """Prefixes ``starts:stops`` of sequences, and the row of the next item."""

    starts: np.ndarray
    stops: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)


def examples_of(sequences: Sequences, events: np.ndarray) -> Examples:
    """Return the examples whose targets are these events."""
    users = np.searchsorted(sequences.offsets, events, side="right") - 1
    starts = sequences.offsets[users]
    return Examples(starts, sequences.opens_of(events), sequences.rows[events])


def target_events(sequences: Sequences) -> np.ndarray:
    """Mark the events that can be predicted, shape (n_events,), bool: they have an earlier instant.

    Disliked items (with a weight <= 0) are part of prefixes, but not targets.
    """
    can = np.ones(len(sequences.rows), dtype=bool)
    offsets, place = sequences.offsets, sequences.place
    for _, own in stretches(offsets):
        events = slice(own[0], own[-1])
        position = np.arange(own[0], own[-1])
        opens = position if place is None else position - place[events]
        can[events] = opens > np.repeat(own[:-1], np.diff(own))
        if sequences.weights is not None:
            can[events] &= sequences.weights[events] > 0
    return can


class Targets:
    """The events that training predicts.

    They are a mask over the events of the log. An epoch draws from them, so examples are never
    listed all at once.

    Parameters
    ----------
    sequences : Sequences
    chosen : ndarray of shape (n_events,), bool
    """

    def __init__(self, sequences: Sequences, chosen: np.ndarray) -> None:
        self.sequences = sequences
        self.chosen = chosen

    def __len__(self) -> int:
        return int(self._n_of_user.sum())

    @cached_property
    def _n_of_user(self) -> np.ndarray:
        offsets = self.sequences.offsets
        filled = np.diff(offsets) > 0
        counts = np.zeros(len(filled), dtype=np.int64)
        if filled.any():
            starts = offsets[:-1][filled]
            counts[filled] = np.add.reduceat(self.chosen, starts, dtype=np.int64)
        return counts

    @cached_property
    def _chance(self) -> np.ndarray:
        """How likely an epoch uses each target of a user, if all users were used."""
        return np.minimum(1, _EXAMPLES_PER_USER / np.maximum(self._n_of_user, 1))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the targets of an epoch in random order.

        Each is drawn independently: about 50 per user, and about 262,144 in total. If there are
        fewer, all are used.
        """
        expected = self._n_of_user @ self._chance
        rate = min(1, _EXAMPLES_PER_EPOCH / max(expected, 1))
        drawn = []
        for users, own in stretches(self.sequences.offsets):
            events = own[0] + np.flatnonzero(self.chosen[own[0] : own[-1]])
            chance = np.repeat(rate * self._chance[users], self._n_of_user[users])
            drawn.append(events[rng.random(len(events)) < chance])
        return rng.permutation(np.concatenate(drawn))

    def shares(self, n_items: int) -> np.ndarray:
        """Return the expected share of each item among the targets of an epoch."""
        counts = np.zeros(n_items)
        for users, own in stretches(self.sequences.offsets):
            keep = self.chosen[own[0] : own[-1]]
            rows = self.sequences.rows[own[0] : own[-1]][keep]
            chance = np.repeat(self._chance[users], self._n_of_user[users])
            counts += np.bincount(rows, chance, minlength=n_items)
        return counts / max(counts.sum(), 1e-300)


def held_out_events(
    sequences: Sequences,
    fraction: float,
    rng: np.random.Generator,
    n_new: np.ndarray | None = None,
) -> np.ndarray:
    """Mark the newest events of some users for validation.

    The newest instant of a ``fraction`` of the users with at least two instants is held out. If
    that gives fewer than 2,000 examples, up to five newest events per user are held out, and at
    most half of a history.

    Parameters
    ----------
    sequences : Sequences
    fraction : float
    rng : Generator
    n_new : ndarray of shape (n_users,), default=None
        Only this many newest events of each user may be held out. None means all events.
    """
    starts, stops = sequences.offsets[:-1], sequences.offsets[1:]
    held_out = np.zeros(sequences.offsets[-1], dtype=bool)
    n_new = stops - starts if n_new is None else n_new
    filled = np.flatnonzero((n_new > 0) & (stops > starts))
    newest = sequences.opens_of(stops[filled] - 1)
    able = filled[(newest > starts[filled]) & (newest >= (stops - n_new)[filled])]
    n_users = round(fraction * len(able))
    if not n_users:
        return held_out
    users = rng.choice(able, n_users, replace=False)
    starts, stops, n_new = starts[users], stops[users], n_new[users]
    each = min(5, -(-2000 // n_users))
    first = sequences.opens_of(stops - np.clip(np.minimum((stops - starts) // 2, n_new), 1, each))
    # If that would hold out the whole history or old events, hold out only the newest instant.
    is_allowed = (first > starts) & (first >= stops - n_new)
    first = np.where(is_allowed, first, sequences.opens_of(stops - 1))
    held_out[positions_of_ranges(first, stops - first)] = True
    return held_out
