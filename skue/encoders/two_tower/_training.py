"""Training of the towers: the start, epochs, validation, and which weights are kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from skue._estimator import warn_caller
from skue.encoders._average_search import recall_of_averages
from skue.encoders._events import Events
from skue.encoders.two_tower._examples import (
    Examples,
    Sequences,
    Targets,
    examples_of,
)
from skue.encoders.two_tower._model import (
    Arrays,
    Towers,
    encode,
    side_by_side,
    start_of_dense,
    start_of_pooling,
)
from skue.encoders.two_tower._trainer import Settings, Trainer
from skue.histories._fingerprints import LearnedHistories
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._arrays import LONGEST_HISTORY, offsets_of, positions_of_ranges
from skue.kernels._pair_counts import n_repeats
from skue.kernels._ranking import Products, rank_positives
from skue.kernels._threads import spread
from skue.kernels._ties import TiedGroups, expected_dcg, expected_hits, tied_groups
from skue.kernels._unit_rows import unit_rows

_K = 20
_DECAYS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_REPEAT_EXPONENTS = (0.5, 0.3, 0.15, 0.0)


class BestAverage(NamedTuple):
    """The plain average with the highest validation recall."""

    decay: float
    repeat_exponent: float
    recall: float


class Validation:
    """Held-out events, given by their positions, and the histories before them."""

    def __init__(self, sequences: Sequences, held_out: np.ndarray) -> None:
        self.sequences = sequences
        self.users = sequences.users_of(held_out)
        starts, stops, targets = examples_of(sequences, held_out)
        starts = np.maximum(starts, stops - LONGEST_HISTORY)
        self.examples = Examples(starts, stops, targets)
        offsets = offsets_of(stops - starts)
        at = positions_of_ranges(starts, stops - starts)
        columns = (
            None if column is None else column[at]
            for column in (sequences.timestamps, sequences.weights)
        )
        self.prefixes = Events(sequences.rows[at], offsets, *columns)
        # If a held-out item occurs in its own prefix, the items of prefixes can be found.
        is_repeat = self.prefixes.rows == np.repeat(targets, np.diff(offsets))
        self._seen = None if is_repeat.any() else (self.prefixes.rows, np.diff(offsets))

    def __len__(self) -> int:
        return len(self.examples.targets)

    def hits(self, user_vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
        """Return whether the held-out item is among the 20 best of all, with ties in expectation.

        If no held-out item occurs in its own prefix, the items of prefixes are excluded. Both the
        vectors, of shape (n_ways, n_examples, n_dims), and the hits are for several ways to encode.
        """
        groups = self._ranked(user_vectors, item_vectors)
        return expected_hits(groups, _K).reshape(user_vectors.shape[:2])

    def ndcg(self, user_vectors: np.ndarray, item_vectors: np.ndarray) -> float:
        """Return the mean NDCG of the held-out items over all ranks."""
        groups = self._ranked(user_vectors[None], item_vectors)
        return float(expected_dcg(groups, len(item_vectors)).mean())

    def _ranked(self, user_vectors: np.ndarray, item_vectors: np.ndarray) -> TiedGroups:
        n_ways, n_examples, n_dims = user_vectors.shape
        excluded = None
        if self._seen is not None:
            rows, lengths = self._seen
            excluded = np.tile(rows, n_ways), offsets_of(np.tile(lengths, n_ways))
        positives, _ = rank_positives(
            Products(user_vectors.reshape(-1, n_dims), item_vectors),
            len(item_vectors),
            np.tile(self.examples.targets, n_ways),
            np.arange(n_ways * n_examples + 1),
            excluded=excluded,
        )
        return tied_groups(positives)

    def vectors(
        self, towers: Towers, item_vectors: np.ndarray, max_history: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the user vectors of the prefixes, and which have a direction."""
        starts, stops, _ = self.examples
        return encode(self.sequences, starts, stops, towers, item_vectors, max_history)

    def hits_of_towers(
        self, towers: Towers, item_vectors: np.ndarray, max_history: int | None
    ) -> np.ndarray:
        """Return the hits of the vectors that towers give, shape (n_examples,)."""
        users, _ = self.vectors(towers, item_vectors, max_history)
        return self.hits(users[None], item_vectors)[0]

    def recall_of(self, average: BestAverage, item_vectors: np.ndarray) -> float:
        """Return the recall of a plain average with these item vectors, or -1 without examples."""
        if not len(self):
            return -1.0
        return self._best_of((average.decay,), average.repeat_exponent, item_vectors).recall

    def best_average(self, item_vectors: np.ndarray) -> BestAverage:
        """Return the best plain average that a search by turns finds.

        The decay is searched for first. If prefixes repeat items, the repeat exponent follows,
        with the same decay per event, and then the decay again.
        """
        if not len(self):
            return BestAverage(0.1, 1.0, -1.0)
        best = self._best_of(_DECAYS, 1.0, item_vectors)
        if not n_repeats(self.prefixes.rows, self.prefixes.offsets):
            return best  # the exponent would only scale the decay
        averages = [best]
        for exponent in _REPEAT_EXPONENTS:
            decay = best.decay / exponent if exponent else 0.0  # with 0, it has no effect
            averages.append(self._best_of((decay,), exponent, item_vectors))
        best = max(averages, key=lambda average: average.recall)
        if best.repeat_exponent in (0.0, 1.0):
            return best
        decays = [decay / best.repeat_exponent for decay in _DECAYS]
        again = self._best_of(decays, best.repeat_exponent, item_vectors)
        return max(best, again, key=lambda average: average.recall)

    def _best_of(
        self, decays: Sequence[float], exponent: float, item_vectors: np.ndarray
    ) -> BestAverage:
        """Return the average with the highest recall of several decays."""
        recalls = recall_of_averages(
            self.prefixes,
            "step" if self.prefixes.timestamps is None else "instant",
            item_vectors,
            decays,
            (exponent,),
            lambda users: self.hits(users, item_vectors).mean(axis=1),
        )[:, 0]
        at = int(recalls.argmax())
        return BestAverage(decays[at], exponent, float(recalls[at]))


