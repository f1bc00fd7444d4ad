"""The user tower: pooling channels and the head that maps them to a vector, with gradients.

A channel is a weighted sum of the item vectors of a history, with learned weights. The head mixes
the channels, and adds a linear map and an MLP of all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.special import softmax

from skue.encoders.two_tower._examples import Batch, Sequences, batch_of
from skue.kernels._arrays import LONGEST_HISTORY
from skue.kernels._threads import spread
from skue.kernels._unit_rows import NEGLIGIBLE_NORM, NEGLIGIBLE_WEIGHT, row_norms, unit_rows

Arrays: TypeAlias = dict[str, np.ndarray]
Towers: TypeAlias = list[Arrays]
"""Weights of each user tower. Their item vectors are concatenated in blocks of equal width."""

_TINY = np.float32(1e-12)
_NEGLIGIBLE_NORM = np.float32(NEGLIGIBLE_NORM)
_NEGLIGIBLE_LOGIT = np.float32(np.log(NEGLIGIBLE_WEIGHT))


class DecayedSums(NamedTuple):
    """Sums of the decayed weights of each user and item.

    ``shares`` are those of each event in its sum, ``log_sums`` the logarithms of the sums. shape
    (n_present_events, n_channels), in the order of ``Batch.by_item``.
    """

    shares: np.ndarray
    log_sums: np.ndarray


class Pooled(NamedTuple):
    """Unit channel vectors of shape (n_users, n_channels, n_dims), and intermediate results."""

    channels: np.ndarray
    norms: np.ndarray
    event_weights: np.ndarray
    vectors: np.ndarray
    item_sums: DecayedSums
    counted: np.ndarray
    support: np.ndarray
    total: np.ndarray
    n_others: np.ndarray


def pool(
    batch: Batch, parameters: Arrays, item_vectors: np.ndarray, *, squared_norm: float = 1.0
) -> Pooled:
    r"""Pool each history into one unit vector per channel.

    Channel :math:`j` is :math:`\sum_e \operatorname{sgn}(w_e)\, e^{\ell_{je}} v_e` at length 1,

    .. math:: \ell_{je} = d_{je} - r_j \log |S_{j,i(e)}| + \beta_j\, \text{support}_e + g_{i(e)},
              \quad d_{je} = \log |w_e| - \lambda_j\, \text{age}_e - \mu_j\, \text{elapsed}_e,

    where :math:`S_{ji} = \sum_{e \in i} \operatorname{sgn}(w_e) e^{d_{je}}` is the sum over the
    events of one item, support is the mean cosine of an event to the other events of the history,
    and :math:`g` is a number per item. With :math:`\mu = \beta = g = 0` a channel is the decayed
    average with repeat exponent :math:`1 - r`. Item vectors have length 1, or the square root of
    ``squared_norm``.
    """
    vectors = item_vectors[batch.rows]
    counted = batch.present if batch.weights is None else batch.present & (batch.weights > 0)
    n_counted = counted.sum(axis=1)
    n_others = np.maximum(n_counted - 1, 1).astype(np.float32)
    total = np.matmul(counted[:, None, :].astype(np.float32), vectors)[:, 0]
    support = np.matmul(vectors, total[:, :, None])[:, :, 0] / np.float32(squared_norm)
    support = (support - 1) / n_others[:, None]
    support *= counted & (n_counted > 1)[:, None]

    logits = parameters["decay"][:, None] * -batch.ages[:, None, :]
    if batch.elapsed is not None:
        logits -= parameters["elapsed"][:, None] * batch.elapsed[:, None, :]
    if batch.weights is not None:
        logits += np.log(np.maximum(np.abs(batch.weights), _TINY))[:, None, :]
    item_sums = _sum_by_item(batch, logits)
    logits += parameters["support"][:, None] * support[:, None, :]
    logits += parameters["gate"][batch.rows][:, None, :]
    logits -= _as_matrices(batch, _repeat_damping(parameters["repeat"], item_sums.log_sums))
    logits[~np.broadcast_to(batch.present[:, None, :], logits.shape)] = -np.inf
    # Channels are normalized, so a common factor of all events of a history has no effect.
    largest = logits.max(axis=2, keepdims=True)
    logits -= np.where(np.isfinite(largest), largest, 0)
    logits[logits < _NEGLIGIBLE_LOGIT] = -np.inf
    event_weights = np.exp(logits, out=logits)
    mass = event_weights.sum(axis=2)
    if batch.weights is not None:
        event_weights *= np.sign(batch.weights)[:, None, :].astype(np.float32)
    sums = np.matmul(event_weights, vectors)
    norms = np.sqrt(np.einsum("ujd,ujd->uj", sums, sums))
    norms[norms <= _NEGLIGIBLE_NORM * mass] = np.inf
    sums /= norms[:, :, None]
    return Pooled(sums, norms, event_weights, vectors, item_sums, counted, support, total, n_others)


def pool_gradient(
    batch: Batch,
    parameters: Arrays,
    pooled: Pooled,
    upstream: np.ndarray,
    *,
    n_items: int,
    learn_items: bool,
) -> tuple[Arrays, np.ndarray | None]:
    """Return the gradients of the parameters and, to learn the items, of each event's vector.

    ``upstream`` is the gradient of the channels.
    """
    sums_gradient = _before_scaling(upstream, pooled.channels, pooled.norms)
    logits_gradient = np.matmul(sums_gradient, pooled.vectors.transpose(0, 2, 1))
    logits_gradient *= pooled.event_weights
    support_gradient = np.einsum("uje,j->ue", logits_gradient, parameters["support"])
    by_event = logits_gradient.sum(axis=1)
    gate = np.bincount(batch.rows.ravel(), by_event.ravel(), minlength=n_items)
    gradients = {
        "support": np.einsum("uje,ue->j", logits_gradient, pooled.support),
        "gate": gate.astype(np.float32),
    }
    decayed_gradient, gradients["repeat"] = _decayed_gradient(
        batch, parameters, pooled.item_sums, logits_gradient
    )
    gradients["decay"] = -np.einsum("uje,ue->j", decayed_gradient, batch.ages)
    if batch.elapsed is not None:
        gradients["elapsed"] = -np.einsum("uje,ue->j", decayed_gradient, batch.elapsed)
    if not learn_items:
        return gradients, None
    # Support is (v . total - 1) / n_others: it depends on the event and on the total.
    scaled = support_gradient * pooled.counted / pooled.n_others[:, None]
    scaled[pooled.counted.sum(axis=1) < 2] = 0
    total_gradient = np.matmul(scaled[:, None, :], pooled.vectors)
    factors = [pooled.event_weights, scaled[:, None, :], pooled.counted[:, None, :]]
    directions = np.concatenate([sums_gradient, pooled.total[:, None, :], total_gradient], axis=1)
    vectors = np.matmul(np.concatenate(factors, axis=1).transpose(0, 2, 1), directions)
    return gradients, vectors


def _sum_by_item(batch: Batch, logits: np.ndarray) -> DecayedSums:
    """Sum the decayed weights of each user and item, in logarithms."""
    events = _as_events(batch, logits)
    if not len(events):
        return DecayedSums(events, events)
    groups = np.diff(batch.item_starts, append=len(events))
    largest = np.maximum.reduceat(events, batch.item_starts, axis=0)
    shares = np.exp(events - np.repeat(largest, groups, axis=0))
    mass = sums = np.add.reduceat(shares, batch.item_starts, axis=0)
    if batch.weights is not None:
        shares *= np.sign(batch.weights).ravel()[batch.by_item, None].astype(np.float32)
        sums = np.add.reduceat(shares, batch.item_starts, axis=0)
    # Items whose weights cancel are dropped: their log sum is infinite.
    cancelled = np.abs(sums) <= _NEGLIGIBLE_NORM * mass
    safe = np.where(cancelled, 1, sums)
    shares /= np.repeat(safe, groups, axis=0)
    log_sums = np.where(cancelled, np.inf, largest + np.log(np.abs(safe)))
    return DecayedSums(shares, np.repeat(log_sums, groups, axis=0))


def _repeat_damping(repeat: np.ndarray, log_sums: np.ndarray) -> np.ndarray:
    """Return what is subtracted from the logits for repeats; infinite if the weights cancel."""
    cancelled = np.isinf(log_sums)
    return np.where(cancelled, np.inf, repeat * np.where(cancelled, 0, log_sums))


def _decayed_gradient(
    batch: Batch, parameters: Arrays, item_sums: DecayedSums, logits_gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of the decayed weights' logarithms and of the repeat damping."""
    events = _as_events(batch, logits_gradient)
    if not len(events):
        return logits_gradient, np.zeros_like(parameters["repeat"])
    finite = np.where(np.isfinite(item_sums.log_sums), item_sums.log_sums, 0)
    repeat = -np.einsum("ej,ej->j", events, finite)
    groups = np.diff(batch.item_starts, append=len(events))
    by_item = np.add.reduceat(events, batch.item_starts, axis=0)
    through_sums = parameters["repeat"] * item_sums.shares * np.repeat(by_item, groups, axis=0)
    return logits_gradient - _as_matrices(batch, through_sums), repeat


