"""Serving: an index of item vectors and a cache of user vectors."""

from skue.serving._retriever import Retriever
from skue.serving.cache import LMDBStore, RedisStore, UserVectorCache
from skue.serving.index import (
    SpaceMismatchError,
    VectorIndex,
    ann_recall,
    export_index,
    open_index,
    prune,
    rollback,
)

__all__ = [
    "LMDBStore",
    "RedisStore",
    "Retriever",
    "SpaceMismatchError",
    "UserVectorCache",
    "VectorIndex",
    "ann_recall",
    "export_index",
    "open_index",
    "prune",
    "rollback",
]