class Start(NamedTuple):
    """Fitted towers to start from, and the temperature of each."""

    towers: Towers
    temperatures: list[float]


class TrainingData(NamedTuple):
    """A space of items, the examples in it, and where training starts.

    The item vectors are those of ``n_towers`` spaces, concatenated. Training starts from ``best``,
    the best average, with a linear map in each space, or with a warm start from ``start``.
    ``held_out`` are the positions of the held-out events in the log, and ``learned`` the histories
    without them.
    """

    items: ItemEmbeddings
    n_towers: int
    sequences: Sequences
    training: Targets
    validation: Validation
    best: BestAverage
    held_out: np.ndarray
    learned: LearnedHistories
    start: Start | None = None
    linear_maps: Sequence[np.ndarray] = ()

    def if_enough(self, *, validated: bool) -> TrainingData:
        """Return the data, without training examples and with a warning if there are too few.

        A warm start does not need validation: without it, the last weights are kept.
        """
        is_validated = len(self.validation) > 0 or not validated or self.start is not None
        if len(self.training) > 0 and is_validated:
            return self
        result = "is a plain average" if self.start is None else "keeps its fitted towers"
        warn_caller(
            f"{len(self.training)} examples to learn from and {len(self.validation)} to "
            f"validate by are too few: the encoder {result}. Pass more or longer "
            "histories, or set early_stopping=False to train without validation."
        )
        none = np.zeros_like(self.training.chosen)
        return self._replace(training=Targets(self.sequences, none))


# Initial share of the best average in the mix of channels, if it is clearly better than the mix.
_START_SHARE = 0.9
# Shares of the trained weights, beside those of the start, that validation chooses from.
_SHARES_OF_TRAINED = (0.9, 0.8, 0.7, 0.6)
# Towers start from this repeat exponent or a larger one: with 0, decays have no effect.
_LOWEST_EXPONENT = 0.15


@dataclass
class FitResult:
    """The weights that are kept, and how training went."""

    towers: Towers
    item_vectors: np.ndarray
    temperatures: list[float] = field(default_factory=list)
    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_iter: int = 0
    n_iter: int = 0
    n_examples_seen: int = 0
    interrupted: bool = False


def train(
    data: TrainingData,
    settings: Settings,
    rng: np.random.Generator,
    on_epoch: Callable[[Towers, np.ndarray], bool],
) -> FitResult:
    """Train from the best average or from fitted towers, and keep the last weights that may be
    the best.

    ``on_epoch`` is called after every epoch with its weights and item vectors; training stops when
    it returns True. At a prompt, an interrupt from the keyboard ends training and keeps the best
    weights so far. Elsewhere it is raised.
    """
    start, result = _start_of_training(data, settings)
    if not len(data.training):
        return result
    try:
        trainers = _trainers(data, settings, start, rng)
        for epoch in range(1, settings.max_iter + 1):
            began = time.perf_counter()
            weights = _run_epoch(epoch, trainers, data, settings, result)
            if settings.verbose:
                print(_line(result, settings, time.perf_counter() - began), flush=True)
            if on_epoch(*weights) or epoch - result.best_iter >= settings.n_iter_no_change:
                break
    except KeyboardInterrupt:
        is_prompt = hasattr(sys, "ps1")  # set by Python's prompt, IPython and notebooks
        if not is_prompt:
            raise
        result.interrupted = True
    if result.best_iter and data.start is None and len(data.validation):
        _blend_with_start(result, trainers, data, settings)
    return result


