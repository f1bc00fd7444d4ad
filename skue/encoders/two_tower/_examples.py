"""What training learns from: events to predict, the histories before them, and batches of both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skue.encoders._events import Events
from skue.kernels._arrays import starts_of_runs, user_item_keys
from skue.kernels._clocks import as_seconds

_MONTH = 30 * 86400.0
# An epoch uses at most about this many examples, drawn anew, and this many of one user.
_EXAMPLES_PER_EPOCH = 2**18
_EXAMPLES_PER_USER = 50
# Number of events handled at a time when all events of a log are read, to bound the memory.
_STRETCH = 2**22


class Sequences(NamedTuple):
    """Events of many users, oldest first.

    ``place`` is the place of each event within its instant, from 0. It is None without timestamps,
    where every event is its own instant.
    """

    rows: np.ndarray
    offsets: np.ndarray
    place: np.ndarray | None
    timestamps: np.ndarray | None
    weights: np.ndarray | None

    def opens_of(self, events: np.ndarray) -> np.ndarray:
        """Return the position of the first event of the instant of each event."""
        return events if self.place is None else events - self.place[events]

    def users_of(self, events: np.ndarray) -> np.ndarray:
        """Return the user of each event."""
        return np.searchsorted(self.offsets, events, side="right") - 1


def sequences_of(events: Events) -> Sequences:
    """Return the events with their places within instants."""
    timestamps, place = events.timestamps, None
    if timestamps is not None:
        place = np.empty(len(timestamps), dtype=np.int32)
        for _, own in stretches(events.offsets):
            part = slice(own[0], own[-1])
            opens = starts_of_runs(timestamps[part], own - own[0])
            position = np.arange(len(opens))
            place[part] = position - np.maximum.accumulate(np.where(opens, position, 0))
    return Sequences(events.rows, events.offsets, place, timestamps, events.weights)


def stretches(offsets: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Split users into stretches of a bounded number of events, at least one user each.

    Yields the users of each stretch, and their part of the offsets.
    """
    start, n_users = 0, len(offsets) - 1
    while start < n_users:
        stop = int(np.searchsorted(offsets, offsets[start] + _STRETCH, side="right")) - 1
        stop = min(max(stop, start + 1), n_users)
        yield slice(start, stop), offsets[start : stop + 1]
        start = stop


class Examples(NamedTuple):
    """Prefixes ``starts:stops`` of sequences, and the row of the next item."""

    starts: np.ndarray
    stops: np.ndarray
    targets: np.ndarray


def examples_of(sequences: Sequences, events: np.ndarray) -> Examples:
    """Return the examples whose targets are these events."""
    starts = sequences.offsets[sequences.users_of(events)]
    return Examples(starts, sequences.opens_of(events), sequences.rows[events])


def target_events(sequences: Sequences) -> np.ndarray:
    """Mark the events that can be predicted, shape (n_events,), bool: they have an earlier instant.

    Disliked items (with a weight <= 0) are part of prefixes, but not targets.
    """
    can = np.ones(len(sequences.rows), dtype=bool)
    for _, own in stretches(sequences.offsets):
        events = np.arange(own[0], own[-1])
        can[events] = sequences.opens_of(events) > np.repeat(own[:-1], np.diff(own))
        if sequences.weights is not None:
            can[events] &= sequences.weights[events] > 0
    return can


