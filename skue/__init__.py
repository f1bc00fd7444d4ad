"""User vectors from interaction histories, as scikit-learn estimators."""

from skue import _ctrl_c as _ctrl_c  # before the imports that take time
from skue._version import __version__ as __version__
from skue.encoders import (
    DecayAverageUserEncoder,
    Events,
    MixedUserEncoder,
    TwoTowerUserEncoder,
    UserEncoder,
    UserStates,
)
from skue.histories import (
    Histories,
    HistoryStatistics,
    as_histories,
    leave_last_out,
    load_interactions,
    split_at,
    temporal_folds,
)
from skue.items import CooccurrenceItemEmbedder, ItemEmbeddings, ItemFeatures, share_items
from skue.kernels._threads import pooling_backend
from skue.metrics import (
    MRR,
    DecayCurveDisplay,
    NDCGAtK,
    RecallAtK,
    RecallCurveDisplay,
    RetrievalScores,
    TrainingCurveDisplay,
    recall_at_k,
)
from skue.ranking import (
    ItemRanker,
    OwnFrequencyRanker,
    PopularityRanker,
    SimilarUsersRanker,
    TransitionItemRanker,
    TwoStageRecommender,
)
from skue.serving import (
    LMDBStore,
    RedisStore,
    Retriever,
    SpaceMismatchError,
    UserVectorCache,
    ann_recall,
    export_index,
    open_index,
    prune,
    rollback,
)

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
