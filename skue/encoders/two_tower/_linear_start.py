"""The linear map that towers start from: a ridge regression of the next item on the channels."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skue.encoders.two_tower._examples import Examples, Sequences, batch_of
from skue.encoders.two_tower._model import Arrays, pool

# This many examples are pooled at a time.
_BATCH_SIZE = 512
# Root mean square of the map's output. The mix of channels, which it is added to, has about 1.
_SCALE = 2.0
_TINY = 1e-300


def fitted_linear_map(
    sequences: Sequences,
    examples: Examples,
    vectors: np.ndarray,
    pooling: Arrays,
    penalty: float,
    max_history: int,
) -> np.ndarray:
    r"""Return the linear map :math:`A` of channels :math:`x` that predicts the next item :math:`y`.

    It is the minimum of

    .. math:: \frac{1}{n} \sum_{(x, y)} \|x A - v_y\|^2 + \lambda \|A\|^2,

    scaled so that :math:`x A` has a root mean square of 2, because shrinking by the penalty
    :math:`\lambda` says nothing about its share beside the mix of channels.
    """
    starts, stops, rows = examples
    order = np.argsort(np.minimum(stops - starts, max_history), kind="stable")
    n_inputs = len(pooling["decay"]) * vectors.shape[1]
    squares = np.zeros((n_inputs, n_inputs), dtype=np.float32)
    products = np.zeros((n_inputs, vectors.shape[1]), dtype=np.float32)
    for at in range(0, len(order), _BATCH_SIZE):
        own = order[at : at + _BATCH_SIZE]
        batch = batch_of(sequences, starts[own], stops[own], max_history=max_history)
        inputs = pool(batch, pooling, vectors).channels.reshape(len(own), -1)
        squares += inputs.T @ inputs
        products += inputs.T @ vectors[rows[own]]
    mean_squares = squares.astype(np.float64) / len(rows)
    penalized = mean_squares + penalty * np.eye(n_inputs)
    linear = linalg.solve(penalized, products / np.float64(len(rows)), assume_a="pos")
    mean_square = np.einsum("xd,xd->", linear, mean_squares @ linear)
    return np.asarray(linear * (_SCALE / np.sqrt(max(mean_square, _TINY))), dtype=np.float32)