def _as_events(batch: Batch, matrices: np.ndarray) -> np.ndarray:
    """From (n_users, n_channels, n_events) to the present events, sorted by user and item."""
    n_channels = matrices.shape[1]
    return matrices.transpose(0, 2, 1).reshape(-1, n_channels)[batch.by_item]


def _as_matrices(batch: Batch, events: np.ndarray) -> np.ndarray:
    """Invert ``_as_events``; absent events are 0."""
    n_users, n_events = batch.rows.shape
    flat = np.zeros((n_users * n_events, events.shape[1]), dtype=events.dtype)
    flat[batch.by_item] = events
    return flat.reshape(n_users, n_events, -1).transpose(0, 2, 1)


def start_of_pooling(decays: np.ndarray, repeat_exponent: float, n_items: int) -> Arrays:
    """Return parameters for which the channels are plain decayed averages."""
    n_channels = len(decays)
    return {
        "decay": np.asarray(decays, dtype=np.float32),
        "elapsed": np.zeros(n_channels, dtype=np.float32),
        "repeat": np.full(n_channels, 1 - repeat_exponent, dtype=np.float32),
        "support": np.zeros(n_channels, dtype=np.float32),
        "gate": np.zeros(n_items, dtype=np.float32),
    }


class HeadOutput(NamedTuple):
    """Unit user vectors of shape (n_users, n_dims), and intermediate results."""

    users: np.ndarray
    norms: np.ndarray
    shares: np.ndarray
    inputs: np.ndarray
    layers: list[np.ndarray]
    kept: np.ndarray | None


