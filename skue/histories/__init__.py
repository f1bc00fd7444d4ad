"""Interaction histories: the container, the forms of X, files and splits."""

from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.histories._load import load_interactions
from skue.histories._splits import leave_last_out, temporal_folds

__all__ = ["Histories", "as_histories", "leave_last_out", "load_interactions", "temporal_folds"]