class Targets:
    """The events that training predicts: a mask over the events of the log.

    An epoch draws from them, so examples are never listed all at once.
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

        Each is drawn independently: about 50 per user, and about 262,144 in total, or all.
        """
        expected = self._n_of_user @ self._chance
        rate = min(1, _EXAMPLES_PER_EPOCH / max(expected, 1))
        drawn = [
            events[rng.random(len(events)) < rate * chance] for events, chance in self._by_stretch()
        ]
        return rng.permutation(np.concatenate(drawn))

    def shares(self, n_items: int) -> np.ndarray:
        """Return the expected share of each item among the targets of an epoch."""
        counts = np.zeros(n_items)
        for events, chance in self._by_stretch():
            counts += np.bincount(self.sequences.rows[events], chance, minlength=n_items)
        return counts / max(counts.sum(), 1e-300)

    def _by_stretch(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the targets of some users, and their chances."""
        for users, own in stretches(self.sequences.offsets):
            events = own[0] + np.flatnonzero(self.chosen[own[0] : own[-1]])
            yield events, np.repeat(self._chance[users], self._n_of_user[users])


class Batch(NamedTuple):
    """Histories as matrices of shape (n_users, n_events), newest event first.

    Short histories are padded with absent events. ``by_item`` lists the present events (as flat
    positions) sorted by user and item; ``item_starts`` is where each such group begins.
    """

    rows: np.ndarray
    present: np.ndarray
    ages: np.ndarray
    elapsed: np.ndarray | None
    weights: np.ndarray | None
    by_item: np.ndarray
    item_starts: np.ndarray


def batch_of(
    sequences: Sequences,
    starts: np.ndarray,
    stops: np.ndarray,
    *,
    max_history: int | None = None,
    event_dropout: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Batch:
    """Return the prefixes ``starts:stops`` as a batch.

    Event dropout drops each event with this probability, but keeps at least one per prefix. Ages
    count the instants of the events that are kept. Events with a weight of zero only count for
    the ages of others.
    """
    lengths = stops - starts
    if max_history is not None:
        lengths = np.minimum(lengths, max_history)
    steps = np.arange(max(int(lengths.max(initial=0)), 1))
    present = steps < lengths[:, None]
    events = np.where(present, stops[:, None] - 1 - steps, 0)
    ages = _instants_after(sequences, events)
    if event_dropout and rng is not None:
        order, present = _without_some(present, event_dropout, rng)
        events = np.take_along_axis(events, order, axis=1)
        ages = _without_gaps(np.take_along_axis(ages, order, axis=1))
    elapsed = weights = None
    if sequences.timestamps is not None:
        months = as_seconds(sequences.timestamps[events]) / _MONTH
        newest = as_seconds(sequences.timestamps[np.maximum(stops - 1, 0)]) / _MONTH
        elapsed = np.where(present, newest[:, None] - months, 0).astype(np.float32)
    if sequences.weights is not None:
        weights = np.where(present, sequences.weights[events], 0).astype(np.float32)
        present = weights != 0
    rows = np.where(present, sequences.rows[events], 0)
    ages = np.where(present, ages, 0).astype(np.float32)
    return Batch(rows, present, ages, elapsed, weights, *grouped_by_item(rows, present))


def _instants_after(sequences: Sequences, events: np.ndarray) -> np.ndarray:
    """Count the instants of a prefix that come after each event; newest events are first."""
    if sequences.place is None:
        return np.broadcast_to(np.arange(events.shape[1]), events.shape)
    opens = sequences.place[events] == 0
    return np.cumsum(opens, axis=1) - opens


def _without_some(
    present: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drop a share of the events; return the order that closes the gaps, and what is present."""
    stays = present & (rng.random(present.shape, dtype=np.float32) >= share)
    stays[:, 0] |= present[:, 0] & ~stays.any(axis=1)
    width = max(int(stays.sum(axis=1).max(initial=0)), 1)
    order = np.argsort(~stays, axis=1, kind="stable")[:, :width]
    return order, np.take_along_axis(stays, order, axis=1)


def _without_gaps(ages: np.ndarray) -> np.ndarray:
    """Number the distinct ages of each row from 0. The ages of a row do not fall."""
    numbered = np.zeros(ages.shape, dtype=np.int64)
    np.cumsum(ages[:, 1:] != ages[:, :-1], axis=1, out=numbered[:, 1:])
    return numbered


def grouped_by_item(rows: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the present events sorted by user and item, and the start of each such group."""
    keys = user_item_keys(np.arange(len(rows))[:, None], rows)
    events = np.flatnonzero(present)
    keys = keys.ravel()[events]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    opens = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=opens[1:])
    return events[order], np.flatnonzero(opens)
