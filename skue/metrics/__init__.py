"""How well user vectors retrieve held-out items: scorers and curves."""

from skue.metrics._displays import DecayCurveDisplay, RecallCurveDisplay, TrainingCurveDisplay
from skue.metrics._scorers import MRR, NDCGAtK, RecallAtK, RetrievalScores, recall_at_k

__all__ = [
    "MRR",
    "DecayCurveDisplay",
    "NDCGAtK",
    "RecallAtK",
    "RecallCurveDisplay",
    "RetrievalScores",
    "TrainingCurveDisplay",
    "recall_at_k",
]
