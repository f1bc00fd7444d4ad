"""Training: the start, the epochs, and which weights are kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from skue.encoders.two_tower._channels import start_of_pooling
from skue.encoders.two_tower._encode import Towers, encode, side_by_side
from skue.encoders.two_tower._head import start_of_dense
from skue.encoders.two_tower._recipe import Recipe
from skue.encoders.two_tower._task import Task
from skue.encoders.two_tower._tower import Trainer
from skue.kernels._threads import spread

# Initial share of the best average in the mix of channels, if it is clearly better than the mix.
_START_SHARE = 0.9
# Towers start from this repeat exponent or a larger one: with 0, decays have no effect.
_LOWEST_EXPONENT = 0.15


@dataclass
class Learned:
    """The result of training."""

    towers: Towers
    item_vectors: np.ndarray
    temperatures: list[float] = field(default_factory=list)
    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_iter: int = 0
    n_iter: int = 0
    n_examples_seen: int = 0
    interrupted: bool = False

    def keep(
        self, towers: Towers, item_vectors: np.ndarray, temperatures: list[float], epoch: int
    ) -> None:
        """Keep these weights as the best so far."""
        self.towers, self.item_vectors, self.best_iter = towers, item_vectors, epoch
        self.temperatures = temperatures


def train(
    task: Task, recipe: Recipe, rng: np.random.Generator, on_epoch: Callable[[], bool]
) -> Learned:
    """Start from the best average or from fitted towers, train, and keep the last weights that
    may be the best.

    ``on_epoch`` is called after every epoch; training stops when it returns True. At a prompt, an
    interrupt from the keyboard ends training and keeps the best weights so far. Elsewhere it is
    raised.
    """
    start, learned = _warm_start(task, recipe) if task.start else _cold_start(task, recipe)
    if not len(task.training):
        return learned
    try:
        _learn(task, recipe, start, learned, rng, on_epoch)
    except KeyboardInterrupt:
        if not _at_a_prompt():
            raise
        learned.interrupted = True
    return learned


def _at_a_prompt() -> bool:
    """Whether Python is interactive: its prompt, IPython and notebooks set ``sys.ps1``."""
    return hasattr(sys, "ps1")


def _learn(
    task: Task,
    recipe: Recipe,
    start: Towers,
    learned: Learned,
    rng: np.random.Generator,
    on_epoch: Callable[[], bool],
) -> None:
    trainers = _trainers(task, recipe, start, rng)

    def stop() -> None:
        for trainer in trainers:
            trainer.stopped = True

    for epoch in range(1, recipe.max_iter + 1):
        losses = spread(Trainer.epoch, trainers, on_failure=stop)
        learned.loss_curve.append(float(np.mean(losses)))
        learned.n_iter, learned.n_examples_seen = epoch, trainers[0].n_seen
        towers, vectors = _averages(trainers, task, recipe)
        _check_finite(learned.loss_curve[-1], towers, vectors, recipe, epoch)
        if not len(task.validation):
            learned.keep(towers, vectors, _temperatures(trainers), epoch)
        else:
            score = _validation_recall(task, towers, vectors, recipe.max_history)
            learned.validation_scores.append(score)
            if _may_be_best(learned.validation_scores, task):
                learned.keep(towers, vectors, _temperatures(trainers), epoch)
        if on_epoch() or epoch - learned.best_iter >= recipe.n_iter_no_change:
            return


def _trainers(task: Task, recipe: Recipe, start: Towers, rng: np.random.Generator) -> list[Trainer]:
    """Return one trainer per pair of towers."""
    trainers = []
    blocks = np.split(task.items.vectors, task.n_towers, axis=1)
    for parameters, block, own in zip(start, blocks, rng.spawn(task.n_towers), strict=True):
        vectors = np.ascontiguousarray(block) * np.float32(np.sqrt(task.n_towers))
        n_channels, n_dims = len(recipe.decays), vectors.shape[1]
        dense = start_of_dense(n_channels, n_dims, recipe.hidden_layer_sizes, own)
        weights = dense | parameters  # fitted towers have their own
        trainers.append(Trainer(task.training, vectors, weights, recipe, own))
    if task.start and recipe.temperature is None:
        for trainer, temperature in zip(trainers, task.start.temperatures, strict=True):
            trainer.parameters["log_temperature"][:] = np.log(temperature)
    return trainers


def _temperatures(trainers: list[Trainer]) -> list[float]:
    return [float(np.exp(trainer.parameters["log_temperature"][0])) for trainer in trainers]


# The check that follows finds and reports overflows.
@np.errstate(over="ignore", invalid="ignore")
def _averages(trainers: list[Trainer], task: Task, recipe: Recipe) -> tuple[Towers, np.ndarray]:
    """Return the averaged weights of all towers, and the item vectors to search."""
    averages = [trainer.averages() for trainer in trainers]
    vectors = task.items.vectors
    if recipe.learn_items:
        vectors = side_by_side([vectors for _, vectors in averages])
    return [parameters for parameters, _ in averages], vectors


def _check_finite(
    loss: float, towers: Towers, vectors: np.ndarray, recipe: Recipe, epoch: int
) -> None:
    arrays = [vectors, *(array for tower in towers for array in tower.values())]
    if np.isfinite(loss) and all(np.isfinite(array).all() for array in arrays):
        return
    raise ValueError(
        f"Training diverged in epoch {epoch}: the loss or the weights are no longer finite "
        f"(loss {loss}). Set a lower learning_rate_init (the highest rate was "
        f"{recipe.learning_rate}) or a lower alpha (it is {recipe.alpha})."
    )


def _may_be_best(scores: list[float], task: Task) -> bool:
    """Whether the last score is within one standard error of the best, and at least the average's.

    If validation cannot tell two epochs apart, the later one is kept. Breiman et al. (1984) use
    the same rule for the size of trees. With a warm start, fitted towers are treated as any epoch.
    """
    best = max(scores)
    lowest = best - np.sqrt(best * (1 - best) / len(task.validation))
    return bool(scores[-1] >= (lowest if task.start else max(scores[0], lowest)))


def _warm_start(task: Task, recipe: Recipe) -> tuple[Towers, Learned]:
    """Return the fitted towers as the start, and as the best so far."""
    assert task.start is not None
    towers, temperatures = task.start
    learned = Learned(towers, task.items.vectors, temperatures)
    if len(task.validation):
        score = _validation_recall(task, towers, task.items.vectors, recipe.max_history)
        learned.validation_scores.append(score)
    return towers, learned


def _cold_start(task: Task, recipe: Recipe) -> tuple[Towers, Learned]:
    """Return where training starts, and the better of that and the best average."""
    average, start, score = _start(task, recipe)
    learned = Learned(average, task.items.vectors)
    if len(task.validation):
        learned.validation_scores.append(max(score, task.best.recall))
        if score > task.best.recall:
            learned.towers = start
    return start, learned


def _start(task: Task, recipe: Recipe) -> tuple[Towers, Towers, float]:
    """Return the best average, the starting weights, and the validation recall of the start."""
    decay, exponent, _ = task.best
    decays = np.asarray(recipe.decays, dtype=np.float32)
    n_items, n_channels = len(task.items), len(decays)
    average = start_of_pooling(np.array([decay]), exponent, n_items)
    average["mix"] = np.zeros(1, dtype=np.float32)
    # The weight of an event that is not repeated decays by the exponent times the decay.
    exponent = max(exponent, _LOWEST_EXPONENT)
    start = start_of_pooling(decays / np.float32(exponent), exponent, n_items)
    start["mix"] = np.zeros(n_channels, dtype=np.float32)
    recall = 0.0
    towers = [start] * task.n_towers
    if len(task.validation):
        hits = _validation_hits(task, towers, task.items.vectors, recipe.max_history)
        recall = float(hits.mean())
        gains = _validation_hits(task, [average], task.items.vectors, recipe.max_history) - hits
        if n_channels > 1 and gains.mean() > gains.std() / np.sqrt(len(gains)):
            nearest = int(np.argmin(np.abs(decays - decay * exponent)))
            start["decay"][nearest] = decay
            start["mix"][nearest] = np.log(_START_SHARE / (1 - _START_SHARE) * (n_channels - 1))
    return [average], [dict(start) for _ in towers], recall


def _validation_recall(
    task: Task, towers: Towers, item_vectors: np.ndarray, max_history: int | None
) -> float:
    return float(_validation_hits(task, towers, item_vectors, max_history).mean())


def _validation_hits(
    task: Task, towers: Towers, item_vectors: np.ndarray, max_history: int | None
) -> np.ndarray:
    examples = task.validation.examples
    users, _ = encode(
        task.sequences, examples.starts, examples.stops, towers, item_vectors, max_history
    )
    return task.validation.hits(users[None], item_vectors)[0]
