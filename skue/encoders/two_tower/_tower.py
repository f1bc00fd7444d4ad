"""Training one pair of towers: batches, steps, and the average of the weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skue.encoders.two_tower._adamw import AdamW
from skue.encoders.two_tower._channels import Arrays, Batch, pool, pool_gradient
from skue.encoders.two_tower._examples import Targets, examples_of
from skue.encoders.two_tower._head import head, head_gradient
from skue.encoders.two_tower._loops import add_at_rows
from skue.encoders.two_tower._losses import Loss, full_softmax, sampled_softmax
from skue.encoders.two_tower._recipe import N_UNIFORM, Recipe
from skue.encoders.two_tower._sequences import batch_of

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
