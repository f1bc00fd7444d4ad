"""User vectors from interaction histories, as scikit-learn estimators."""

from skue import _ctrl_c as _ctrl_c  # before the imports that take time
from skue._version import __version__ as __version__
from skue.encoders._base import UserEncoder
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._events import Events
from skue.encoders._mixed import MixedUserEncoder
from skue.encoders._online import UserStates
from skue.encoders._profile import ProfileUserEncoder
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.histories._load import load_interactions
from skue.histories._splits import leave_last_out, split_at, temporal_folds
from skue.histories._statistics import HistoryStatistics
from skue.items._embedders import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.items._sharing import share_items
from skue.kernels._threads import pooling_backend
from skue.metrics._displays import DecayCurveDisplay, RecallCurveDisplay, TrainingCurveDisplay
from skue.metrics._drift import drift
from skue.metrics._scorers import MRR, NDCGAtK, RecallAtK, RetrievalScores, recall_at_k
from skue.ranking._baselines import (
    OwnFrequencyRanker,
    PopularityRanker,
    SimilarUsersRanker,
    TransitionItemRanker,
)
from skue.ranking._item_ranker import ItemRanker
from skue.ranking._two_stage import TwoStageRecommender
from skue.serving._cache import UserVectorCache
from skue.serving._index import SpaceMismatchError, ann_recall, export_index, open_index
from skue.serving._retriever import Retriever
from skue.serving._stores import LMDBStore, RedisStore
from skue.serving._versions import prune, rollback

__all__ = [
    "MRR",
    "CooccurrenceItemEmbedder",
    "DecayAverageUserEncoder",
    "DecayCurveDisplay",
    "Events",
    "Histories",
    "HistoryStatistics",
    "ItemEmbeddings",
    "ItemFeatures",
    "ItemRanker",
    "LMDBStore",
    "MixedUserEncoder",
    "NDCGAtK",
    "OwnFrequencyRanker",
    "PopularityRanker",
    "ProfileUserEncoder",
    "RecallAtK",
    "RecallCurveDisplay",
    "RedisStore",
    "RetrievalScores",
    "Retriever",
    "SimilarUsersRanker",
    "SpaceMismatchError",
    "TrainingCurveDisplay",
    "TransitionItemRanker",
    "TwoStageRecommender",
    "TwoTowerUserEncoder",
    "UserEncoder",
    "UserStates",
    "UserVectorCache",
    "ann_recall",
    "as_histories",
    "drift",
    "export_index",
    "leave_last_out",
    "load_interactions",
    "open_index",
    "pooling_backend",
    "prune",
    "recall_at_k",
    "rollback",
    "share_items",
    "split_at",
    "temporal_folds",
]
