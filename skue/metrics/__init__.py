"""How well user vectors find what was held out."""

from skue.metrics._displays import DecayCurveDisplay, RecallCurveDisplay
from skue.metrics._recall import recall_at_k
from skue.metrics._scorers import MRR, NDCGAtK, RecallAtK, RetrievalScores
from skue.metrics._training_curve import TrainingCurveDisplay

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
