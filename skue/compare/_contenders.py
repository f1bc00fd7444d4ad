"""The contenders of a comparison: rankers that need no vectors, averages, and learned encoders."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.frozen import FrozenEstimator

from skue.compare._split import Split
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._events import AgeUnit
from skue.encoders._mixed import MixedUserEncoder
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

_BASKETS_FROM = 0.5
# Similar users are found among all, which takes time and memory with the square of their number.
_COMPARED_USERS = 10_000

DESCRIPTIONS = {
    "popularity": "the items with the most events, the same for everybody",
    "last item": "the items of the person's last time, then the popular ones",
    "own frequency": "the person's own items, the most frequent first, then the popular ones",
    "own count + popularity": "the person's own counts plus the popularity, which has a weight "
    "that was found on the log",
    "transitions": "what followed the person's newest items in the histories of others",
    "similar users": "what people with similar histories chose lately, and the person's own items",
    "plain average": "the items nearest to the average vector of the person's items",
    "decay average": "the same, with more weight for newer events",
    "decay average, 30 days": "the same, where an event loses half of its weight in 30 days",
    "decay average, searched": "the same, with the weights that were best in a search on this log",
    "mix": "the items nearest to a mix of two averages, one of new events and one of nearly all",
    "two-tower": "the items nearest to a vector of the person; a model learned both kinds of "
    "vectors together",
    "two-stage": "candidates by the vectors of the two-tower and by counts, ranked by a classifier",
}


@dataclass
class Contender:
    """An estimator that takes part in a comparison.

    Attributes
    ----------
    name : str
    kind : {"ranker", "encoder", "recommender"}
        A ranker has no vectors. A recommender is an encoder and a second stage.
    estimator : estimator
    parameters : dict
        Those that were found by a search.
    seconds : float
        Time spent before the fit on what the estimator is given, such as item vectors.
    first_stage : Contender or None
        A contender that is fitted before, and is the encoder of this one.
    is_searched : bool
        Whether its parameters are to be found by :func:`search_decay`.
    """

    name: str
    kind: Literal["ranker", "encoder", "recommender"]
    estimator: Any
    parameters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    first_stage: Contender | None = None
    is_searched: bool = False

    @property
    def file(self) -> str:
        """Name of the file that the report saves it in."""
        return file_of(self.name)


def file_of(name: str) -> str:
    """Return the name of the file for an encoder in a report."""
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-") + ".joblib"


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


def rankers(split: Split, *, exclude_seen: bool) -> list[Contender]:
    """Return the rankers that need no vectors.

    Those that only put items of the history before the popular ones are left out if items of the
    history are excluded. Similar users are compared on baskets, if they are not too many.
    """
    chosen: dict[str, ItemRanker] = {"popularity": PopularityRanker()}
    if not exclude_seen:
        # With a beta below 1, all own items come first.
        chosen |= {"last item": LastItem(), "own frequency": OwnFrequencyRanker(beta=0.5)}
        chosen["own count + popularity"] = OwnFrequencyRanker()
    chosen["transitions"] = TransitionItemRanker()
    if split.simultaneous_share > _BASKETS_FROM and len(split.train) <= _COMPARED_USERS:
        chosen["similar users"] = SimilarUsersRanker()
    return [Contender(name, "ranker", ranker) for name, ranker in chosen.items()]


def encoders(
    split: Split,
    items: ItemEmbeddings,
    *,
    items_given: bool,
    item_features: ItemFeatures | None,
    items_seconds: float,
) -> list[Contender]:
    """Return the encoders and the recommender, the simplest first."""
    unit: AgeUnit = "step" if split.unit == "event" else "instant"
    averages = [
        Contender(
            "plain average", "encoder", DecayAverageUserEncoder(items, decay=0.0, age_unit=unit)
        ),
        Contender("decay average", "encoder", DecayAverageUserEncoder(items, age_unit=unit)),
    ]
    if split.unit == "instant":
        monthly = DecayAverageUserEncoder(items, decay=math.log(2) / 30, age_unit="D")
        averages.append(Contender("decay average, 30 days", "encoder", monthly))
    searched = DecayAverageUserEncoder(items)
    averages.append(Contender("decay average, searched", "encoder", searched, is_searched=True))
    averages.append(Contender("mix", "encoder", MixedUserEncoder(items, age_unit=unit)))
    for average in averages:
        average.seconds += items_seconds

    # One that holds out enough for the second stage, so that it need not be fitted twice.
    encoder = default_encoder(len(split.train)).set_params(
        item_embeddings=items if items_given else None,
        item_features=item_features,
        random_state=0,
    )
    two_tower = Contender("two-tower", "encoder", encoder)
    two_stage = TwoStageRecommender(FrozenEstimator(encoder), random_state=0)
    return [
        *averages,
        two_tower,
        Contender("two-stage", "recommender", two_stage, first_stage=two_tower),
    ]
