"""Training examples: prefixes of histories with the item after each, and their batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skue.encoders._events import Events, as_seconds
from skue.encoders.two_tower._channels import Batch
from skue.kernels._segments import (
    owners,
    positions_of_ranges,
    starts_of_runs,
    user_item_keys,
)

_MONTH = 30 * 86400.0
# Limits of a padded batch when encoding, to bound its memory.
_BLOCK_EVENTS = 16_384
_BLOCK_USERS = 512


class Sequences(NamedTuple):
    """Events of many users, with the instant of each event.

    ``instants`` numbers the instants of all events; ``opens`` is the position of the first event
    of the same instant. Without timestamps every event is its own instant.
    """

    rows: np.ndarray
    offsets: np.ndarray
    instants: np.ndarray
    opens: np.ndarray
    months: np.ndarray | None
    weights: np.ndarray | None


@dataclass(frozen=True)
class Examples:
    """Prefixes ``starts:stops`` of sequences, and the row of the next item."""

    starts: np.ndarray
    stops: np.ndarray
    targets: np.ndarray
    users: np.ndarray

    def take(self, chosen: np.ndarray) -> Examples:
        """Return the selected examples."""
        return Examples(
            self.starts[chosen], self.stops[chosen], self.targets[chosen], self.users[chosen]
        )

    def __len__(self) -> int:
        return len(self.starts)


def sequences_of(events: Events) -> Sequences:
    """Return the events with their instants."""
    if events.timestamps is None:
        position = np.arange(len(events.rows))
        return Sequences(events.rows, events.offsets, position, position, None, events.weights)
    opens = starts_of_runs(events.timestamps, events.offsets)
    instants = np.cumsum(opens) - 1
    months = as_seconds(events.timestamps) / _MONTH
    return Sequences(
        events.rows,
        events.offsets,
        instants,
        np.flatnonzero(opens)[instants],
        months,
        events.weights,
    )


def examples_of(sequences: Sequences) -> tuple[Examples, np.ndarray]:
    """Return one example for each event that has an earlier instant.

    Disliked items (with a weight <= 0) are part of prefixes, but not targets.

    Returns
    -------
    examples : Examples
    events : ndarray of shape (n_examples,)
        Position of each target.
    """
    users = owners(sequences.offsets)
    starts = sequences.offsets[:-1][users]
    is_target = sequences.opens > starts
    if sequences.weights is not None:
        is_target &= sequences.weights > 0
    events = np.flatnonzero(is_target)
    examples = Examples(
        starts[events], sequences.opens[events], sequences.rows[events], users[events]
    )
    return examples, events


def held_out_events(
    offsets: np.ndarray, opens: np.ndarray, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Mark the newest events of some users for validation.

    The newest instant of a ``fraction`` of the users with at least two instants is held out. If
    that gives fewer than 2,000 examples, up to five newest events per user are held out, and at
    most half of a history.
    """
    held_out = np.zeros(offsets[-1], dtype=bool)
    if not len(held_out):
        return held_out
    lengths = np.diff(offsets)
    newest = np.maximum(offsets[1:] - 1, 0)
    able = np.flatnonzero((lengths > 1) & (opens[newest] > offsets[:-1]))
    n_users = round(fraction * len(able))
    if not n_users:
        return held_out
    users = rng.choice(able, n_users, replace=False)
    each = min(5, -(-2000 // n_users))
    first = opens[offsets[1:][users] - np.clip(lengths[users] // 2, 1, each)]
    # If that would hold out the whole history, hold out only its newest instant.
    first = np.where(first > offsets[:-1][users], first, opens[newest[users]])
    held_out[positions_of_ranges(first, offsets[1:][users] - first)] = True
    return held_out


def split_examples(
    examples: Examples,
    is_held_out: np.ndarray,
    rng: np.random.Generator,
    n_most: int = 5000,
) -> tuple[Examples, Examples]:
    """Split examples by whether their target is held out; at most ``n_most`` validate."""
    chosen = np.flatnonzero(is_held_out)
    if len(chosen) > n_most:
        chosen = np.sort(rng.choice(chosen, n_most, replace=False))
    return examples.take(np.flatnonzero(~is_held_out)), examples.take(chosen)


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

    Event dropout drops each event with this probability, but keeps at least one per prefix.
    """
    lengths = stops - starts
    if max_history is not None:
        lengths = np.minimum(lengths, max_history)
    steps = np.arange(max(int(lengths.max(initial=0)), 1))
    shown = steps < lengths[:, None]
    events = np.where(shown, stops[:, None] - 1 - steps, 0)
    newest = np.maximum(stops - 1, 0)[:, None]
    ages = sequences.instants[newest] - sequences.instants[events]
    if event_dropout and rng is not None:
        events, shown = _some_events(events, shown, event_dropout, rng)
        ages = _ages_of_shown(sequences.instants[events], shown)
    elapsed = None
    if sequences.months is not None:
        elapsed = sequences.months[newest] - sequences.months[events]
        elapsed = np.where(shown, elapsed, 0).astype(np.float32)
    weights = None
    if sequences.weights is not None:
        weights = np.where(shown, sequences.weights[events], 0).astype(np.float32)
    rows = np.where(shown, sequences.rows[events], 0)
    ages = np.where(shown, ages, 0).astype(np.float32)
    return Batch(rows, shown, ages, elapsed, weights, *_grouped_by_item(rows, shown))


def _some_events(
    events: np.ndarray, present: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drop a share of the events, and close the gaps."""
    stays = present & (rng.random(present.shape, dtype=np.float32) >= share)
    stays[:, 0] |= present[:, 0] & ~stays.any(axis=1)
    width = max(int(stays.sum(axis=1).max(initial=0)), 1)
    order = np.argsort(~stays, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(events, order, axis=1), np.take_along_axis(stays, order, axis=1)


def _ages_of_shown(instants: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Count the later instants that are still shown; dropped events do not count."""
    known = np.where(shown, instants, np.iinfo(np.int64).max)
    before = np.minimum.accumulate(known, axis=1)
    opens = shown.copy()
    opens[:, 1:] &= known[:, 1:] < before[:, :-1]
    return np.maximum(np.cumsum(opens, axis=1) - 1, 0)


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
