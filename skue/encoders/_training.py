"""Learning the two-tower encoder: where it starts, its epochs, and which weights it keeps."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from skue.encoders._sequences import Examples, Sequences, batch_of, blocks_by_length
from skue.encoders._trainer import Recipe, Trainer
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._channels import Arrays, pool, start_of_pooling
from skue.kernels._head import head, start_of_dense
from skue.kernels._pooling import decay_weights, item_coefficients, pooled_unit_vectors
from skue.kernels._ranking import expected_recall
from skue.kernels._segments import offsets_of, positions_of_ranges
from skue.kernels._threads import spread

_K = 20
_START_DECAYS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_START_REPEAT_EXPONENTS = (1.0, 0.5, 0.3, 0.15, 0.0)
# How much of the mix the best average has when training starts from it.
_START_SHARE = 0.9

Towers = list[Arrays]
"""Weights of each user tower; their item vectors stand side by side in blocks of equal width."""


class BestAverage(NamedTuple):
    """The plain average that finds most of the validation examples."""

    decay: float
    repeat_exponent: float
    recall: float


class Task(NamedTuple):
    """What to learn from and to validate by, in a space of items, and the best average of it.

    The vectors of the items are those of ``n_towers`` spaces, side by side.
    """

    items: ItemEmbeddings
    n_towers: int
    sequences: Sequences
    training: Examples
    validation: Examples
    best: BestAverage


@dataclass
class Learned:
    """What training found."""

    towers: Towers
    item_vectors: np.ndarray
    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_iter: int = 0
    n_iter: int = 0

    def keep(self, towers: Towers, item_vectors: np.ndarray, epoch: int) -> None:
        """Take these weights as the best so far."""
        self.towers, self.item_vectors, self.best_iter = towers, item_vectors, epoch


def encode(
    sequences: Sequences,
    starts: np.ndarray,
    stops: np.ndarray,
    towers: Towers,
    item_vectors: np.ndarray,
    max_history: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit user vectors of prefixes, and which of them have a direction.

    The vectors of several towers stand side by side, like those of their items.
    """
    users = np.zeros((len(starts), item_vectors.shape[1]), dtype=np.float32)
    defined = np.zeros(len(starts), dtype=bool)
    lengths = stops - starts
    if max_history is not None:
        lengths = np.minimum(lengths, max_history)
    filled = np.flatnonzero(lengths)
    blocks = np.split(item_vectors, len(towers), axis=1)
    # Worked out in float64, a user's vector does not depend on who else is in the batch.
    towers = [{name: value.astype(np.float64) for name, value in t.items()} for t in towers]
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


def side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    """Return rows laid end to end at length 1; rows of zeros add nothing."""
    rows = np.hstack(parts)
    norms = np.sqrt(np.einsum("ud,ud->u", rows, rows))
    rows /= np.where(norms > 0, norms, 1)[:, None]
    return rows


def train(
    task: Task, recipe: Recipe, rng: np.random.Generator, on_epoch: Callable[[], bool]
) -> Learned:
    """Start from the best average, learn, and keep the last weights that may be the best.

    ``on_epoch`` is called after every epoch; training stops when it returns True.
    """
    average, start, score = _start(task, recipe)
    learned = Learned(average, task.items.vectors)
    if len(task.validation):
        learned.validation_scores.append(max(score, task.best.recall))
        if score > task.best.recall:
            learned.towers = start
    if not len(task.training):
        return learned
    try:
        _learn(task, recipe, start, learned, rng, on_epoch)
    except KeyboardInterrupt:
        warnings.warn(
            f"Interrupted in epoch {learned.n_iter + 1}; the best weights so far are kept.",
            UserWarning,
            stacklevel=2,
        )
    return learned


