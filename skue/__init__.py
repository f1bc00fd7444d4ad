"""User vectors from interaction histories, as scikit-learn estimators."""

from skue.encoders import DecayAverageUserEncoder, MixedUserEncoder
from skue.histories import Histories, as_histories, leave_last_out, temporal_folds
from skue.items import CooccurrenceItemEmbedder, ItemEmbeddings

__version__ = "0.1.0"

__all__ = [
    "CooccurrenceItemEmbedder",
    "DecayAverageUserEncoder",
    "Histories",
    "ItemEmbeddings",
    "MixedUserEncoder",
    "as_histories",
    "leave_last_out",
    "temporal_folds",
]
