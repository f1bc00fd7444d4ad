"""How well user vectors retrieve held-out items: scorers and curves."""

from skue.metrics._displays import DecayCurveDisplay, RecallCurveDisplay, TrainingCurveDisplay
from skue.metrics._drift import drift
from skue.metrics._scorers import MRR, NDCGAtK, RecallAtK, RetrievalScores, recall_at_k

__all__ = [
    "MRR",
    "DecayCurveDisplay",
    "NDCGAtK",
    "RecallAtK",
    "RecallCurveDisplay",
    "RetrievalScores",
    "TrainingCurveDisplay",
    "drift",
    "recall_at_k",
]