def _learn(
    task: Task,
    recipe: Recipe,
    start: Towers,
    learned: Learned,
    rng: np.random.Generator,
    on_epoch: Callable[[], bool],
) -> None:
    trainers = []
    blocks = np.split(task.items.vectors, task.n_towers, axis=1)
    for parameters, block, own in zip(start, blocks, rng.spawn(task.n_towers), strict=True):
        vectors = np.ascontiguousarray(block) * np.float32(np.sqrt(task.n_towers))
        n_channels, n_dims = len(recipe.decays), vectors.shape[1]
        if recipe.dense:
            dense = start_of_dense(n_channels, n_dims, recipe.hidden_layer_sizes, own)
            parameters = parameters | dense
        trainers.append(Trainer(task.sequences, task.training, vectors, parameters, recipe, own))
    for epoch in range(1, recipe.max_iter + 1):
        losses = spread(Trainer.epoch, trainers)
        learned.loss_curve.append(float(np.mean(losses)))
        learned.n_iter = epoch
        averages = [trainer.averages() for trainer in trainers]
        towers = [parameters for parameters, _ in averages]
        vectors = task.items.vectors
        if recipe.learn_items:
            vectors = side_by_side([vectors for _, vectors in averages])
        if not len(task.validation):
            learned.keep(towers, vectors, epoch)
        else:
            score = _validation_recall(task, towers, vectors, recipe.max_history)
            learned.validation_scores.append(score)
            if _may_be_best(learned.validation_scores, len(task.validation)):
                learned.keep(towers, vectors, epoch)
        if on_epoch() or epoch - learned.best_iter >= recipe.n_iter_no_change:
            return


def _may_be_best(scores: list[float], n_examples: int) -> bool:
    """Whether the last score is no worse than the first, nor surely worse than the best.

    Weights that were learned longer are the better choice where validation cannot tell: one
    standard error, as in Breiman et al. (1984) for the size of trees.
    """
    best = max(scores)
    standard_error = np.sqrt(best * (1 - best) / n_examples)
    return bool(scores[-1] >= max(scores[0], best - standard_error))


def _start(task: Task, recipe: Recipe) -> tuple[Towers, Towers, float]:
    """Return the best average, where training starts, and the validation recall there."""
    decay, exponent, average_recall = task.best
    decays = np.asarray(recipe.decays, dtype=np.float32)
    n_items, n_channels = len(task.items), len(decays)
    average = start_of_pooling(np.array([decay]), exponent, n_items)
    average["mix"] = np.zeros(1, dtype=np.float32)
    start = start_of_pooling(decays, exponent, n_items)
    start["mix"] = np.zeros(n_channels, dtype=np.float32)
    recall = 0.0
    towers = [start] * task.n_towers
    if len(task.validation):
        recall = _validation_recall(task, towers, task.items.vectors, recipe.max_history)
    if average_recall > recall and len(task.validation) and n_channels > 1:
        nearest = int(np.argmin(np.abs(decays - decay)))
        start["decay"][nearest] = decay
        start["mix"][nearest] = np.log(_START_SHARE / (1 - _START_SHARE) * (n_channels - 1))
    return [average], [dict(start) for _ in towers], recall


def best_average(
    sequences: Sequences, validation: Examples, item_vectors: np.ndarray
) -> BestAverage:
    """Find the best plain average of a small grid."""
    best = BestAverage(0.1, 1.0, -1.0)
    if not len(validation):
        return best
    lengths = validation.stops - validation.starts
    events = positions_of_ranges(validation.starts, lengths)
    offsets = offsets_of(lengths)
    newest = np.repeat(sequences.instants[validation.stops - 1], lengths)
    ages = (newest - sequences.instants[events]).astype(np.float64)
    weights = None if sequences.weights is None else sequences.weights[events]
    signed = weights is not None and bool((weights < 0).any())
    for decay, exponent in itertools.product(_START_DECAYS, _START_REPEAT_EXPONENTS):
        terms = item_coefficients(
            decay_weights(ages, decay, weights),
            sequences.rows[events],
            offsets,
            exponent,
            signed=signed,
        )
        users, _ = pooled_unit_vectors(*terms, item_vectors)
        recall = _recall(sequences, validation, users, item_vectors)
        if recall > best.recall:
            best = BestAverage(decay, exponent, recall)
    return best


def _validation_recall(
    task: Task, towers: Towers, item_vectors: np.ndarray, max_history: int | None
) -> float:
    validation = task.validation
    users, _ = encode(
        task.sequences, validation.starts, validation.stops, towers, item_vectors, max_history
    )
    return _recall(task.sequences, validation, users, item_vectors)


def _recall(
    sequences: Sequences, validation: Examples, users: np.ndarray, item_vectors: np.ndarray
) -> float:
    """Recall@20 in the whole catalogue; where nobody has anything twice, of what is new."""
    lengths = validation.stops - validation.starts
    seen = sequences.rows[positions_of_ranges(validation.starts, lengths)]
    repeats = (seen == np.repeat(validation.targets, lengths)).any()
    return expected_recall(
        users,
        item_vectors,
        validation.targets,
        np.arange(len(validation) + 1),
        k=_K,
        excluded=None if repeats else (seen, offsets_of(lengths)),
    )
