"""From channel vectors to the user vector: a mix, a linear map and a hidden layer."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]

_TINY = np.float32(1e-12)


class Headed(NamedTuple):
    """Unit user vectors of shape (n_users, n_dims), and intermediate results."""

    users: np.ndarray
    norms: np.ndarray
    shares: np.ndarray
    inputs: np.ndarray
    layers: list[np.ndarray]
    kept: np.ndarray | None


def head(channels: np.ndarray, parameters: Arrays, kept: np.ndarray | None = None) -> Headed:
    r"""Map channels to user vectors.

    .. math:: u \propto \sum_j \operatorname{softmax}(a)_j c_j + A\, x + \operatorname{MLP}(x)

    with :math:`x` the concatenated channels, to which dropout is applied in training.

    Parameters
    ----------
    channels : ndarray of shape (n_users, n_channels, n_dims)
    parameters : dict
        ``mix``, ``linear``, and ``weight0``, ``bias0``, ... of the layers of the MLP.
    kept : ndarray of shape (n_users, n_channels * n_dims), default=None
        Factors of dropout: 0, or 1 divided by the share that is kept.
    """
    shares = softmax(parameters["mix"])
    users = np.einsum("j,ujd->ud", shares, channels)
    inputs = channels.reshape(len(channels), -1)
    if kept is not None:
        inputs = inputs * kept
    layers: list[np.ndarray] = []
    if "linear" in parameters:
        users += inputs @ parameters["linear"]
        hidden = inputs
        n_layers = sum(name.startswith("weight") for name in parameters)
        for layer in range(n_layers):
            hidden = hidden @ parameters[f"weight{layer}"] + parameters[f"bias{layer}"]
            if layer < n_layers - 1:
                np.maximum(hidden, 0, out=hidden)
                layers.append(hidden)
        if n_layers:
            users += hidden
    norms = np.sqrt(np.einsum("ud,ud->u", users, users))
    norms = np.where(norms > _TINY, norms, np.inf)
    users /= norms[:, None]
    return Headed(users, norms, shares, inputs, layers, kept)


def head_gradient(
    channels: np.ndarray, parameters: Arrays, headed: Headed, upstream: np.ndarray
) -> tuple[Arrays, np.ndarray]:
    """Return the gradient of the parameters and of the channels.

    Parameters
    ----------
    upstream : ndarray of shape (n_users, n_dims)
        Gradient of the loss with respect to the unit user vectors.
    """
    along = np.einsum("ud,ud->u", upstream, headed.users)
    users = (upstream - headed.users * along[:, None]) / headed.norms[:, None]
    per_share = np.einsum("ud,ujd->j", users, channels)
    gradients = {"mix": headed.shares * (per_share - headed.shares @ per_share)}
    of_channels = headed.shares[:, None] * users[:, None, :]
    if "linear" not in parameters:
        return gradients, of_channels
    gradients["linear"] = headed.inputs.T @ users
    of_inputs = users @ parameters["linear"].T
    n_layers = len(headed.layers) + 1 if "weight0" in parameters else 0
    flowing = users
    for layer in reversed(range(n_layers)):
        below = headed.layers[layer - 1] if layer else headed.inputs
        gradients[f"weight{layer}"] = below.T @ flowing
        gradients[f"bias{layer}"] = flowing.sum(axis=0)
        flowing = flowing @ parameters[f"weight{layer}"].T
        if layer:
            flowing *= below > 0
    if n_layers:
        of_inputs += flowing
    if headed.kept is not None:
        of_inputs *= headed.kept
    return gradients, of_channels + of_inputs.reshape(channels.shape)


def start_of_dense(
    n_channels: int,
    n_dims: int,
    hidden_layer_sizes: tuple[int, ...],
    rng: np.random.Generator,
) -> Arrays:
    """Return the initial linear map and MLP, whose output is zero."""
    n_inputs = n_channels * n_dims
    parameters: Arrays = {"linear": np.zeros((n_inputs, n_dims), dtype=np.float32)}
    if not hidden_layer_sizes:
        return parameters
    sizes = [n_inputs, *hidden_layer_sizes, n_dims]
    for layer, (below, above) in enumerate(itertools.pairwise(sizes)):
        last = layer == len(hidden_layer_sizes)
        scale = 0.0 if last else np.sqrt(2.0 / below)
        weight = scale * rng.standard_normal((below, above), dtype=np.float32)
        parameters[f"weight{layer}"] = weight.astype(np.float32)
        parameters[f"bias{layer}"] = np.zeros(above, dtype=np.float32)
    return parameters


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits; ``-inf`` gives zero."""
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()
