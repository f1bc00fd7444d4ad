"""User vectors of prefixes, from the weights of trained towers."""

from __future__ import annotations

import numpy as np

from skue.encoders.two_tower._model import Arrays, head, pool
from skue.encoders.two_tower._sequences import Sequences, batch_of, blocks_by_length
from skue.kernels._unit_rows import row_norms, unit_rows

Towers = list[Arrays]
"""Weights of each user tower. Their item vectors are concatenated in blocks of equal width."""


def encode(
    sequences: Sequences,
    starts: np.ndarray,
    stops: np.ndarray,
    towers: Towers,
    item_vectors: np.ndarray,
    max_history: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit user vectors of prefixes, and which of them have a direction.

    The vectors of several towers are concatenated, like their item vectors.
    """
    users = np.zeros((len(starts), item_vectors.shape[1]), dtype=np.float32)
    defined = np.zeros(len(starts), dtype=bool)
    lengths = stops - starts
    if max_history is not None:
        lengths = np.minimum(lengths, max_history)
    filled = np.flatnonzero(lengths)
    blocks = np.split(item_vectors, len(towers), axis=1)
    towers = in_float64(towers)
    for within in blocks_by_length(lengths[filled]):
        block = filled[within]
        batch = batch_of(sequences, starts[block], stops[block], max_history=max_history)
        parts = []
        for parameters, vectors in zip(towers, blocks, strict=True):
            pooled = pool(batch, parameters, vectors, squared_norm=1 / len(towers))
            headed = head(pooled.channels, parameters)
            has = np.isfinite(pooled.norms).any(axis=1) & np.isfinite(headed.norms)
            parts.append(headed.users * has[:, None])
            defined[block] |= has
        users[block] = parts[0] if len(parts) == 1 else side_by_side(parts)
    return users, defined


def in_float64(towers: Towers) -> Towers:
    """Return the weights in float64, so that the vector of a user does not depend on the batch.

    The gates are only looked up and added, so they stay as they are.
    """
    return [
        {
            name: value if name == "gate" else value.astype(np.float64, copy=False)
            for name, value in tower.items()
        }
        for tower in towers
    ]


def side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    """Return the concatenated rows at length 1; a part that is zero adds nothing."""
    rows = np.hstack(parts)
    return unit_rows(rows, row_norms(rows))
