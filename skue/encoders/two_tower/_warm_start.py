"""Warm start: what a fit keeps for the next one, and the task of the next one."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import orthogonal_procrustes

from skue.encoders._base import nothing_known
from skue.encoders._events import known_events
from skue.encoders.two_tower._encode import Towers, encode
from skue.encoders.two_tower._examples import Targets
from skue.encoders.two_tower._model import Arrays
from skue.encoders.two_tower._recipe import checked_decays, checked_sizes, item_tower_of
from skue.encoders.two_tower._sequences import Sequences, sequences_of
from skue.encoders.two_tower._start_spaces import Start, Task, held_out_of, task_in, with_new_items
from skue.histories._fingerprints import count_new_events, learned_ends
from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._arrays import positions_of_ranges
from skue.kernels._topk import top_k
from skue.reading._ids import shown

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


# With fewer held-out events, validation cannot tell epochs apart, so nothing is held out.
_FEWEST_HELD_OUT = 200
# An epoch has at most this many examples: all new ones, but at most half of these if there are
# enough others.
_MOST_EXAMPLES = 3 * 2**16
_SAMPLED_USERS = 2000
_WAY_OUT = "Set it back, or set warm_start=False to learn from scratch."


class TrainingState(NamedTuple):
    """What a fit with ``warm_start=True`` needs to know about the fit before it.

    Parameters
    ----------
    n_towers : int
        Number of blocks of the item vectors.
    temperatures : tuple of float
        Temperature of the softmax of each tower; empty if the starting average was kept.
    learned : ndarray of shape (n_hashes,), uint64
        Hashes of the ends of the histories that were learned from.
    n_dims : int or None
        Number of dimensions that the embedder was asked for.
    n_items : int or None
        Number of items that were trained: the first ones. Features place the others.
    """

    n_towers: int
    temperatures: tuple[float, ...]
    learned: np.ndarray
    n_dims: int | None
    n_items: int | None = None


def state_after(encoder: Any, task: Task, temperatures: list[float]) -> TrainingState:
    """Return the state to keep after a fit."""
    return TrainingState(
        task.n_towers,
        tuple(temperatures),
        task.learned,
        _asked_dims(encoder.item_embeddings),
        len(task.items),
    )


def fitted_before(encoder: Any) -> Any | None:
    """Return the encoder as it is before this fit, or None if the fit starts from scratch.

    If the last fit kept the starting average, there are no towers to continue from.

    Raises
    ------
    ValueError
        If the parameters do not match the fitted towers.
    """
    if not encoder.warm_start or not hasattr(encoder, "parameters_"):
        return None
    state = getattr(encoder, "training_state_", None)
    if state is None:
        raise ValueError(
            "warm_start=True needs an encoder that was fitted by skue 0.2 or later, but this one "
            "is older. Set warm_start=False for one fit."
        )
    if not state.temperatures:
        return None
    _check_parameters(encoder, state)
    return _without_new_items(copy.copy(encoder))


def seen_items(encoder: Any) -> np.ndarray:
    """Return the ids of the items that occurred in a log that was fitted."""
    ids = encoder.item_embeddings_.ids
    is_new = getattr(encoder, "is_new_item_", np.zeros(len(ids), dtype=bool))
    return ids[~is_new]


def warm_task(
    encoder: Any, histories: Histories, validation_fraction: float | None, rng: np.random.Generator
) -> Task:
    """Return the task in the fitted space, with new items, that starts from the fitted towers.

    Only events that the fits before have not learned from are held out.

    Raises
    ------
    ValueError
        If no event has a known item.
    """
    state = encoder.training_state_
    items = encoder.item_embeddings_
    if not (items.rows_of(histories) >= 0).any():
        raise ValueError(
            f"{nothing_known(items, histories)} warm_start=True has nothing to continue from. "
            "Pass histories with items of the last fit, or set warm_start=False to learn from "
            "scratch."
        )
    n_new, outdated = count_new_events(histories, state.learned)
    held_out = held_out_of(histories, validation_fraction, rng, n_new)
    if held_out.sum() < _FEWEST_HELD_OUT:
        held_out[:] = False
    items = _with_given_items(encoder, items)
    if not items.vocabulary.map_of(histories.vocabulary)[1]:
        items = with_new_items(items, state.n_towers, histories._keep_events(~held_out))
    learned = np.union1d(
        np.setdiff1d(state.learned, outdated, assume_unique=True),
        learned_ends(histories, held_out),
    )
    towers = [with_gates(tower, len(items)) for tower in encoder.parameters_]
    start = Start(towers, list(state.temperatures))
    task = task_in(items, state.n_towers, histories, held_out, learned, rng, start)
    is_new = np.zeros(len(histories.codes), dtype=bool)
    is_new[positions_of_ranges(histories.offsets[1:] - n_new, n_new)] = True
    is_new = is_new[items.rows_of(histories) >= 0]
    chosen = _mostly_new(task.training.chosen, is_new, rng)
    return task._replace(training=Targets(task.sequences, chosen))


def aligned(
    before: Any,
    task: Task,
    towers: list[Arrays],
    item_vectors: np.ndarray,
    histories: Histories,
    rng: np.random.Generator,
) -> tuple[list[Arrays], ItemEmbeddings]:
    """Return trained towers and items, rotated onto the space of the fit before.

    Parameters
    ----------
    before : TwoTowerUserEncoder
        As it was before this fit.
    """
    old = before.item_embeddings_
    towers, vectors = rotated_onto(towers, item_vectors, old.vectors, task.n_towers)
    users = np.flatnonzero(np.diff(histories.offsets))
    if len(users) > _SAMPLED_USERS:
        users = np.sort(rng.choice(users, _SAMPLED_USERS, replace=False))
    sequences = sequences_of(known_events(old, histories[users], before.max_history))
    share = agreement(
        sequences, before.parameters_, old.vectors, vectors[: len(old)], before.max_history
    )
    return towers, ItemEmbeddings(
        vectors, task.items.ids, aligned_with=old.space_id, agreement=share
    )


def _check_parameters(encoder: Any, state: TrainingState) -> None:
    """Raise if the parameters do not match the fitted towers."""
    given, fitted = encoder.item_embeddings, encoder.item_embeddings_
    pairs: dict[str, tuple[Any, Any]] = {}
    of_features = getattr(encoder, "feature_map_", None)
    if of_features is not None:
        features = encoder.item_features
        n_features = None if features is None else features.n_features
        pairs["the number of columns of item_features"] = len(of_features.scale.weights), n_features
    if hasattr(given, "fit"):
        if state.n_dims is not None and _asked_dims(given) is not None:
            pairs["the n_dims of item_embeddings"] = state.n_dims, _asked_dims(given)
    elif given is not None:
        vectors = given.vectors if isinstance(given, ItemEmbeddings) else np.asarray(given)
        n_dims = vectors.shape[1] if vectors.ndim == 2 else None
        pairs["the number of dimensions of item_embeddings"] = fitted.n_dims, n_dims
    tower = encoder.parameters_[0]
    n_layers = sum(name.startswith("weight") for name in tower)
    sizes = tuple(len(tower[f"bias{layer}"]) for layer in range(n_layers - 1))
    pairs["the number of decays"] = len(tower["decay"]), len(checked_decays(encoder.decays))
    pairs["hidden_layer_sizes"] = sizes, checked_sizes(encoder.hidden_layer_sizes)
    for name, (before, now) in pairs.items():
        if before != now:
            raise ValueError(
                f"warm_start=True continues from the fitted towers, but {name} was {before} in "
                f"the last fit and is {now} now. {_WAY_OUT}"
            )


def _without_new_items(encoder: Any) -> Any:
    """Take the items away that have a vector from features alone: they are placed again."""
    if getattr(encoder, "feature_map_", None) is None:
        return encoder
    items, n_learned = encoder.item_embeddings_, encoder.training_state_.n_items
    placed = items.ids[n_learned:]
    lost = placed[encoder.item_features.lookup(placed) < 0]
    if len(lost):
        raise ValueError(
            f"warm_start=True keeps all fitted items, but item_features lacks {len(lost)} that "
            f"the last fit placed by their features, such as {shown(lost[0])}. Pass the features "
            "of all items (extend adds new ones), or set warm_start=False to learn from scratch."
        )
    if n_learned < len(items):
        encoder.item_embeddings_ = ItemEmbeddings(
            items.vectors[:n_learned],
            items.ids[:n_learned],
            space_id=items.space_id,
            aligned_with=items.aligned_with,
            agreement=items.agreement,
        )
        encoder.parameters_ = [
            tower | {"gate": tower["gate"][:n_learned]} for tower in encoder.parameters_
        ]
    return encoder


def _with_given_items(encoder: Any, items: ItemEmbeddings) -> ItemEmbeddings:
    """Add the items that ``item_embeddings`` has and the fitted space lacks, if both are one space.

    Raises
    ------
    ValueError
        If frozen vectors differ from those given in the last fit.
    """
    given = encoder.item_embeddings
    is_frozen = item_tower_of(encoder) == "frozen" == encoder.item_tower_
    if given is None or hasattr(given, "fit") or not is_frozen:
        return items
    if not isinstance(given, ItemEmbeddings):
        given = ItemEmbeddings(given)
    rows = items.lookup(given.ids)
    differing = np.flatnonzero((given.vectors != items.vectors[rows]).any(axis=1) & (rows >= 0))
    if len(differing):
        raise ValueError(
            f"item_embeddings has other vectors than in the last fit for {len(differing)} items, "
            f"such as {given.ids[differing[0]]!r}. With warm_start=True and a frozen item tower, "
            "vectors stay as they are; use extend to add items. Pass the same vectors, or set "
            "warm_start=False to learn from scratch."
        )
    added = rows < 0
    return items.extend(given.vectors[added], given.ids[added]) if added.any() else items


def _asked_dims(given: Any) -> int | None:
    return getattr(given, "n_dims", None) if hasattr(given, "fit") else None


def with_gates(tower: Arrays, n_items: int) -> Arrays:
    """Return a tower with a gate for each item; new items get the mean of the others."""
    gate = tower["gate"]
    added = np.full(n_items - len(gate), gate.mean(dtype=np.float64), dtype=np.float32)
    return tower | {"gate": np.concatenate([gate, added])}


def _mostly_new(targets: np.ndarray, is_new: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mark the targets to learn from: up to half are new events, the others are drawn."""
    new, old = np.flatnonzero(targets & is_new), np.flatnonzero(targets & ~is_new)
    if len(new) + len(old) <= _MOST_EXAMPLES:
        return targets
    n_new = min(len(new), max(_MOST_EXAMPLES // 2, _MOST_EXAMPLES - len(old)))
    chosen = np.zeros_like(targets)
    chosen[rng.choice(new, n_new, replace=False)] = True
    chosen[rng.choice(old, _MOST_EXAMPLES - n_new, replace=False)] = True
    return chosen