def head(channels: np.ndarray, parameters: Arrays, kept: np.ndarray | None = None) -> HeadOutput:
    r"""Map channels to user vectors.

    .. math:: u \propto \sum_j \operatorname{softmax}(a)_j c_j + A\, x + \operatorname{MLP}(x)

    with :math:`x` the concatenated channels. ``kept`` are the factors of dropout in training, of
    shape (n_users, n_channels * n_dims): 0, or 1 divided by the share that is kept. The parameters
    are ``mix``, ``linear``, and ``weight0``, ``bias0``, ... of the layers of the MLP.
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
    return HeadOutput(users, norms, shares, inputs, layers, kept)


def head_gradient(
    channels: np.ndarray, parameters: Arrays, output: HeadOutput, upstream: np.ndarray
) -> tuple[Arrays, np.ndarray]:
    """Return the gradients of the parameters and of the channels, from that of the user vectors."""
    users_gradient = _before_scaling(upstream, output.users, output.norms)
    by_share = np.einsum("ud,ujd->j", users_gradient, channels)
    gradients = {"mix": output.shares * (by_share - output.shares @ by_share)}
    channels_gradient = output.shares[:, None] * users_gradient[:, None, :]
    if "linear" not in parameters:
        return gradients, channels_gradient
    gradients["linear"] = output.inputs.T @ users_gradient
    inputs_gradient = users_gradient @ parameters["linear"].T
    n_layers = len(output.layers) + 1 if "weight0" in parameters else 0
    gradient = users_gradient
    for layer in reversed(range(n_layers)):
        below = output.layers[layer - 1] if layer else output.inputs
        gradients[f"weight{layer}"] = below.T @ gradient
        gradients[f"bias{layer}"] = gradient.sum(axis=0)
        gradient = gradient @ parameters[f"weight{layer}"].T
        if layer:
            gradient *= below > 0
    if n_layers:
        inputs_gradient += gradient
    if output.kept is not None:
        inputs_gradient *= output.kept
    return gradients, channels_gradient + inputs_gradient.reshape(channels.shape)


def _before_scaling(upstream: np.ndarray, units: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Return the gradient of rows from that of the same rows scaled to length 1."""
    along = np.einsum("...d,...d->...", upstream, units)
    return (upstream - units * along[..., None]) / norms[..., None]


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


# Limits of a padded batch when encoding, to bound its memory.
_BLOCK_EVENTS = 16_384
_BLOCK_USERS = 512


def encode(
    sequences: Sequences,
    starts: np.ndarray,
    stops: np.ndarray,
    towers: Towers,
    item_vectors: np.ndarray,
    max_history: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit user vectors of the prefixes ``starts:stops``, and which have a direction.

    The vectors of several towers are concatenated, like their item vectors.
    """
    users = np.zeros((len(starts), item_vectors.shape[1]), dtype=np.float32)
    defined = np.zeros(len(starts), dtype=bool)
    max_history = min(max_history or LONGEST_HISTORY, LONGEST_HISTORY)
    lengths = np.minimum(stops - starts, max_history)
    filled = np.flatnonzero(lengths)
    blocks = np.split(item_vectors, len(towers), axis=1)
    towers = in_float64(towers)

    def encode_block(within: np.ndarray) -> None:
        block = filled[within]
        batch = batch_of(sequences, starts[block], stops[block], max_history=max_history)
        parts = []
        for parameters, vectors in zip(towers, blocks, strict=True):
            pooled = pool(batch, parameters, vectors, squared_norm=1 / len(towers))
            output = head(pooled.channels, parameters)
            has = np.isfinite(pooled.norms).any(axis=1) & np.isfinite(output.norms)
            parts.append(output.users * has[:, None])
            defined[block] |= has
        users[block] = parts[0] if len(parts) == 1 else side_by_side(parts)

    spread(encode_block, _blocks_by_length(lengths[filled]))
    return users, defined


def _blocks_by_length(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Split users into blocks of similar length with a bounded padded size."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = min(start + _BLOCK_USERS, len(order))
        widest = max(int(lengths[order[stop - 1]]), 1)
        stop = min(stop, start + max(1, _BLOCK_EVENTS // widest))
        yield order[start:stop]
        start = stop


def with_gates(tower: Arrays, n_items: int) -> Arrays:
    """Return a tower with a gate for each item; new items get the mean of the others."""
    gate = tower["gate"]
    added = np.full(n_items - len(gate), gate.mean(dtype=np.float64), dtype=np.float32)
    return tower | {"gate": np.concatenate([gate, added])}


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