def _blend_with_start(
    result: FitResult, trainers: list[Trainer], data: TrainingData, settings: Settings
) -> None:
    r"""Move the weights towards the start if that gives a higher validation NDCG.

    Of :math:`s\, \theta + (1 - s)\, \theta_0`, with trained weights :math:`\theta` and
    :math:`\theta_0` those of the start, the share :math:`s` with the highest NDCG is kept
    (Wortsman et al., 2022). With few users, training learns much that is theirs alone.
    """
    towers, vectors = result.towers, result.item_vectors
    users, _ = data.validation.vectors(towers, vectors, settings.max_history)
    best = data.validation.ndcg(users, vectors)
    blocks = [unit_rows(block) for block in np.split(vectors, len(trainers), axis=1)]
    for share in _SHARES_OF_TRAINED:
        blended = [
            {name: _blend(value, trainer.start[name], share) for name, value in tower.items()}
            for tower, trainer in zip(towers, trainers, strict=True)
        ]
        items = vectors
        if settings.learn_items:
            pairs = zip(blocks, trainers, strict=True)
            items = side_by_side(
                [unit_rows(_blend(block, own.item_vectors, share)) for block, own in pairs]
            )
        users, _ = data.validation.vectors(blended, items, settings.max_history)
        ndcg = data.validation.ndcg(users, items)
        if ndcg > best:
            best, result.towers, result.item_vectors = ndcg, blended, items


def _blend(trained: np.ndarray, start: np.ndarray, share: float) -> np.ndarray:
    return (share * trained + (1 - share) * start).astype(np.float32)


def _run_epoch(
    epoch: int, trainers: list[Trainer], data: TrainingData, settings: Settings, result: FitResult
) -> tuple[Towers, np.ndarray]:
    """Train for an epoch, and add it to the result; keep its weights if they may be the best."""

    def stop() -> None:
        for trainer in trainers:
            trainer.stopped = True

    losses = spread(Trainer.epoch, trainers, on_failure=stop)
    result.loss_curve.append(float(np.mean(losses)))
    result.n_iter, result.n_examples_seen = epoch, trainers[0].n_seen
    towers, vectors = _averages(trainers, data, settings)
    _check_finite(result.loss_curve[-1], towers, vectors, settings, epoch)
    if len(data.validation):
        hits = data.validation.hits_of_towers(towers, vectors, settings.max_history)
        result.validation_scores.append(float(hits.mean()))
    if not len(data.validation) or _may_be_best(result.validation_scores, data):
        result.towers, result.item_vectors, result.best_iter = towers, vectors, epoch
        result.temperatures = [
            float(np.exp(trainer.parameters["log_temperature"][0])) for trainer in trainers
        ]
    return towers, vectors


def _line(result: FitResult, settings: Settings, seconds: float) -> str:
    """Describe the last epoch."""
    parts = [f"loss {result.loss_curve[-1]:.4f}"]
    if result.validation_scores:
        parts.append(f"validation recall@{_K} {result.validation_scores[-1]:.4f}")
    parts.append(f"{seconds:.1f} s")
    return f"Epoch {result.n_iter}/{settings.max_iter}: {', '.join(parts)}"


def _trainers(
    data: TrainingData, settings: Settings, start: Towers, rng: np.random.Generator
) -> list[Trainer]:
    """Return one trainer per pair of towers."""
    trainers = []
    blocks = np.split(data.items.vectors, data.n_towers, axis=1)
    for parameters, block, own in zip(start, blocks, rng.spawn(data.n_towers), strict=True):
        vectors = np.ascontiguousarray(block) * np.float32(np.sqrt(data.n_towers))
        n_channels, n_dims = len(settings.decays), vectors.shape[1]
        dense = start_of_dense(n_channels, n_dims, settings.hidden_layer_sizes, own)
        weights = dense | parameters  # fitted towers have their own
        trainers.append(Trainer(data.training, vectors, weights, settings, own))
    if data.start and settings.temperature is None:
        for trainer, temperature in zip(trainers, data.start.temperatures, strict=True):
            trainer.parameters["log_temperature"][:] = np.log(temperature)
    return trainers


