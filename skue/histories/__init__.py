"""Interaction histories: the container, the forms of X, files and splits."""

from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.histories._load import load_interactions
from skue.histories._splits import leave_last_out, split_at, temporal_folds
from skue.histories._statistics import HistoryStatistics

__all__ = [
    "Histories",
    "HistoryStatistics",
    "as_histories",
    "leave_last_out",
    "load_interactions",
    "split_at",
    "temporal_folds",
]
