"""Ranking: a second stage that orders candidates, and a ranker by transitions."""

from skue.ranking._baselines import TransitionItemRanker
from skue.ranking._two_stage import TwoStageRecommender

__all__ = ["TransitionItemRanker", "TwoStageRecommender"]
