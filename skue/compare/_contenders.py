"""The contenders of a comparison: rankers that need no vectors, and encoders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.frozen import FrozenEstimator

from skue.compare._counting import OwnCountAndPopularity, SimilarUsers, Transitions
from skue.compare._task import Task
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._events import AgeUnit
from skue.encoders._mixed import MixedUserEncoder
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._histories import Histories
from skue.histories._splits import liked, newest_liked
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.kernels._arrays import kept_offsets
from skue.ranking._two_stage import TwoStageRecommender, default_encoder

ENCODER_NAMES = (
    "plain average",
    "decay average",
    "decay average, 30 days",
    "decay average, searched",
    "mix",
    "two-tower",
    "two-stage",
)
"""All encoders that a comparison can have. Each has a file in the report."""


class Popularity:
    """Rank items by their number of training events with a positive weight."""

    # The scores are whole numbers, so a difference below 1 is a tie.
    tolerance = 0.5

    def fit(self, histories: Histories, items: ItemEmbeddings) -> Popularity:
        rows = items.rows_of(liked(histories))
        counts = np.bincount(rows[rows >= 0], minlength=len(items))
        # The ranks of the distinct counts are small, so that sums with other terms stay exact.
        self.items_ = items
        self.levels_ = np.unique(counts, return_inverse=True)[1].astype(np.float64)
        return self

    def score_blocks(self, histories: Histories) -> Callable[[int, int], np.ndarray]:
        """Return a function that scores all items for a range of users."""
        first = self._first_by(liked(histories))
        scale = self.levels_.max(initial=0.0) + 1.0

        def score_block(start: int, stop: int) -> np.ndarray:
            return first[start:stop].toarray() * scale + self.levels_

        return score_block

    def _first_by(self, histories: Histories) -> sp.csr_array:
        """Return numbers per user and item that take precedence over popularity."""
        return sp.csr_array((len(histories), len(self.items_)))

    def _counts(self, histories: Histories) -> sp.csr_array:
        rows = self.items_.rows_of(histories)
        known = rows >= 0
        offsets = kept_offsets(histories.offsets, known)
        counts = sp.csr_array(
            (np.ones(int(offsets[-1])), rows[known], offsets),
            shape=(len(histories), len(self.items_)),
        )
        counts.sum_duplicates()
        return counts


class LastItem(Popularity):
    """Rank the items of the newest instant (without times: the newest event) first."""

    def _first_by(self, histories: Histories) -> sp.csr_array:
        newest = self._counts(_newest_instant(histories))
        newest.data[:] = 1.0
        return newest


class OwnFrequency(Popularity):
    """Rank items by how often they occur in the history of the user."""

    def _first_by(self, histories: Histories) -> sp.csr_array:
        return self._counts(histories)


def _newest_instant(histories: Histories) -> Histories:
    starts, _ = newest_liked(histories)
    position = np.arange(len(histories.codes))
    return histories._keep_events(position >= np.repeat(starts, histories.lengths))


def rankers(*, exclude_seen: bool, baskets: bool = False) -> dict[str, Callable[[], Any]]:
    """Return the rankers by name.

    Rankers that only put items of the history before the popular ones are left out if items of
    the history are excluded. Similar users are compared on baskets.
    """
    chosen: dict[str, Callable[[], Any]] = {"popularity": Popularity}
    if not exclude_seen:
        chosen |= {"last item": LastItem, "own frequency": OwnFrequency}
        chosen["own count + popularity"] = OwnCountAndPopularity
    chosen["transitions"] = Transitions
    if baskets:
        chosen["similar users"] = SimilarUsers
    return chosen


def encoders(
    task: Task,
    items: ItemEmbeddings,
    found: dict[str, Any],
    *,
    items_given: bool,
    item_features: ItemFeatures | None = None,
) -> dict[str, Any]:
    """Return the encoders by name, the simplest first."""
    unit: AgeUnit = "step" if task.unit == "event" else "instant"
    contenders: dict[str, Any] = {
        "plain average": DecayAverageUserEncoder(items, decay=0.0, age_unit=unit),
        "decay average": DecayAverageUserEncoder(items, age_unit=unit),
    }
    if task.unit == "instant":
        contenders["decay average, 30 days"] = DecayAverageUserEncoder(
            items, decay=math.log(2) / 30, age_unit="D"
        )
    contenders["decay average, searched"] = DecayAverageUserEncoder(items, **found)
    contenders["mix"] = MixedUserEncoder(items, age_unit=unit)
    options: dict[str, Any] = {"item_features": item_features, "random_state": 0}
    given = items if items_given else None
    contenders["two-tower"] = TwoTowerUserEncoder(given, **options)
    first = default_encoder(len(task.train)).set_params(item_embeddings=given, **options)
    if first.validation_fraction == contenders["two-tower"].validation_fraction:
        first = FrozenEstimator(contenders["two-tower"])  # fitted before it, and the same
    contenders["two-stage"] = TwoStageRecommender(first, random_state=0)
    return contenders
