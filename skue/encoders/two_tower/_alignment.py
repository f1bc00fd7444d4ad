"""Rotating trained towers onto the space before them, and how well both agree."""

from __future__ import annotations

import numpy as np
from scipy.linalg import orthogonal_procrustes

from skue.encoders.two_tower._channels import Arrays
from skue.encoders.two_tower._encode import Towers, encode
from skue.encoders.two_tower._sequences import Sequences
from skue.kernels._topk import top_k

_K = 20


def rotated_onto(
    towers: Towers, item_vectors: np.ndarray, before: np.ndarray, n_blocks: int
) -> tuple[Towers, np.ndarray]:
    """Rotate towers and item vectors so that the items are as near as possible to older vectors.

    Each block of dimensions is rotated by the solution of the orthogonal Procrustes problem over
    the items that both hold. No cosine within the version changes.

    Parameters
    ----------
    towers : list of dict
        One tower for each block, or one for all.
    item_vectors : ndarray of shape (n_items, n_dims)
        The first rows are the items of ``before``.
    before : ndarray of shape (n_old_items, n_dims)
    n_blocks : int
        Number of blocks that may be rotated independently.

    Returns
    -------
    towers : list of dict
    item_vectors : ndarray of shape (n_items, n_dims)
    """
    both = zip(
        np.split(item_vectors.astype(np.float64), n_blocks, axis=1),
        np.split(before.astype(np.float64), n_blocks, axis=1),
        strict=True,
    )
    blocks, rotations = [], []
    for new, old in both:
        rotation, _ = orthogonal_procrustes(new[: len(old)], old)
        blocks.append(new @ rotation)
        rotations.append(rotation)
    rotated = [rotated_tower(*pair) for pair in zip(towers, rotations, strict=True)]
    return rotated, np.hstack(blocks).astype(np.float32)


def rotated_tower(tower: Arrays, rotation: np.ndarray) -> Arrays:
    """Return the tower whose user vectors are rotated if its item vectors are.

    Channels are sums of item vectors, so they rotate with them. Their concatenation is the input
    of the linear map and the MLP; both are rotated back on the side of the input, and forward on
    the side of the output.
    """
    rotated = dict(tower)
    n_dims = len(rotation)

    def from_rotated(weights: np.ndarray) -> np.ndarray:
        by_channel = weights.reshape(-1, n_dims, weights.shape[1])
        return np.matmul(rotation.T, by_channel).reshape(weights.shape)

    if "linear" in tower:
        rotated["linear"] = from_rotated(tower["linear"]) @ rotation
    n_layers = sum(name.startswith("weight") for name in tower)
    if n_layers:
        rotated["weight0"] = from_rotated(tower["weight0"])
        for name in (f"weight{n_layers - 1}", f"bias{n_layers - 1}"):
            rotated[name] = rotated[name] @ rotation
    return {name: value.astype(np.float32) for name, value in rotated.items()}


def agreement(
    sequences: Sequences,
    towers: Towers,
    before: np.ndarray,
    after: np.ndarray,
    max_history: int | None,
) -> float | None:
    """Return the mean share of the 20 nearest items in common, for user vectors of before.

    Parameters
    ----------
    sequences : Sequences
        Histories to encode, in rows of ``before``.
    towers : list of dict
        Towers of the items ``before``.
    before, after : ndarray of shape (n_items, n_dims)
        Vectors of the same items.

    Returns
    -------
    share : float or None
        None if no user has a vector.
    """
    starts, stops = sequences.offsets[:-1], sequences.offsets[1:]
    users, defined = encode(sequences, starts, stops, towers, before, max_history)
    if not defined.any():
        return None
    k = min(_K, len(before))
    rows = [top_k(users[defined], vectors, k)[0] for vectors in (before, after)]
    return float((rows[0][:, :, None] == rows[1][:, None, :]).any(axis=2).mean())
