"""Ranking: baselines that count, and a second stage that orders candidates."""

from skue.ranking._baselines import (
    OwnFrequencyRanker,
    PopularityRanker,
    SimilarUsersRanker,
    TransitionItemRanker,
)
from skue.ranking._item_ranker import ItemRanker
from skue.ranking._two_stage import TwoStageRecommender

__all__ = [
    "ItemRanker",
    "OwnFrequencyRanker",
    "PopularityRanker",
    "SimilarUsersRanker",
    "TransitionItemRanker",
    "TwoStageRecommender",
]
