"""Ranking: rankers that count, and a second stage that orders candidates."""

from skue.ranking._item_rankers import (
    FrequencyItemRanker,
    TransitionItemRanker,
    UserPopularityItemRanker,
)
from skue.ranking._two_stage import TwoStageRecommender

__all__ = [
    "FrequencyItemRanker",
    "TransitionItemRanker",
    "TwoStageRecommender",
    "UserPopularityItemRanker",
]