# The check that follows finds and reports overflows.
@np.errstate(over="ignore", invalid="ignore")
def _averages(
    trainers: list[Trainer], data: TrainingData, settings: Settings
) -> tuple[Towers, np.ndarray]:
    """Return the averaged weights of all towers, and the item vectors to search."""
    averages = [trainer.averages() for trainer in trainers]
    vectors = data.items.vectors
    if settings.learn_items:
        vectors = side_by_side([vectors for _, vectors in averages])
    return [parameters for parameters, _ in averages], vectors


def _check_finite(
    loss: float, towers: Towers, vectors: np.ndarray, settings: Settings, epoch: int
) -> None:
    arrays = [vectors, *(array for tower in towers for array in tower.values())]
    if np.isfinite(loss) and all(np.isfinite(array).all() for array in arrays):
        return
    raise ValueError(
        f"Training diverged in epoch {epoch}: the loss or the weights are no longer finite "
        f"(loss {loss}). Set a lower learning_rate_init (the highest rate was "
        f"{settings.learning_rate}) or a lower alpha (it is {settings.alpha})."
    )


def _may_be_best(scores: list[float], data: TrainingData) -> bool:
    """Whether the last score is within one standard error of the best, and at least the average's.

    If validation cannot tell two epochs apart, the later one is kept. Breiman et al. (1984) use
    the same rule for the size of trees. With a warm start, fitted towers are treated as any epoch.
    """
    best = max(scores)
    lowest = best - np.sqrt(best * (1 - best) / len(data.validation))
    return bool(scores[-1] >= (lowest if data.start else max(scores[0], lowest)))


def _start_of_training(data: TrainingData, settings: Settings) -> tuple[Towers, FitResult]:
    """Return where training starts, and the better of that and the best average.

    With a warm start, both are the fitted towers.
    """
    vectors, recall = data.items.vectors, data.best.recall
    if data.start is not None:
        start, temperatures = data.start
        result = FitResult(start, vectors, temperatures)
        if len(data.validation):
            recall = float(
                data.validation.hits_of_towers(start, vectors, settings.max_history).mean()
            )
    else:
        average, start, recall_of_start = _start_from_average(data, settings)
        result = FitResult(start if recall_of_start > recall else average, vectors)
        recall = max(recall_of_start, recall)
    if len(data.validation):
        result.validation_scores.append(recall)
    return start, result


def pooling_from(average: BestAverage, decays: Sequence[float], n_items: int) -> Arrays:
    """Return the pooling that training starts from, with the mix of its channels.

    The weight of an event that is not repeated decays by the exponent times the decay.
    """
    exponent = max(average.repeat_exponent, _LOWEST_EXPONENT)
    of_channels = np.asarray(decays, dtype=np.float32)
    pooling = start_of_pooling(of_channels / np.float32(exponent), exponent, n_items)
    return pooling | {"mix": np.zeros(len(of_channels), dtype=np.float32)}


def _start_from_average(data: TrainingData, settings: Settings) -> tuple[Towers, Towers, float]:
    """Return the best average, the starting weights, and the validation recall of the start.

    The linear maps are left out if the average has a higher recall.
    """
    decay, exponent, recall_of_average = data.best
    decays = np.asarray(settings.decays, dtype=np.float32)
    n_items, n_channels = len(data.items), len(decays)
    average = start_of_pooling(np.array([decay]), exponent, n_items)
    average["mix"] = np.zeros(1, dtype=np.float32)
    pooling = pooling_from(data.best, settings.decays, n_items)
    start = [pooling] * data.n_towers

    def hits_of(towers: Towers) -> np.ndarray:
        return data.validation.hits_of_towers(towers, data.items.vectors, settings.max_history)

    with_maps = _with_maps(start, data.linear_maps)
    if not len(data.validation):
        return [average], with_maps, -1.0
    if data.linear_maps and (recall := float(hits_of(with_maps).mean())) >= recall_of_average:
        return [average], with_maps, recall
    hits = hits_of(start)
    gains = hits_of([average]) - hits
    if n_channels > 1 and gains.mean() > gains.std() / np.sqrt(len(gains)):
        nearest = int(np.argmin(np.abs(decays - decay * max(exponent, _LOWEST_EXPONENT))))
        pooling["decay"][nearest] = decay
        pooling["mix"][nearest] = np.log(_START_SHARE / (1 - _START_SHARE) * (n_channels - 1))
    return [average], [dict(tower) for tower in start], float(hits.mean())


def _with_maps(towers: Towers, linear_maps: Sequence[np.ndarray]) -> Towers:
    """Return the towers with their linear maps, if there are any."""
    if not linear_maps:
        return [dict(tower) for tower in towers]
    return [tower | {"linear": linear} for tower, linear in zip(towers, linear_maps, strict=True)]
