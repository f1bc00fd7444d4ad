"""Sequences of events, and batches of their prefixes as matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from skue.encoders._events import Events, as_seconds
from skue.encoders.two_tower._model import Batch
from skue.kernels._arrays import starts_of_runs, user_item_keys

_MONTH = 30 * 86400.0
# Limits of a padded batch when encoding, to bound its memory.
_BLOCK_EVENTS = 16_384
_BLOCK_USERS = 512
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


def sequences_of(events: Events) -> Sequences:
    """Return the events with their places within instants."""
    place = None
    if events.timestamps is not None:
        place = places_in_instants(events.timestamps, events.offsets)
    return Sequences(events.rows, events.offsets, place, events.timestamps, events.weights)


def places_in_instants(timestamps: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the place of each event within its instant, from 0, int32."""
    places = np.empty(len(timestamps), dtype=np.int32)
    for _, own in stretches(offsets):
        events = slice(own[0], own[-1])
        opens = starts_of_runs(timestamps[events], own - own[0])
        position = np.arange(len(opens))
        places[events] = position - np.maximum.accumulate(np.where(opens, position, 0))
    return places


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


def batch_of(
    sequences: Sequences,
    starts: np.ndarray,
    stops: np.ndarray,
    *,
    max_history: int | None = None,
    event_dropout: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Batch:
    """Return prefixes as matrices, newest event first.

    Event dropout drops each event with this probability, but keeps at least one per prefix. Ages
    count the instants of the events that are kept. Events with a weight of zero only count for
    the ages of others.
    """
    lengths = stops - starts
    if max_history is not None:
        lengths = np.minimum(lengths, max_history)
    steps = np.arange(max(int(lengths.max(initial=0)), 1))
    shown = steps < lengths[:, None]
    events = np.where(shown, stops[:, None] - 1 - steps, 0)
    ages = _instants_after(sequences, events)
    if event_dropout and rng is not None:
        order, shown = _some_events(shown, event_dropout, rng)
        events = np.take_along_axis(events, order, axis=1)
        ages = _without_gaps(np.take_along_axis(ages, order, axis=1))
    elapsed = None
    if sequences.timestamps is not None:
        months = as_seconds(sequences.timestamps[events]) / _MONTH
        newest = as_seconds(sequences.timestamps[np.maximum(stops - 1, 0)]) / _MONTH
        elapsed = np.where(shown, newest[:, None] - months, 0).astype(np.float32)
    weights = None
    if sequences.weights is not None:
        weights = np.where(shown, sequences.weights[events], 0).astype(np.float32)
        shown = weights != 0
    rows = np.where(shown, sequences.rows[events], 0)
    ages = np.where(shown, ages, 0).astype(np.float32)
    return Batch(rows, shown, ages, elapsed, weights, *_grouped_by_item(rows, shown))


def _instants_after(sequences: Sequences, events: np.ndarray) -> np.ndarray:
    """Count the instants of a prefix that come after each event; newest events are first."""
    if sequences.place is None:
        return np.broadcast_to(np.arange(events.shape[1]), events.shape)
    opens = sequences.place[events] == 0
    return np.cumsum(opens, axis=1) - opens


def _some_events(
    present: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drop a share of the events; return the order that closes the gaps, and what is shown."""
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


def blocks_by_length(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Split users into blocks of similar length with a bounded padded size."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = min(start + _BLOCK_USERS, len(order))
        widest = max(int(lengths[order[stop - 1]]), 1)
        stop = min(stop, start + max(1, _BLOCK_EVENTS // widest))
        yield order[start:stop]
        start = stop


def _grouped_by_item(rows: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shown events sorted by user and item, and the start of each such group."""
    keys = user_item_keys(np.arange(len(rows))[:, None], rows)
    events = np.flatnonzero(shown)
    keys = keys.ravel()[events]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    opens = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=opens[1:])
    return events[order], np.flatnonzero(opens)
