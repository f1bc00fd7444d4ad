"""One pair of towers in training: batches, steps and the average of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skue.encoders.two_tower._examples import Batch, Targets, batch_of, examples_of
from skue.encoders.two_tower._losses import Loss, full_softmax, sampled_softmax
from skue.encoders.two_tower._model import Arrays, head, head_gradient, pool, pool_gradient
from skue.encoders.two_tower._optimizer import AdamW, add_at_rows

# Uniformly drawn negatives per step, beside the targets of the batch.
N_UNIFORM = 2048


@dataclass(frozen=True)
class Settings:
    """The settings of training, with every "auto" resolved."""

    hidden_layer_sizes: tuple[int, ...]
    decays: tuple[float, ...]
    learn_items: bool
    sampled: bool
    temperature: float | None  # None is learned
    dropout: float
    event_dropout: float
    label_smoothing: float
    learning_rate: float
    alpha: float
    batch_size: int
    max_iter: int
    n_iter_no_change: int
    max_history: int | None
    verbose: bool


_TINY = np.float32(1e-12)
_TEMPERATURES = (0.02, 1.0)
_LONGEST_HISTORY = 100
# Batches have examples of similar length, sorted within groups of this many batches.
_SORTED_BATCHES = 16
# Share of the past in the moving average of the weights, at every step.
_AVERAGING = 0.995
# Share of all steps during which the learning rate rises; then it falls to zero.
_WARM_UP = 0.05
# With few examples, an epoch makes several passes, up to this many steps, or to fewer if items are
# learned, too.
_STEPS_PER_EPOCH, _STEPS_LEARNING_ITEMS = 256, 128
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
        settings: Settings,
        rng: np.random.Generator,
    ) -> None:
        self.targets = targets
        self.item_vectors = item_vectors
        self.start = start
        self.settings = settings
        self.rng = rng
        self.stopped = False
        self.n_seen = self.n_epochs = 0
        self.max_history = trained_length(settings.max_history)
        parameters = {name: np.array(value, dtype=np.float32) for name, value in start.items()}
        temperature = 0.07 if settings.temperature is None else settings.temperature
        parameters["log_temperature"] = np.array([np.log(temperature)], dtype=np.float32)
        if settings.learn_items:
            parameters["items"] = item_vectors.copy()
        self.parameters = parameters
        self.fixed = set() if settings.temperature is None else {"log_temperature"}
        by_row = {"items", "gate"} & set(parameters) if settings.sampled else ()
        self.optimizer = AdamW(
            parameters,
            learning_rate=settings.learning_rate,
            weight_decay=settings.alpha,
            decayed=frozenset(
                name for name in parameters if name == "linear" or name.startswith("weight")
            ),
            by_row=frozenset(by_row),
            averaging=_AVERAGING,
        )
        n_rows = min(settings.batch_size, len(targets))
        n_candidates = n_rows + N_UNIFORM if settings.sampled else len(item_vectors)
        self._scores = np.empty((n_rows, n_candidates), dtype=np.float32)
        with np.errstate(divide="ignore"):
            self._log_target_share = np.log(targets.shares(len(item_vectors)))

    # Training that diverges overflows first. The caller notices it by the loss.
    @np.errstate(over="ignore", invalid="ignore")
    def epoch(self) -> float:
        """Train for one epoch, and return the mean loss; end early if stopped or diverged."""
        total, n_before = 0.0, self.n_seen
        batches = self._batches()
        n_steps = _STEPS_LEARNING_ITEMS if self.settings.learn_items else _STEPS_PER_EPOCH
        n_passes = max(1, min(_MOST_PASSES, round(n_steps / len(batches))))
        for _ in range(n_passes - 1):
            batches += self._batches()
        for at, events in enumerate(batches):
            done = (self.n_epochs + (at + 0.5) / len(batches)) / self.settings.max_iter
            self.optimizer.learning_rate = self.settings.learning_rate * pace(done)
            total += self._step(events) * len(events)
            self.n_seen += len(events)
            if self.stopped or not np.isfinite(total):
                break
        self.n_epochs += 1
        return total / max(self.n_seen - n_before, 1)

    def averages(self) -> tuple[Arrays, np.ndarray]:
        """Return the averaged weights of the encoder, and the item vectors to search."""
        averages = self.optimizer.averages()
        averages.pop("log_temperature")
        np.maximum(averages["decay"], 0, out=averages["decay"])
        if not self.settings.learn_items:
            return averages, self.item_vectors
        return averages, _unit(averages.pop("items"))[0]

    def _batches(self) -> list[np.ndarray]:
        """Draw targets in shuffled batches, whose prefixes have similar lengths."""
        drawn, size = self.targets.draw(self.rng), self.settings.batch_size
        examples = examples_of(self.targets.sequences, drawn)
        lengths = np.minimum(examples.stops - examples.starts, self.max_history)
        batches = []
        for at in range(0, len(drawn), size * _SORTED_BATCHES):
            several = slice(at, at + size * _SORTED_BATCHES)
            ordered = drawn[several][np.argsort(lengths[several], kind="stable")]
            batches += [ordered[i : i + size] for i in range(0, len(ordered), size)]
        return [batches[index] for index in self.rng.permutation(len(batches))]

    def _step(self, events: np.ndarray) -> float:
        """Predict these events, update the parameters, and return the loss."""
        settings, parameters = self.settings, self.parameters
        batch, targets, negatives = self._draw(events)
        table = parameters["items"] if settings.learn_items else self.item_vectors
        if negatives is not None:
            table = table[negatives.rows]
            parameters = parameters | {"gate": parameters["gate"][negatives.rows]}
        vectors, norms = _unit(table)
        kept = self._dropout(len(events), vectors.shape[1])
        pooled = pool(batch, parameters, vectors)
        output = head(pooled.channels, parameters, kept)
        loss = self._loss(output.users, vectors, targets, negatives)
        gradients, channels_gradient = head_gradient(
            pooled.channels, parameters, output, loss.users_gradient
        )
        pooling_gradients, events_gradient = pool_gradient(
            batch,
            parameters,
            pooled,
            channels_gradient,
            n_items=len(vectors),
            learn_items=settings.learn_items,
        )
        gradients |= pooling_gradients
        gradients["log_temperature"] = np.array([loss.log_temperature_gradient], dtype=np.float32)
        vectors_gradient = loss.items_gradient
        if events_gradient is not None and vectors_gradient is not None:
            events_gradient = events_gradient.reshape(-1, vectors.shape[1])
            add_at_rows(vectors_gradient, batch.rows.ravel(), events_gradient)
            # The gradient of the items before they are scaled to length 1.
            along = np.einsum("nd,nd->n", vectors_gradient, vectors)
            vectors_gradient -= vectors * along[:, None]
            vectors_gradient /= norms[:, None]
            gradients["items"] = vectors_gradient
        for name in self.fixed & set(gradients):
            del gradients[name]
        self.optimizer.step(gradients, None if negatives is None else negatives.rows)
        self._keep_in_range()
        return loss.value

    def _draw(self, events: np.ndarray) -> tuple[Batch, np.ndarray, Negatives | None]:
        """Return the batch of a step, its targets, and its negatives if they are sampled.

        The rows of the batch are then positions in the rows of the negatives.
        """
        starts, stops, targets = examples_of(self.targets.sequences, events)
        batch = batch_of(
            self.targets.sequences,
            starts,
            stops,
            max_history=self.max_history,
            event_dropout=self.settings.event_dropout,
            rng=self.rng,
        )
        if not self.settings.sampled:
            return batch, targets, None
        uniform = self.rng.integers(len(self.item_vectors), size=N_UNIFORM)
        named = np.concatenate([batch.rows.ravel(), targets, uniform])
        rows, local = np.unique(named, return_inverse=True)
        n_events = batch.rows.size
        candidates = local[n_events:]
        log_expected = self._log_expected(rows[candidates], len(events))
        batch = batch._replace(rows=local[:n_events].reshape(batch.rows.shape))
        return batch, targets, Negatives(rows, candidates, log_expected)

    def _dropout(self, n_users: int, n_dims: int) -> np.ndarray | None:
        """Return the factors of dropout: 0, or one over the share that is kept."""
        share = self.settings.dropout
        if not share or "linear" not in self.parameters:
            return None
        shape = (n_users, len(self.settings.decays) * n_dims)
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
                label_smoothing=self.settings.label_smoothing,
                learn_items=self.settings.learn_items,
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
        if not self.settings.learn_items:
            return loss._replace(items_gradient=None)
        assert loss.items_gradient is not None  # sampled_softmax always returns it
        vectors_gradient = np.zeros_like(vectors)
        add_at_rows(vectors_gradient, candidates, loss.items_gradient)
        return loss._replace(items_gradient=vectors_gradient)

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


def trained_length(max_history: int | None) -> int:
    """Return how many newest events of a history training uses."""
    return min(max_history or _LONGEST_HISTORY, _LONGEST_HISTORY)


def pace(done: float) -> float:
    """Return the factor of the learning rate after a share of all steps: it rises, then falls."""
    return min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP), 1.0)


def _unit(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows at length 1, and their norms, which are never zero."""
    norms = np.maximum(np.sqrt(np.einsum("nd,nd->n", table, table)), _TINY)
    return table / norms[:, None], norms
