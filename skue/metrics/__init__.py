"""How well user vectors find what was held out."""

from skue.metrics._recall import recall_at_k
from skue.metrics._scorers import MRR, NDCGAtK, RecallAtK, RetrievalScores

__all__ = ["MRR", "NDCGAtK", "RecallAtK", "RetrievalScores", "recall_at_k"]
