"""Ridge regression of vectors on sparse or dense rows, by conjugate gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

PENALTIES = (1.0, 3.0, 10.0, 30.0)
_MOST_ITERATIONS = 100
_TOLERANCE = 1e-4
_HELD_OUT = 0.1


def ridge(rows: Any, targets: np.ndarray, penalty: float) -> np.ndarray:
    r"""Return :math:`W` that minimises :math:`\|F W - V\|^2 + \lambda \|W\|^2`.

    The normal equations of all columns are solved side by side by conjugate gradients, scaled by
    the diagonal, so no table of features by features is formed.

    Parameters
    ----------
    rows : csr_array or ndarray of shape (n_items, n_features)
    targets : ndarray of shape (n_items, n_dims)
    penalty : float

    Returns
    -------
    weights : ndarray of shape (n_features, n_dims), float64
    """
    squares = rows.multiply(rows) if hasattr(rows, "multiply") else rows * rows
    scale = 1 / (np.asarray(squares.sum(axis=0), dtype=np.float64).ravel() + penalty)[:, None]
    residual = np.asarray(rows.T @ targets.astype(np.float64))
    weights = np.zeros_like(residual)
    direction = scale * residual
    before = np.einsum("fd,fd->d", residual, direction)
    start = before.copy()
    for _ in range(_MOST_ITERATIONS):
        if (before <= _TOLERANCE**2 * start).all():
            break
        image = np.asarray(rows.T @ (rows @ direction)) + penalty * direction
        along = np.einsum("fd,fd->d", direction, image)
        step = np.where(along > 0, before / np.where(along > 0, along, 1), 0)
        weights += step * direction
        residual -= step * image
        scaled = scale * residual
        now = np.einsum("fd,fd->d", residual, scaled)
        direction = scaled + np.where(before > 0, now / np.where(before > 0, before, 1), 0) * (
            direction
        )
        before = now
    return weights


def best_ridge(rows: Any, targets: np.ndarray) -> np.ndarray:
    """Return the ridge regression whose penalty predicts held-out rows best, by their cosine."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(targets))
    n_held_out = int(_HELD_OUT * len(order))
    if not n_held_out:
        return ridge(rows, targets, PENALTIES[1])
    held_out, rest = order[:n_held_out], order[n_held_out:]
    cosines = []
    for penalty in PENALTIES:
        found = np.asarray(rows[held_out] @ ridge(rows[rest], targets[rest], penalty))
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(targets[held_out], axis=1)
        along = np.einsum("nd,nd->n", found, targets[held_out])
        cosines.append(float((along / np.where(norms > 0, norms, np.inf)).mean()))
    return ridge(rows, targets, PENALTIES[int(np.argmax(cosines))])
