"""Learning the two-tower encoder: where it starts, its steps, and when it stops."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from skue.encoders._sequences import Examples, Sequences, batch_of, blocks_by_length
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._adamw import AdamW
from skue.kernels._channels import Arrays, Batch, pool, pool_gradient, start_of_pooling
from skue.kernels._head import head, head_gradient, start_of_dense
from skue.kernels._losses import Loss, add_at_rows, full_softmax, sampled_softmax
from skue.kernels._pooling import decay_weights, item_coefficients, pooled_unit_vectors
from skue.kernels._ranking import expected_recall
from skue.kernels._segments import offsets_of, positions_of_ranges

_K = 20
_START_DECAYS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_START_REPEAT_EXPONENTS = (1.0, 0.5, 0.3, 0.0)
# How much of the mix the best average has when training starts from it.
_START_SHARE = 0.9
_TEMPERATURES = (0.02, 1.0)
_EXAMPLES_PER_USER = 50
_LONGEST_HISTORY = 100
_N_UNIFORM = 2048
# Batches are made of examples of similar length, out of so many batches' worth.
_SORTED_BATCHES = 16
# Share of all steps in which the learning rate rises to its height; then it falls to zero.
_WARM_UP = 0.05
# Few examples are gone over several times in an epoch, towards so many steps.
_STEPS_PER_EPOCH = 256
_MOST_PASSES = 4


@dataclass(frozen=True)
class Recipe:
    """What training depends on, beside the data."""

    hidden_layer_sizes: tuple[int, ...]
    decays: tuple[float, ...]
    learn_items: bool
    sampled: bool
    temperature: float | None
    dropout: float
    event_dropout: float
    label_smoothing: float
    learning_rate: float
    alpha: float
    batch_size: int
    max_iter: int
    n_iter_no_change: int
    max_history: int | None
    averaging: float = 0.995
    corrected: bool = True
    learned: frozenset[str] = frozenset({"decay", "elapsed", "repeat", "support", "gate"})
    dense: bool = True


class BestAverage(NamedTuple):
    """The plain average that finds most of the validation examples."""

    decay: float
    repeat_exponent: float
    recall: float


class Task(NamedTuple):
    """What to learn from and to validate by, in a space of items, and the best average of it."""

    items: ItemEmbeddings
    sequences: Sequences
    training: Examples
    validation: Examples
    best: BestAverage


@dataclass
class Learned:
    """What training found."""

    parameters: Arrays
    item_vectors: np.ndarray
    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_iter: int = 0
    n_iter: int = 0

    def keep(self, parameters: Arrays, item_vectors: np.ndarray, epoch: int) -> None:
        """Take these weights as the best so far."""
        self.parameters, self.item_vectors, self.best_iter = parameters, item_vectors, epoch


def encode(
    sequences: Sequences,
    starts: np.ndarray,
    stops: np.ndarray,
    parameters: Arrays,
    item_vectors: np.ndarray,
    max_history: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit user vectors of prefixes, and which of them have a direction."""
    users = np.zeros((len(starts), item_vectors.shape[1]), dtype=np.float32)
    defined = np.zeros(len(starts), dtype=bool)
    lengths = stops - starts
    if max_history is not None:
        lengths = np.minimum(lengths, max_history)
    filled = np.flatnonzero(lengths)
    for within in blocks_by_length(lengths[filled]):
        block = filled[within]
        batch = batch_of(sequences, starts[block], stops[block], max_history=max_history)
        pooled = pool(batch, parameters, item_vectors)
        headed = head(pooled.channels, parameters)
        has = np.isfinite(pooled.norms).any(axis=1) & np.isfinite(headed.norms)
        users[block] = headed.users * has[:, None]
        defined[block] = has
    return users, defined


