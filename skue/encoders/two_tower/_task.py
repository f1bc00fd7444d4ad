"""The task of one fit: a space of items, and examples to train and validate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from skue._warn import warn_caller
from skue.encoders._events import Events, known_events
from skue.encoders._unknown import nothing_known
from skue.encoders.two_tower._examples import (
    Examples,
    Sequences,
    examples_of,
    held_out_events,
    sequences_of,
    split_examples,
)
from skue.encoders.two_tower._spaces import learned_spaces
from skue.encoders.two_tower._validation import BestAverage, Validation
from skue.histories._histories import Histories
from skue.items._cooccurrence import item_space
from skue.items._item_embeddings import ItemEmbeddings


class Task(NamedTuple):
    """A space of items, the examples in it, and its best average.

    The item vectors are those of ``n_towers`` spaces, concatenated.
    """

    items: ItemEmbeddings
    n_towers: int
    sequences: Sequences
    training: Examples
    validation: Validation
    best: BestAverage

    def is_enough(self, *, validated: bool) -> bool:
        """Whether there are examples to train and, if wanted, to validate."""
        return len(self.training) > 0 and (len(self.validation) > 0 or not validated)

    def without_training(self) -> Task:
        """Return the task without training examples, and warn that there were too few."""
        warn_caller(
            f"{len(self.training)} examples to learn from and {len(self.validation)} to "
            "validate by are too few: the encoder is a plain average. Pass more or longer "
            "histories, or set early_stopping=False to train without validation."
        )
        return self._replace(training=self.training.take(np.arange(0)))


def best_task(
    item_embeddings: Any,
    histories: Histories,
    validation_fraction: float | None,
    rng: np.random.Generator,
    n_jobs: int | None = None,
) -> Task:
    """Return the task in the space whose best average has the highest validation recall.

    Spaces learned from the histories do not see the held-out events. If ``validation_fraction``
    is None, nothing is held out.
    """
    held_out = np.zeros(len(histories.codes), dtype=bool)
    if validation_fraction is not None:
        columns = histories.codes, histories.offsets, histories.timestamps, histories.weights
        opens = sequences_of(Events(*columns)).opens
        held_out = held_out_events(histories.offsets, opens, validation_fraction, rng)
    split_rng = np.random.default_rng(rng.integers(np.iinfo(np.int64).max))
    spaces = _spaces(item_embeddings, histories._keep_events(~held_out), n_jobs)
    first = next(spaces)
    # All candidate spaces have the same items, so the examples are the same for all.
    known = first[0].rows_of(histories) >= 0
    sequences = sequences_of(known_events(first[0], histories, None))
    examples, events = examples_of(sequences)
    training, validating = split_examples(examples, held_out[known][events], split_rng)
    validation = Validation(sequences, validating)
    tasks = (
        Task(
            items, n_towers, sequences, training, validation, validation.best_average(items.vectors)
        )
        for items, n_towers in itertools.chain([first], spaces)
    )
    return max(tasks, key=lambda task: task.best.recall)


def _spaces(
    item_embeddings: Any, histories: Histories, n_jobs: int | None
) -> Iterator[tuple[ItemEmbeddings, int]]:
    """Candidate spaces of the same items, and how many spaces are concatenated in each."""
    if item_embeddings is None:
        return learned_spaces(histories, n_jobs)
    return iter([(item_space(item_embeddings, histories), 1)])


def unknown_targets(
    items: ItemEmbeddings, histories: Histories, appended: np.ndarray | None
) -> int:
    """Return how many targets of y are unknown; raise if there is nothing to learn from.

    Parameters
    ----------
    items : ItemEmbeddings
    histories : Histories
        Including the targets of y with ``targets="y"``.
    appended : ndarray of shape (n_events,), bool, or None
        Which events come from y.
    """
    known = items.rows_of(histories) >= 0
    if not known.any():
        raise ValueError(
            f"{nothing_known(items, histories)} There is nothing to learn from. Pass "
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
