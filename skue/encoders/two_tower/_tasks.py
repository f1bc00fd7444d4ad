"""What the two-tower encoder learns from: a space of items, and examples to train and validate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from skue._warn import warn_caller
from skue.encoders._events import Events, known_events
from skue.encoders._unknown import nothing_known
from skue.encoders.two_tower._examples import Examples, Sequences, examples_of, sequences_of
from skue.encoders.two_tower._holdout import held_out_events, split_examples
from skue.encoders.two_tower._spaces import learned_spaces
from skue.histories._histories import Histories
from skue.items._cooccurrence import item_space
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._pooling import decay_weights, item_coefficients, pooled_unit_vectors
from skue.kernels._segments import offsets_of, positions_of_ranges
from skue.kernels._ties import expected_recall

_K = 20
_DECAYS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_REPEAT_EXPONENTS = (1.0, 0.5, 0.3, 0.15, 0.0)


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

    def is_enough(self, *, validated: bool) -> bool:
        """Whether there is anything to learn from, and to validate by where that is wanted."""
        return len(self.training) > 0 and (len(self.validation) > 0 or not validated)

    def without_training(self) -> Task:
        """Return the task without examples to learn from, having warned that they are too few."""
        warn_caller(
            f"{len(self.training)} examples to learn from and {len(self.validation)} to "
            "validate by are too few: the encoder is a plain average. Give longer histories, "
            "or set early_stopping=False to learn without validation."
        )
        return self._replace(training=self.training.take(np.arange(0)))


def best_task(
    item_embeddings: Any,
    histories: Histories,
    validation_fraction: float | None,
    rng: np.random.Generator,
) -> Task:
    """Return the task in the space whose averages find most of the held-out events.

    Spaces that are learned from the histories do not see the held-out events. Without a
    ``validation_fraction`` nothing is held out.
    """
    held_out = np.zeros(len(histories.codes), dtype=bool)
    if validation_fraction is not None:
        columns = histories.codes, histories.offsets, histories.timestamps, histories.weights
        opens = sequences_of(Events(*columns)).opens
        held_out = held_out_events(histories.offsets, opens, validation_fraction, rng)
    split_seed = rng.integers(np.iinfo(np.int64).max)
    tasks = (
        _task(*space, histories, held_out, np.random.default_rng(split_seed))
        for space in _spaces(item_embeddings, histories._keep_events(~held_out))
    )
    return max(tasks, key=lambda task: task.best.recall)


def unknown_targets(
    items: ItemEmbeddings, histories: Histories, appended: np.ndarray | None
) -> int:
    """Return how many targets of y are unknown; refuse where there is nothing to learn from.

    Parameters
    ----------
    items : ItemEmbeddings
    histories : Histories
        With the targets of y, where these are learned from.
    appended : ndarray of shape (n_events,), bool, or None
        Which events came from y.
    """
    known = items.rows_of(histories) >= 0
    if not known.any():
        raise ValueError(
            f"{nothing_known(items, histories)} So there is nothing to learn from. Pass "
            "histories with items of item_embeddings, or set item_embeddings=None."
        )
    if appended is None:
        return 0
    if not (appended & known).any():
        raise ValueError(
            f"targets='y' learns from item ids, but none of the {int(appended.sum())} ids in y "
            "is in the item space. Pass the items that came next, or set targets='history'."
        )
    return int((appended & ~known).sum())


def _spaces(item_embeddings: Any, histories: Histories) -> Iterator[tuple[ItemEmbeddings, int]]:
    """Item spaces to choose from, and how many stand side by side in each."""
    if item_embeddings is None:
        return learned_spaces(histories)
    return iter([(item_space(item_embeddings, histories), 1)])


def _task(
    items: ItemEmbeddings,
    n_towers: int,
    histories: Histories,
    held_out: np.ndarray,
    rng: np.random.Generator,
) -> Task:
    known = items.rows_of(histories) >= 0
    sequences = sequences_of(known_events(items, histories, None))
    examples, events = examples_of(sequences)
    training, validation = split_examples(sequences, examples, events, held_out[known], rng)
    best = best_average(sequences, validation, items.vectors)
    return Task(items, n_towers, sequences, training, validation, best)


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
    for decay, exponent in itertools.product(_DECAYS, _REPEAT_EXPONENTS):
        terms = item_coefficients(
            decay_weights(ages, decay, weights),
            sequences.rows[events],
            offsets,
            exponent,
            signed=signed,
        )
        users, _ = pooled_unit_vectors(*terms, item_vectors)
        recall = recall_of(sequences, validation, users, item_vectors)
        if recall > best.recall:
            best = BestAverage(decay, exponent, recall)
    return best


def recall_of(
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