def train(
    task: Task, recipe: Recipe, rng: np.random.Generator, on_epoch: Callable[[], bool]
) -> Learned:
    """Start from the best average, and learn until validation recall no longer rises.

    ``on_epoch`` is called after every epoch; training stops when it returns True.
    """
    item_vectors, validation = task.items.vectors, task.validation
    start, start_score, average, average_score = _start(task, recipe)
    learned = Learned(average, item_vectors)
    if len(validation):
        learned.validation_scores.append(max(start_score, average_score))
        if start_score > average_score:
            learned.parameters = start
    if not len(task.training):
        return learned
    try:
        # Beside frozen items the pooling's few numbers come first: they need little data.
        stages = [recipe] if recipe.learn_items else [replace(recipe, dense=False), recipe]
        for stage in stages:
            if stage.dense:
                n_channels, n_dims = len(recipe.decays), item_vectors.shape[1]
                start |= start_of_dense(n_channels, n_dims, recipe.hidden_layer_sizes, rng)
            trainer = _Trainer(task.sequences, task.training, item_vectors, start, stage, rng)
            _run(trainer, learned, validation, on_epoch)
            if learned.best_iter:
                start = dict(learned.parameters)
    except KeyboardInterrupt:
        warnings.warn(
            f"Interrupted in epoch {learned.n_iter + 1}; the best weights so far are kept.",
            UserWarning,
            stacklevel=2,
        )
    return learned


def _run(
    trainer: _Trainer, learned: Learned, validation: Examples, on_epoch: Callable[[], bool]
) -> None:
    """Learn until validation recall no longer rises, and keep the best weights."""
    recipe = trainer.recipe
    first = learned.n_iter
    for epoch in range(first + 1, first + recipe.max_iter + 1):
        learned.loss_curve.append(trainer.epoch())
        learned.n_iter = epoch
        parameters, vectors = trainer.averages()
        if not len(validation):
            learned.keep(parameters, vectors, epoch)
        else:
            score = _validation_recall(
                trainer.sequences, validation, parameters, vectors, recipe.max_history
            )
            if score > max(learned.validation_scores):
                learned.keep(parameters, vectors, epoch)
            learned.validation_scores.append(score)
        if on_epoch() or epoch - max(learned.best_iter, first) >= recipe.n_iter_no_change:
            return


def _start(task: Task, recipe: Recipe) -> tuple[Arrays, float, Arrays, float]:
    """Return where training starts, and the best average, each with its validation recall."""
    decay, exponent, average_score = task.best
    sequences, validation, item_vectors = task.sequences, task.validation, task.items.vectors
    decays = np.asarray(recipe.decays, dtype=np.float32)
    n_items = len(item_vectors)
    start = start_of_pooling(decays, exponent, n_items)
    start["mix"] = np.zeros(len(decays), dtype=np.float32)
    average = start_of_pooling(np.array([decay]), exponent, n_items)
    average["mix"] = np.zeros(1, dtype=np.float32)
    if not len(validation):
        return start, 0.0, average, 0.0
    mix_score = _validation_recall(sequences, validation, start, item_vectors, recipe.max_history)
    if average_score > mix_score and len(decays) > 1:
        nearest = int(np.argmin(np.abs(decays - decay)))
        start["decay"][nearest] = decay
        start["mix"][nearest] = np.log(_START_SHARE / (1 - _START_SHARE) * (len(decays) - 1))
    return start, mix_score, average, average_score


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
    sequences: Sequences,
    validation: Examples,
    parameters: Arrays,
    item_vectors: np.ndarray,
    max_history: int | None,
) -> float:
    users, _ = encode(
        sequences, validation.starts, validation.stops, parameters, item_vectors, max_history
    )
    return _recall(sequences, validation, users, item_vectors)


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


