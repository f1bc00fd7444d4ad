"""Training: the start, the epochs, and which weights are kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from skue.encoders.two_tower._encode import Towers, encode, side_by_side
from skue.encoders.two_tower._examples import Targets, examples_of
from skue.encoders.two_tower._losses import Loss, full_softmax, sampled_softmax
from skue.encoders.two_tower._model import (
    Arrays,
    Batch,
    head,
    head_gradient,
    pool,
    pool_gradient,
    start_of_dense,
    start_of_pooling,
)
from skue.encoders.two_tower._optimizer import AdamW, add_at_rows
from skue.encoders.two_tower._recipe import N_UNIFORM, Recipe
from skue.encoders.two_tower._sequences import batch_of
from skue.encoders.two_tower._start_spaces import Task
from skue.kernels._threads import spread

_TINY = np.float32(1e-12)
_TEMPERATURES = (0.02, 1.0)
_LONGEST_HISTORY = 100
# Batches have examples of similar length, sorted within groups of this many batches.
_SORTED_BATCHES = 16
# Share of the past in the moving average of the weights, at every step.
_AVERAGING = 0.995
# Share of all steps during which the learning rate rises; then it falls to zero.
_WARM_UP = 0.05
# With few examples, an epoch makes several passes, up to this many steps.
_STEPS_PER_EPOCH = 256
_MOST_PASSES = 4


class Negatives(NamedTuple):
    """The items of a step with sampled negatives.

    ``rows`` are the distinct item rows of the step. ``candidates`` are the positions in ``rows``
    of the targets, then of the uniform negatives. ``log_expected`` is the logarithm of how often
    each candidate is expected among the negatives.
    """

    rows: np.ndarray
    candidates: np.ndarray
    log_expected: np.ndarray


class Trainer:
    """Trains one pair of towers by steps over batches of examples."""

    def __init__(
        self,
        targets: Targets,
        item_vectors: np.ndarray,
        start: Arrays,
        recipe: Recipe,
        rng: np.random.Generator,
    ) -> None:
        self.targets = targets
        self.item_vectors = item_vectors
        self.recipe = recipe
        self.rng = rng
        self.stopped = False
        self.n_seen = self.n_epochs = 0
        self.max_history = min(recipe.max_history or _LONGEST_HISTORY, _LONGEST_HISTORY)
        parameters = {name: np.array(value, dtype=np.float32) for name, value in start.items()}
        temperature = 0.07 if recipe.temperature is None else recipe.temperature
        parameters["log_temperature"] = np.array([np.log(temperature)], dtype=np.float32)
        if recipe.learn_items:
            parameters["items"] = item_vectors.copy()
        self.parameters = parameters
        self.fixed = set() if recipe.temperature is None else {"log_temperature"}
        self.optimiser = AdamW(
            parameters,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.alpha,
            decayed=frozenset(filter(_decays, parameters)),
            by_row=frozenset({"items", "gate"} & set(parameters))
            if recipe.sampled
            else frozenset(),
            averaging=_AVERAGING,
        )
        n_rows = min(recipe.batch_size, len(targets))
        n_candidates = n_rows + N_UNIFORM if recipe.sampled else len(item_vectors)
        self._scores = np.empty((n_rows, n_candidates), dtype=np.float32)
        with np.errstate(divide="ignore"):
            self._log_target_share = np.log(targets.shares(len(item_vectors)))

    # Training that diverges overflows first. The caller notices it by the loss.
    @np.errstate(over="ignore", invalid="ignore")
    def epoch(self) -> float:
        """Train for one epoch, and return the mean loss; end early if stopped or diverged."""
        total, n_before = 0.0, self.n_seen
        batches = self._batches()
        n_passes = max(1, min(_MOST_PASSES, round(_STEPS_PER_EPOCH / len(batches))))
        for _ in range(n_passes - 1):
            batches += self._batches()
        for at, events in enumerate(batches):
            done = (self.n_epochs + (at + 0.5) / len(batches)) / self.recipe.max_iter
            self.optimiser.learning_rate = self.recipe.learning_rate * _pace(done)
            total += self._step(events) * len(events)
            self.n_seen += len(events)
            if self.stopped or not np.isfinite(total):
                break
        self.n_epochs += 1
        return total / max(self.n_seen - n_before, 1)

    def averages(self) -> tuple[Arrays, np.ndarray]:
        """Return the averaged weights of the encoder, and the item vectors to search."""
        averages = self.optimiser.averages()
        averages.pop("log_temperature")
        np.maximum(averages["decay"], 0, out=averages["decay"])
        if not self.recipe.learn_items:
            return averages, self.item_vectors
        return averages, _unit(averages.pop("items"))[0]

    def _batches(self) -> list[np.ndarray]:
        """Draw targets in shuffled batches, whose prefixes have similar lengths."""
        drawn, size = self.targets.draw(self.rng), self.recipe.batch_size
        examples = examples_of(self.targets.sequences, drawn)
        lengths = np.minimum(examples.stops - examples.starts, self.max_history)
        batches = []
        for at in range(0, len(drawn), size * _SORTED_BATCHES):
            several = slice(at, at + size * _SORTED_BATCHES)
            ordered = drawn[several][np.argsort(lengths[several], kind="stable")]
            batches += [ordered[i : i + size] for i in range(0, len(ordered), size)]
        return [batches[index] for index in self.rng.permutation(len(batches))]

    def _step(self, events: np.ndarray) -> float:
        recipe, parameters = self.recipe, self.parameters
        batch, targets, negatives = self._draw(events)
        table = parameters["items"] if recipe.learn_items else self.item_vectors
        if negatives is not None:
            table = table[negatives.rows]
            parameters = parameters | {"gate": parameters["gate"][negatives.rows]}
        vectors, norms = _unit(table)
        kept = self._dropout(len(events), vectors.shape[1])
        pooled = pool(batch, parameters, vectors)
        headed = head(pooled.channels, parameters, kept)
        loss = self._loss(headed.users, vectors, targets, negatives)
        gradients, of_channels = head_gradient(pooled.channels, parameters, headed, loss.users)
        of_pooling, of_events = pool_gradient(
            batch,
            parameters,
            pooled,
            of_channels,
            n_items=len(vectors),
            learn_items=recipe.learn_items,
        )
        gradients |= of_pooling
        gradients["log_temperature"] = np.array([loss.log_temperature], dtype=np.float32)
        if of_events is not None and loss.items is not None:
            of_vectors = loss.items
            add_at_rows(of_vectors, batch.rows.ravel(), of_events.reshape(-1, vectors.shape[1]))
            along = np.einsum("nd,nd->n", of_vectors, vectors)
            of_vectors -= vectors * along[:, None]
            of_vectors /= norms[:, None]
            gradients["items"] = of_vectors
        for name in self.fixed & set(gradients):
            del gradients[name]
        self.optimiser.step(gradients, None if negatives is None else negatives.rows)
        self._keep_in_range()
        return loss.value

    def _draw(self, events: np.ndarray) -> tuple[Batch, np.ndarray, Negatives | None]:
        """Return the batch of a step, its targets, and its negatives if they are sampled.

        The rows of the batch are then positions in the rows of the negatives.
        """
        examples = examples_of(self.targets.sequences, events)
        batch = batch_of(
            self.targets.sequences,
            examples.starts,
            examples.stops,
            max_history=self.max_history,
            event_dropout=self.recipe.event_dropout,
            rng=self.rng,
        )
        if not self.recipe.sampled:
            return batch, examples.targets, None
        uniform = self.rng.integers(len(self.item_vectors), size=N_UNIFORM)
        named = np.concatenate([batch.rows.ravel(), examples.targets, uniform])
        rows, local = np.unique(named, return_inverse=True)
        n_events = batch.rows.size
        candidates = local[n_events:]
        log_expected = self._log_expected(rows[candidates], len(events))
        batch = batch._replace(rows=local[:n_events].reshape(batch.rows.shape))
        return batch, examples.targets, Negatives(rows, candidates, log_expected)

    def _dropout(self, n_users: int, n_dims: int) -> np.ndarray | None:
        """Return the factors of dropout: 0, or one over the share that is kept."""
        share = self.recipe.dropout
        if not share or "linear" not in self.parameters:
            return None
        shape = (n_users, len(self.recipe.decays) * n_dims)
        kept = (self.rng.random(shape, dtype=np.float32) >= share).astype(np.float32)
        kept /= np.float32(1 - share)
        return kept

    def _loss(
        self,
        users: np.ndarray,
        vectors: np.ndarray,
        targets: np.ndarray,
        negatives: Negatives | None,
    ) -> Loss:
        log_temperature = float(self.parameters["log_temperature"][0])
        if negatives is None:
            return full_softmax(
                users,
                vectors,
                targets,
                log_temperature,
                label_smoothing=self.recipe.label_smoothing,
                learn_items=self.recipe.learn_items,
                buffer=self._scores,
            )
        candidates = negatives.candidates
        loss = sampled_softmax(
            users,
            vectors[candidates],
            negatives.rows[candidates],
            negatives.log_expected,
            log_temperature,
            buffer=self._scores,
        )
        if not self.recipe.learn_items or loss.items is None:
            return loss._replace(items=None)
        of_vectors = np.zeros_like(vectors)
        add_at_rows(of_vectors, candidates, loss.items)
        return loss._replace(items=of_vectors)

    def _log_expected(self, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the logarithm of how often each candidate is expected among the negatives."""
        in_batch = np.log(max(batch_size - 1, 1e-12)) + self._log_target_share[rows]
        return np.logaddexp(in_batch, np.log(N_UNIFORM / len(self.item_vectors)))

    def _keep_in_range(self) -> None:
        parameters = self.parameters
        np.maximum(parameters["decay"], 0, out=parameters["decay"])
        if "log_temperature" not in self.fixed:
            low, high = np.log(_TEMPERATURES)
            np.clip(parameters["log_temperature"], low, high, out=parameters["log_temperature"])


def _pace(done: float) -> float:
    """Return the factor of the learning rate after a share of all steps: it rises, then falls."""
    return min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP), 1.0)


def _unit(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows at length 1, and their norms, which are never zero."""
    norms = np.maximum(np.sqrt(np.einsum("nd,nd->n", table, table)), _TINY)
    return table / norms[:, None], norms


def _decays(name: str) -> bool:
    return name == "linear" or name.startswith("weight")


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
