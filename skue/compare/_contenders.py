"""The contenders of a comparison: rankers that need no vectors, and encoders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from skue.compare._task import Task
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._events import AgeUnit
from skue.encoders._mixed import MixedUserEncoder
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.kernels._arrays import owners
from skue.ranking._baselines import (
    OwnFrequencyRanker,
    PopularityRanker,
    SimilarUsersRanker,
    TransitionItemRanker,
)
from skue.ranking._counts import ages_in_instants
from skue.ranking._item_ranker import ItemRanker
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


class LastItem(ItemRanker):
    """Rank the items of the newest instant (without times: the newest event) first."""

    def _learn(self, histories: Histories) -> None:
        self.popularity_ = PopularityRanker().fit(histories).popularity_

    def _score_items(self, histories: Histories) -> np.ndarray:
        scores = np.tile(self.popularity_, (len(histories), 1))
        newest = ages_in_instants(histories) == 0
        users, items = owners(histories.offsets)[newest], histories.codes[newest]
        scores[users, items] += self.popularity_.max() + 1
        return scores


def rankers(*, exclude_seen: bool, baskets: bool = False) -> dict[str, ItemRanker]:
    """Return the rankers by name.

    Rankers that only put items of the history before the popular ones are left out if items of
    the history are excluded. Similar users are compared on baskets.
    """
    chosen: dict[str, ItemRanker] = {"popularity": PopularityRanker()}
    if not exclude_seen:
        # With a beta below 1, all own items come first.
        chosen |= {"last item": LastItem(), "own frequency": OwnFrequencyRanker(beta=0.5)}
        chosen["own count + popularity"] = OwnFrequencyRanker()
    chosen["transitions"] = TransitionItemRanker()
    if baskets:
        chosen["similar users"] = SimilarUsersRanker()
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
