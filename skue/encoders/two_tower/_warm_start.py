"""Warm start: what a fit leaves for the next one, and aligning the new space with the old one."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.linalg import orthogonal_procrustes

from skue.encoders._base import nothing_known
from skue.encoders._events import known_events
from skue.encoders.two_tower._examples import Targets, sequences_of
from skue.encoders.two_tower._features import FeatureMap, UserMap, with_user_features
from skue.encoders.two_tower._model import Arrays, Towers, encode, with_gates
from skue.encoders.two_tower._start_spaces import data_in, held_out_of, learned_dims, with_new_items
from skue.encoders.two_tower._training import Start, TrainingData
from skue.histories._fingerprints import LearnedHistories
from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.kernels._arrays import positions_of_ranges
from skue.kernels._topk import top_k
from skue.reading._ids import shown

# With fewer held-out events, validation cannot tell epochs apart, so nothing is held out.
_FEWEST_HELD_OUT = 200
# An epoch has at most this many examples: all new ones, but at most half of these if there are
# enough others.
_MOST_EXAMPLES = 3 * 2**16
_WAY_OUT = "Set it back, or set warm_start=False to learn from scratch."


class TrainingState(NamedTuple):
    """What a fit with ``warm_start=True`` needs to know about the fit before it.

    Parameters
    ----------
    n_towers : int
        Number of blocks of the item vectors.
    temperatures : tuple of float
        Temperature of the softmax of each tower; empty if the starting average was kept.
    learned : LearnedHistories
        Hashes of the ends of the histories that were learned from.
    n_dims : int or None
        Number of dimensions that were asked for; None if vectors were given.
    n_items : int
        Number of items that were trained: the first ones. Features place the others.
    """

    n_towers: int
    temperatures: tuple[float, ...]
    learned: LearnedHistories
    n_dims: int | None
    n_items: int


class LastFit(NamedTuple):
    """The fitted attributes that a warm start continues from."""

    items: ItemEmbeddings
    towers: Towers
    state: TrainingState
    item_tower: str
    feature_map: FeatureMap | None
    user_map: UserMap | None
    seen_ids: np.ndarray

    def check_parameters(
        self,
        item_embeddings: Any,
        n_dims: int | None,
        item_features: ItemFeatures | None,
        hidden_layer_sizes: tuple[int, ...],
        decays: tuple[float, ...],
    ) -> None:
        """Raise if parameters of the encoder do not match the fitted towers."""
        pairs: dict[str, tuple[Any, Any]] = {}
        if self.feature_map is not None:
            n_features = None if item_features is None else item_features.n_features
            n_before = len(self.feature_map.scale.weights)
            pairs["the number of columns of item_features"] = n_before, n_features
        if item_embeddings is None or hasattr(item_embeddings, "fit"):
            if self.state.n_dims is not None and n_dims is not None:
                name = "n_dims" if item_embeddings is None else "the n_dims of item_embeddings"
                pairs[name] = self.state.n_dims, n_dims
        else:
            given = _as_items(item_embeddings).n_dims
            pairs["the number of dimensions of item_embeddings"] = self.items.n_dims, given
        tower = self.towers[0]
        n_layers = sum(name.startswith("weight") for name in tower)
        sizes = tuple(len(tower[f"bias{layer}"]) for layer in range(n_layers - 1))
        pairs["the number of decays"] = len(tower["decay"]), len(decays)
        pairs["hidden_layer_sizes"] = sizes, hidden_layer_sizes
        for name, (before, now) in pairs.items():
            if before != now:
                raise ValueError(
                    f"warm_start=True continues from the fitted towers, but {name} was {before} in "
                    f"the last fit and is {now} now. {_WAY_OUT}"
                )

    def check_user_features(self, histories: Histories) -> None:
        """Raise if the histories lack the user features of the last fit."""
        features = histories.user_features
        n_features = 0 if features is None else features.shape[1]
        if self.user_map is not None and len(self.user_map.weights) != n_features:
            raise ValueError(
                f"warm_start=True continues from an encoder with {len(self.user_map.weights)} user "
                f"features, but X has {n_features}. Add the same features, or set "
                "warm_start=False to learn from scratch."
            )

    def without_placed_items(self, item_features: ItemFeatures | None) -> LastFit:
        """Take the items away that have a vector from features alone: they are placed again."""
        if self.feature_map is None or item_features is None:
            return self
        items, n_learned = self.items, self.state.n_items
        placed = items.ids[n_learned:]
        lost = placed[item_features.lookup(placed) < 0]
        if len(lost):
            raise ValueError(
                f"warm_start=True keeps all fitted items, but item_features lacks {len(lost)} that "
                f"the last fit placed by their features, such as {shown(lost[0])}. Pass the "
                "features of all items (extend adds new ones), or set warm_start=False to learn "
                "from scratch."
            )
        if n_learned == len(items):
            return self
        items = ItemEmbeddings(
            items.vectors[:n_learned],
            items.ids[:n_learned],
            space_id=items.space_id,
            aligned_with=items.aligned_with,
            agreement=items.agreement,
        )
        towers = [tower | {"gate": tower["gate"][:n_learned]} for tower in self.towers]
        return self._replace(items=items, towers=towers)


def data_from_last_fit(
    last: LastFit,
    item_embeddings: Any,
    item_tower: str,
    histories: Histories,
    validation_fraction: float | None,
    rng: np.random.Generator,
) -> TrainingData:
    """Return what to learn in the fitted space, with new items, from the fitted towers on.

    Only events that the fits before have not learned from are held out.
    """
    state, items = last.state, last.items
    if not (items.rows_of(histories) >= 0).any():
        raise ValueError(
            f"{nothing_known(items, histories)} warm_start=True has nothing to continue from. "
            "Pass histories with items of the last fit, or set warm_start=False to learn from "
            "scratch."
        )
    n_new, outdated = state.learned.count_new(histories)
    # What is not recognised may have been learned from: it is not held out, but may be new.
    held_out = held_out_of(histories, validation_fraction, rng, np.maximum(n_new, 0))
    n_new = np.where(n_new < 0, histories.lengths, n_new)
    if held_out.sum() < _FEWEST_HELD_OUT:
        held_out[:] = False
    if item_tower == last.item_tower == "frozen":
        items = _with_given_items(items, item_embeddings)
    if not items.vocabulary.map_of(histories.vocabulary)[1]:
        items = with_new_items(items, state.n_towers, histories._keep_events(~held_out))
    learned = state.learned.with_later(LearnedHistories.of(histories, held_out), outdated)
    towers = [with_gates(tower, len(items)) for tower in last.towers]
    start = Start(towers, list(state.temperatures))
    data = data_in(items, state.n_towers, histories, held_out, learned, rng, start)
    is_new = np.zeros(len(histories.codes), dtype=bool)
    is_new[positions_of_ranges(histories.offsets[1:] - n_new, n_new)] = True
    is_new = is_new[items.rows_of(histories) >= 0]
    chosen = _mostly_new(data.training.chosen, is_new, rng)
    return data._replace(training=Targets(data.sequences, chosen))


def _with_given_items(items: ItemEmbeddings, given: Any) -> ItemEmbeddings:
    """Add the given items that the frozen space lacks; raise if vectors differ."""
    if given is None or hasattr(given, "fit"):
        return items
    given = _as_items(given)
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


def _as_items(given: Any) -> ItemEmbeddings:
    return given if isinstance(given, ItemEmbeddings) else ItemEmbeddings(given)


def asked_dims(given: Any, n_dims: int | Literal["auto"]) -> int | None:
    """Return the ``n_dims`` of an embedder, or of spaces learned from the log if none is given.

    It is None for given vectors.
    """
    if given is None:
        return learned_dims(n_dims)
    return getattr(given, "n_dims", None) if hasattr(given, "fit") else None


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


_K = 20
_SAMPLED_USERS = 2000


def rotated_onto(
    towers: Towers, item_vectors: np.ndarray, before: np.ndarray, n_blocks: int
) -> tuple[Towers, np.ndarray]:
    """Rotate towers and item vectors so that the items are as near as possible to older vectors.

    Each tower's block of dimensions is rotated by the solution of the orthogonal Procrustes problem
    over the items that both hold: the first ones. No cosine within the version changes.
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