class _Trainer:
    """Steps over batches of examples; the arrays it learns and their optimiser."""

    def __init__(
        self,
        sequences: Sequences,
        examples: Examples,
        item_vectors: np.ndarray,
        start: Arrays,
        recipe: Recipe,
        rng: np.random.Generator,
    ) -> None:
        self.sequences = sequences
        self.examples = examples
        self.item_vectors = item_vectors
        self.recipe = recipe
        self.rng = rng
        self.max_history = min(recipe.max_history or _LONGEST_HISTORY, _LONGEST_HISTORY)
        parameters = {name: value.copy() for name, value in start.items()}
        temperature = 0.07 if recipe.temperature is None else recipe.temperature
        parameters["log_temperature"] = np.array([np.log(temperature)], dtype=np.float32)
        if recipe.learn_items:
            parameters["items"] = item_vectors.copy()
        self.parameters = parameters
        self.fixed = {"decay", "elapsed", "repeat", "support", "gate"} - recipe.learned
        if recipe.temperature is not None:
            self.fixed.add("log_temperature")
        self.optimiser = AdamW(
            parameters,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.alpha,
            decayed=frozenset(name for name in parameters if _is_dense(name, biases=False)),
            by_row=frozenset({"items", "gate"} & set(parameters))
            if recipe.sampled
            else frozenset(),
            averaging=recipe.averaging,
        )
        shape = (recipe.batch_size, len(item_vectors))
        self._scores = None if recipe.sampled else np.empty(shape, dtype=np.float32)
        self._log_target_share = _log_target_share(examples, len(item_vectors))

    def epoch(self) -> float:
        """Go over the examples, and return the mean loss."""
        total, n_seen = 0.0, 0
        batches = self._batches()
        n_passes = min(_MOST_PASSES, -(-_STEPS_PER_EPOCH // len(batches)))
        for _ in range(n_passes - 1):
            batches += self._batches()
        n_steps = len(batches) * self.recipe.max_iter
        for chosen in batches:
            self.optimiser.learning_rate = self.recipe.learning_rate * _pace(
                (self.optimiser.n_steps + 0.5) / n_steps
            )
            total += self._step(self.examples.take(chosen)) * len(chosen)
            n_seen += len(chosen)
        return total / max(n_seen, 1)

    def averages(self) -> tuple[Arrays, np.ndarray]:
        """Return the averaged weights of the encoder, and the item vectors to search."""
        averages = self.optimiser.averages()
        averages.pop("log_temperature")
        np.maximum(averages["decay"], 0, out=averages["decay"])
        if not self.recipe.learn_items:
            return averages, self.item_vectors
        return averages, _unit(averages.pop("items"))[0]

    def _batches(self) -> list[np.ndarray]:
        """Shuffled batches of examples of similar length, at most so many a user."""
        users, size = self.examples.users, self.recipe.batch_size
        order = self.rng.permutation(len(users))
        order = order[np.argsort(users[order], kind="stable")]
        place = np.arange(len(users)) - np.searchsorted(users, users)
        chosen = self.rng.permutation(order[place < _EXAMPLES_PER_USER])
        lengths = np.minimum(self.examples.stops - self.examples.starts, self.max_history)
        batches = []
        for at in range(0, len(chosen), size * _SORTED_BATCHES):
            several = chosen[at : at + size * _SORTED_BATCHES]
            several = several[np.argsort(lengths[several], kind="stable")]
            batches += [several[i : i + size] for i in range(0, len(several), size)]
        return [batches[index] for index in self.rng.permutation(len(batches))]

    def _step(self, examples: Examples) -> float:
        recipe, parameters = self.recipe, self.parameters
        batch = batch_of(
            self.sequences,
            examples.starts,
            examples.stops,
            max_history=self.max_history,
            event_dropout=recipe.event_dropout,
            rng=self.rng,
        )
        rows: np.ndarray | None = None
        table = parameters["items"] if recipe.learn_items else self.item_vectors
        if recipe.sampled:
            rows, batch, candidates = self._touched(batch, examples.targets)
            table = table[rows]
            parameters = parameters | {"gate": parameters["gate"][rows]}
        vectors, norms = _unit(table)
        pooled = pool(batch, parameters, vectors)
        headed = head(pooled.channels, parameters, self._dropout(pooled.channels))
        if rows is None:
            loss, of_vectors = self._full_loss(headed.users, vectors, examples.targets)
        else:
            loss, of_vectors = self._sampled_loss(headed.users, vectors, rows, candidates)
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
        if of_vectors is not None and of_events is not None:
            add_at_rows(of_vectors, batch.rows.ravel(), of_events.reshape(-1, vectors.shape[1]))
            along = np.einsum("nd,nd->n", of_vectors, vectors)
            of_vectors -= vectors * along[:, None]
            of_vectors /= norms[:, None]
            gradients["items"] = of_vectors
        for name in self.fixed & set(gradients):
            del gradients[name]
        self.optimiser.step(gradients, rows)
        self._keep_in_range()
        return loss.value

    def _dropout(self, channels: np.ndarray) -> np.ndarray | None:
        share = self.recipe.dropout
        if not share or not self.recipe.dense:
            return None
        shape = (len(channels), channels[0].size)
        kept = (self.rng.random(shape, dtype=np.float32) >= share).astype(np.float32)
        kept /= np.float32(1 - share)
        return kept

    def _full_loss(
        self, users: np.ndarray, vectors: np.ndarray, targets: np.ndarray
    ) -> tuple[Loss, np.ndarray | None]:
        loss = full_softmax(
            users,
            vectors,
            targets,
            float(self.parameters["log_temperature"][0]),
            label_smoothing=self.recipe.label_smoothing,
            learn_items=self.recipe.learn_items,
            buffer=self._scores,
        )
        return loss, loss.items

    def _sampled_loss(
        self, users: np.ndarray, vectors: np.ndarray, rows: np.ndarray, candidates: np.ndarray
    ) -> tuple[Loss, np.ndarray | None]:
        loss = sampled_softmax(
            users,
            vectors[candidates],
            rows[candidates],
            self._log_expected(rows[candidates], len(users)),
            float(self.parameters["log_temperature"][0]),
        )
        if not self.recipe.learn_items or loss.items is None:
            return loss, None
        of_vectors = np.zeros_like(vectors)
        add_at_rows(of_vectors, candidates, loss.items)
        return loss, of_vectors

    def _touched(self, batch: Batch, targets: np.ndarray) -> tuple[np.ndarray, Batch, np.ndarray]:
        """Draw uniform negatives; return the item rows that the step is about, renumbered."""
        uniform = self.rng.integers(len(self.item_vectors), size=_N_UNIFORM)
        named = np.concatenate([batch.rows.ravel(), targets, uniform])
        rows, local = np.unique(named, return_inverse=True)
        n_events = batch.rows.size
        renumbered = batch._replace(rows=local[:n_events].reshape(batch.rows.shape))
        return rows, renumbered, local[n_events:]

    def _log_expected(self, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """Logarithm of how often each candidate is expected among the negatives."""
        if not self.recipe.corrected:
            return np.zeros(len(rows))
        in_batch = np.log(max(batch_size - 1, 1e-12)) + self._log_target_share[rows]
        return np.logaddexp(in_batch, np.log(_N_UNIFORM / len(self.item_vectors)))

    def _keep_in_range(self) -> None:
        parameters = self.parameters
        np.maximum(parameters["decay"], 0, out=parameters["decay"])
        low, high = np.log(_TEMPERATURES)
        np.clip(parameters["log_temperature"], low, high, out=parameters["log_temperature"])


def _pace(done: float) -> float:
    """Share of the learning rate when this share of all steps is done: up, then down to zero."""
    return min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP), 1.0)


def _log_target_share(examples: Examples, n_items: int) -> np.ndarray:
    """Logarithm of each item's share of the targets that an epoch shows."""
    n_of_user = np.bincount(examples.users)[examples.users]
    chance = np.minimum(1.0, _EXAMPLES_PER_USER / np.maximum(n_of_user, 1))
    counts = np.bincount(examples.targets, chance, minlength=n_items)
    with np.errstate(divide="ignore"):
        return np.log(counts / max(counts.sum(), 1e-300))


def _unit(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    norms = np.sqrt(np.einsum("nd,nd->n", table, table))
    norms = np.maximum(norms, np.float32(1e-12))
    return table / norms[:, None], norms


def _is_dense(name: str, *, biases: bool = True) -> bool:
    return name == "linear" or name.startswith(("weight", "bias") if biases else "weight")
