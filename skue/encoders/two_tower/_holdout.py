"""What the two-tower encoder holds out inside fit, to know when to stop."""

from __future__ import annotations

import numpy as np

from skue.encoders.two_tower._examples import Examples, Sequences
from skue.kernels._segments import positions_of_ranges


def held_out_events(
    offsets: np.ndarray, opens: np.ndarray, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Mark the newest events of some users, to validate by.

    A ``fraction`` of the users who have two instants or more gives its newest instant; where
    that makes fewer than 2,000 examples, up to five newest events, and at most half of a history.
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
    # Where that would take the whole history, only its newest instant goes.
    first = np.where(first > offsets[:-1][users], first, opens[newest[users]])
    held_out[positions_of_ranges(first, offsets[1:][users] - first)] = True
    return held_out


def split_examples(
    sequences: Sequences,
    examples: Examples,
    events: np.ndarray,
    held_out: np.ndarray,
    rng: np.random.Generator,
    n_most: int = 5000,
) -> tuple[Examples, Examples]:
    """Part examples by whether their target is held out; at most so many validate."""
    validates = held_out[events]
    chosen = np.flatnonzero(validates)
    if len(chosen) > n_most:
        chosen = np.sort(rng.choice(chosen, n_most, replace=False))
    return examples.take(np.flatnonzero(~validates)), examples.take(chosen)