def agreement(users: np.ndarray, before: np.ndarray, after: np.ndarray) -> float | None:
    """Return the mean share of the 20 nearest items in common, for user vectors of before.

    The vectors ``before`` and ``after`` are those of the same items. None without users.
    """
    if not len(users):
        return None
    k = min(_K, len(before))
    rows = [top_k(users, vectors, k)[0] for vectors in (before, after)]
    return float((rows[0][:, :, None] == rows[1][:, None, :]).any(axis=2).mean())


def aligned(
    last: LastFit,
    data: TrainingData,
    towers: Towers,
    item_vectors: np.ndarray,
    histories: Histories,
    max_history: int | None,
    rng: np.random.Generator,
) -> tuple[Towers, ItemEmbeddings]:
    """Return trained towers and items, rotated onto the space of the last fit."""
    old = last.items
    towers, vectors = rotated_onto(towers, item_vectors, old.vectors, data.n_towers)
    sample = np.flatnonzero(np.diff(histories.offsets))
    if len(sample) > _SAMPLED_USERS:
        sample = np.sort(rng.choice(sample, _SAMPLED_USERS, replace=False))
    events = known_events(old, histories[sample], max_history)
    starts, stops = events.offsets[:-1], events.offsets[1:]
    found = encode(sequences_of(events), starts, stops, last.towers, old.vectors, max_history)
    if last.user_map is not None:
        found = with_user_features(last.user_map, *found, events)
    users, defined = found
    share = agreement(users[defined], old.vectors, vectors[: len(old)])
    return towers, ItemEmbeddings(
        vectors, data.items.ids, aligned_with=old.space_id, agreement=share
    )
