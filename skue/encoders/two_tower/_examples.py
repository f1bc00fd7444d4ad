"""What training learns from: the events to predict, how they are drawn, which are held out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skue.encoders.two_tower._sequences import Sequences, stretches
from skue.kernels._segments import positions_of_ranges

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
    for users in stretches(offsets):
        own = offsets[users.start : users.stop + 1]
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
        for users in stretches(self.sequences.offsets):
            own = self.sequences.offsets[users.start : users.stop + 1]
            events = own[0] + np.flatnonzero(self.chosen[own[0] : own[-1]])
            chance = np.repeat(rate * self._chance[users], self._n_of_user[users])
            drawn.append(events[rng.random(len(events)) < chance])
        return rng.permutation(np.concatenate(drawn))

    def shares(self, n_items: int) -> np.ndarray:
        """Return the expected share of each item among the targets of an epoch."""
        counts = np.zeros(n_items)
        for users in stretches(self.sequences.offsets):
            own = self.sequences.offsets[users.start : users.stop + 1]
            keep = self.chosen[own[0] : own[-1]]
            rows = self.sequences.rows[own[0] : own[-1]][keep]
            chance = np.repeat(self._chance[users], self._n_of_user[users])
            counts += np.bincount(rows, chance, minlength=n_items)
        return counts / max(counts.sum(), 1e-300)


def held_out_events(sequences: Sequences, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Mark the newest events of some users for validation.

    The newest instant of a ``fraction`` of the users with at least two instants is held out. If
    that gives fewer than 2,000 examples, up to five newest events per user are held out, and at
    most half of a history.
    """
    offsets = sequences.offsets
    held_out = np.zeros(offsets[-1], dtype=bool)
    if not len(held_out):
        return held_out
    lengths = np.diff(offsets)
    newest = np.maximum(offsets[1:] - 1, 0)
    able = np.flatnonzero((lengths > 1) & (sequences.opens_of(newest) > offsets[:-1]))
    n_users = round(fraction * len(able))
    if not n_users:
        return held_out
    users = rng.choice(able, n_users, replace=False)
    each = min(5, -(-2000 // n_users))
    first = sequences.opens_of(offsets[1:][users] - np.clip(lengths[users] // 2, 1, each))
    # If that would hold out the whole history, hold out only its newest instant.
    first = np.where(first > offsets[:-1][users], first, sequences.opens_of(newest[users]))
    held_out[positions_of_ranges(first, offsets[1:][users] - first)] = True
    return held_out
