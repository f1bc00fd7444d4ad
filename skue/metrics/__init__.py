"""How well user vectors retrieve held-out items: scorers and curves."""

from skue.metrics._decay_curve import DecayCurveDisplay
from skue.metrics._recall import recall_at_k
from skue.metrics._recall_curve import RecallCurveDisplay
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
