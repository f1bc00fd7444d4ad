"""Validation: recall on held-out events, and the plain average that does best there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skue.encoders.two_tower._examples import Examples
from skue.encoders.two_tower._sequences import Sequences
from skue.kernels._arrays import offsets_of, positions_of_ranges
from skue.kernels._pair_counts import n_repeats
from skue.kernels._pooling import decayed_averages
from skue.kernels._ranking import Products, rank_positives
from skue.kernels._ties import expected_hits, tied_groups

_K = 20
_DECAYS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_REPEAT_EXPONENTS = (1.0, 0.5, 0.3, 0.15, 0.0)


class BestAverage(NamedTuple):
    """The plain average with the highest validation recall."""

    decay: float
    repeat_exponent: float
    recall: float


@dataclass(frozen=True)
class Validation:
    """Held-out examples, and the sequences that their prefixes belong to."""

    sequences: Sequences
    examples: Examples

    def __len__(self) -> int:
        return len(self.examples)

    def hits(self, user_vectors: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
        """Return whether the held-out item is among the 20 best, for several ways to encode.

        The whole catalogue is ranked. When no held-out item occurs in its own prefix, the items
        of the prefix are excluded.

        Parameters
        ----------
        user_vectors : ndarray of shape (n_ways, n_examples, n_dims)
        item_vectors : ndarray of shape (n_items, n_dims)

        Returns
        -------
        hits : ndarray of shape (n_ways, n_examples)
            Numbers from 0 to 1: with ties, the expectation.
        """
        n_ways, n_examples, n_dims = user_vectors.shape
        excluded = None
        if not self._has_repeats:
            lengths = np.tile(np.diff(self._offsets), n_ways)
            excluded = np.tile(self._seen, n_ways), offsets_of(lengths)
        positives, _ = rank_positives(
            Products(user_vectors.reshape(-1, n_dims), item_vectors),
            len(item_vectors),
            np.tile(self.examples.targets, n_ways),
            np.arange(n_ways * n_examples + 1),
            excluded=excluded,
        )
        return expected_hits(tied_groups(positives), _K).reshape(n_ways, n_examples)

    def best_average(self, item_vectors: np.ndarray) -> BestAverage:
        """Return the best plain average of a small grid of decays and repeat exponents.

        If no prefix repeats an item, the exponent only scales the decay, so 1 is returned.
        """
        if not len(self):
            return BestAverage(0.1, 1.0, -1.0)
        weights = self.sequences.weights
        weights = None if weights is None else weights[self._events]
        ages = self._ages.astype(np.float64)
        recalls = np.empty((len(_DECAYS), len(_REPEAT_EXPONENTS)))
        for at, exponent in enumerate(_REPEAT_EXPONENTS):
            users, _ = decayed_averages(
                self._seen, self._offsets, ages, weights, _DECAYS, exponent, item_vectors
            )
            recalls[:, at] = self.hits(users, item_vectors).mean(axis=1)
        decay, exponent = divmod(int(recalls.argmax()), len(_REPEAT_EXPONENTS))
        best = float(recalls[decay, exponent])
        chosen = _DECAYS[decay], _REPEAT_EXPONENTS[exponent]
        if not n_repeats(self._seen, self._offsets):
            chosen = chosen[0] * chosen[1], 1.0
        return BestAverage(*chosen, best)

    @cached_property
    def _offsets(self) -> np.ndarray:
        return offsets_of(self.examples.stops - self.examples.starts)

    @cached_property
    def _events(self) -> np.ndarray:
        """Positions of the events of all prefixes, one prefix after the other."""
        return positions_of_ranges(self.examples.starts, np.diff(self._offsets))

    @cached_property
    def _ages(self) -> np.ndarray:
        """Number of later instants in the prefix, for each event of all prefixes."""
        place = self.sequences.place
        instants = self._events if place is None else np.cumsum(place[self._events] == 0)
        newest = self._offsets[1:] - 1
        return np.repeat(instants[newest], np.diff(self._offsets)) - instants

    @cached_property
    def _seen(self) -> np.ndarray:
        return self.sequences.rows[self._events]

    @cached_property
    def _has_repeats(self) -> bool:
        targets = np.repeat(self.examples.targets, np.diff(self._offsets))
        return bool((self._seen == targets).any())
