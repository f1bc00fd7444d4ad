"""Ridge regression of vectors on sparse or dense rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from skue.kernels._unit_rows import NEGLIGIBLE_NORM

PENALTIES = (1.0, 3.0, 10.0, 30.0)
# Up to this number of features, the normal equations are solved directly.
_MOST_DIRECT = 2048
_MOST_ITERATIONS = 50
_TOLERANCE = 1e-2
_MOST_DIMS = 32
_TINY = 1e-300
_NEGLIGIBLE_LOSS = 0.01
_HELD_OUT = 0.1


def best_ridge(rows: Any, targets: np.ndarray) -> np.ndarray:
    """Return the ridge regression whose penalty predicts held-out rows nearly best.

    Of the penalties whose mean cosine of predicted and held-out rows is at most 1 % below the
    highest, the smallest is chosen, because it shrinks the predictions least.

    Parameters
    ----------
    rows : csr_array or ndarray of shape (n_items, n_features)
    targets : ndarray of shape (n_items, n_dims)

    Returns
    -------
    weights : ndarray of shape (n_features, n_dims), float64
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(targets))
    n_held_out = int(_HELD_OUT * len(order))
    if not n_held_out:
        return ridge(rows, targets, PENALTIES[1])
    held_out, rest = order[:n_held_out], order[n_held_out:]
    # Some dimensions are enough to choose by.
    some = targets[:, :: -(-targets.shape[1] // _MOST_DIMS)]
    cosines = []
    for penalty in PENALTIES:
        found = np.asarray(rows[held_out] @ ridge(rows[rest], some[rest], penalty))
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(some[held_out], axis=1)
        along = np.einsum("nd,nd->n", found, some[held_out])
        cosines.append(float((along / np.where(norms > 0, norms, np.inf)).mean()))
    highest = max(cosines)
    good = np.array(cosines) >= highest - _NEGLIGIBLE_LOSS * abs(highest)
    return ridge(rows, targets, PENALTIES[int(np.argmax(good))])


def predictions(of_features: np.ndarray, rows: Any, otherwise: np.ndarray) -> np.ndarray:
    """Return vectors of items from their features; ``otherwise`` where the features say nothing."""
    vectors = np.asarray(rows @ of_features)
    norms = np.linalg.norm(vectors, axis=1)
    says = norms > NEGLIGIBLE_NORM * max(float(norms.max(initial=0)), 1e-30)
    vectors[~says] = otherwise
    return vectors


def ridge(rows: Any, targets: np.ndarray, penalty: float) -> np.ndarray:
    r"""Return :math:`W` that minimises :math:`\|F W - V\|^2 + \lambda \|W\|^2`."""
    right = np.asarray(rows.T @ targets.astype(np.float64))
    if rows.shape[1] > _MOST_DIRECT:
        return _conjugate_gradients(rows, right, penalty)
    squares = rows.T @ rows
    squares = squares.toarray() if sp.issparse(squares) else squares
    squares = squares.astype(np.float64) + penalty * np.eye(len(squares))
    return linalg.solve(squares, right, assume_a="pos")


def _conjugate_gradients(rows: Any, right: np.ndarray, penalty: float) -> np.ndarray:
    """Solve the normal equations of all columns side by side, scaled by the diagonal.

    No table of features by features is formed.
    """
    squares = rows.multiply(rows) if sp.issparse(rows) else rows * rows
    scale = 1 / (np.asarray(squares.sum(axis=0), dtype=np.float64).ravel() + penalty)[:, None]
    weights, residual = np.zeros_like(right), right.copy()
    direction = scale * residual
    before = np.einsum("fd,fd->d", residual, direction)
    start = before.copy()
    for _ in range(_MOST_ITERATIONS):
        if (before <= _TOLERANCE**2 * start).all():
            break
        image = np.asarray(rows.T @ (rows @ direction)) + penalty * direction
        step = before / np.maximum(np.einsum("fd,fd->d", direction, image), _TINY)
        weights += step * direction
        residual -= step * image
        scaled = scale * residual
        now = np.einsum("fd,fd->d", residual, scaled)
        direction = scaled + now / np.maximum(before, _TINY) * direction
        before = now
    return weights
