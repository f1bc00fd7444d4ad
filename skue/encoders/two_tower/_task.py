"""The task of one fit: a space of items, and examples to train and validate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from skue._warn import warn_caller
from skue.encoders._events import Events, known_events
from skue.encoders._unknown import nothing_known
from skue.encoders.two_tower._encode import Towers
from skue.encoders.two_tower._examples import (
    Targets,
    examples_of,
    held_out_events,
    target_events,
)
from skue.encoders.two_tower._sequences import Sequences, sequences_of
from skue.encoders.two_tower._spaces import learned_spaces
from skue.encoders.two_tower._validation import BestAverage, Validation
from skue.histories._fingerprints import learned_ends, share_learned
from skue.histories._histories import Histories
from skue.items._cooccurrence import item_space
from skue.items._feature_rows import ScaledFeatures
from skue.items._item_embeddings import ItemEmbeddings

# At most this many held-out events are scored.
_MOST_VALIDATING = 5000


class Start(NamedTuple):
    """Fitted towers to start from, and the temperature of each."""

    towers: Towers
    temperatures: list[float]


class Task(NamedTuple):
    """A space of items, the examples in it, and where training starts.

    The item vectors are those of ``n_towers`` spaces, concatenated. Training starts from ``best``,
    the best average, or with a warm start from ``start``. ``learned`` are the hashes of the
    histories that will have been learned from.
    """

    items: ItemEmbeddings
    n_towers: int
    sequences: Sequences
    training: Targets
    validation: Validation
    best: BestAverage
    learned: np.ndarray
    start: Start | None = None

    def is_enough(self, *, validated: bool) -> bool:
        """Whether there are examples to train and, if wanted, to validate.

        A warm start does not need validation: without it, the last weights are kept.
        """
        is_validated = len(self.validation) > 0 or not validated or self.start is not None
        return len(self.training) > 0 and is_validated

    def without_training(self) -> Task:
        """Return the task without training examples, and warn that there were too few."""
        result = "is a plain average" if self.start is None else "keeps its fitted towers"
        warn_caller(
            f"{len(self.training)} examples to learn from and {len(self.validation)} to "
            f"validate by are too few: the encoder {result}. Pass more or longer "
            "histories, or set early_stopping=False to train without validation."
        )
        none = np.zeros_like(self.training.chosen)
        return self._replace(training=Targets(self.sequences, none))


def best_task(
    item_embeddings: Any,
    histories: Histories,
    validation_fraction: float | None,
    rng: np.random.Generator,
    n_jobs: int | None = None,
    features: ScaledFeatures | None = None,
) -> Task:
    """Return the task in the space whose best average has the highest validation recall.

    Spaces learned from the histories do not see the held-out events. If ``validation_fraction``
    is None, nothing is held out.
    """
    held_out = held_out_of(histories, validation_fraction, rng)
    _warn_if_learned(item_embeddings, histories, held_out)
    split_rng = np.random.default_rng(rng.integers(np.iinfo(np.int64).max))
    spaces = _spaces(item_embeddings, histories._keep_events(~held_out), n_jobs, features)
    items, n_towers = next(spaces)
    learned = learned_ends(histories, held_out)
    first = task_in(items, n_towers, histories, held_out, learned, split_rng)
    # All candidate spaces have the same items, so the examples are the same for all.
    tasks = (
        first._replace(
            items=items, n_towers=n_towers, best=first.validation.best_average(items.vectors)
        )
        for items, n_towers in spaces
    )
    return max(itertools.chain([first], tasks), key=lambda task: task.best.recall)


def _warn_if_learned(item_embeddings: Any, histories: Histories, held_out: np.ndarray) -> None:
    """Warn if the given vectors were learned from the events to validate by."""
    sample = getattr(item_embeddings, "_learned_events", None)
    if sample is None or not held_out.any():
        return
    share = share_learned(histories, np.flatnonzero(held_out), sample)
    if share > 0.5:
        warn_caller(
            f"The given item_embeddings were learned from {share:.0%} of the events that "
            "validation holds out, so validation recall is too high and may keep the wrong "
            "epoch. Pass an embedder that is not fitted, such as "
            "item_embeddings=CooccurrenceItemEmbedder(), which is fitted without these events."
        )


def held_out_of(
    histories: Histories,
    fraction: float | None,
    rng: np.random.Generator,
    n_new: np.ndarray | None = None,
) -> np.ndarray:
    """Mark the events to hold out, as :func:`held_out_events`; none if the fraction is None."""
    if fraction is None:
        return np.zeros(len(histories.codes), dtype=bool)
    columns = histories.codes, histories.offsets, histories.timestamps, histories.weights
    return held_out_events(sequences_of(Events(*columns)), fraction, rng, n_new)


def task_in(
    items: ItemEmbeddings,
    n_towers: int,
    histories: Histories,
    held_out: np.ndarray,
    learned: np.ndarray,
    rng: np.random.Generator,
    start: Start | None = None,
) -> Task:
    """Return the task in a space.

    Parameters
    ----------
    held_out : ndarray of shape (n_events,), bool
        The events to validate by.
    """
    sequences = sequences_of(known_events(items, histories, None))
    held_out = held_out[items.rows_of(histories) >= 0]
    can = target_events(sequences)
    training = Targets(sequences, can & ~held_out)
    validating = np.flatnonzero(can & held_out)
    if len(validating) > _MOST_VALIDATING:
        validating = np.sort(rng.choice(validating, _MOST_VALIDATING, replace=False))
    validation = Validation(sequences, examples_of(sequences, validating))
    best = BestAverage(0.1, 1.0, -1.0)
    if start is None:
        best = validation.best_average(items.vectors)
    return Task(items, n_towers, sequences, training, validation, best, learned, start)


def _spaces(
    item_embeddings: Any, histories: Histories, n_jobs: int | None, features: ScaledFeatures | None
) -> Iterator[tuple[ItemEmbeddings, int]]:
    """Candidate spaces of the same items, and how many spaces are concatenated in each."""
    if item_embeddings is None:
        return learned_spaces(histories, n_jobs, features)
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
