"""Serving: an index of item vectors and a cache of user vectors."""

from skue.serving._cache import UserVectorCache
from skue.serving._index import (
    SpaceMismatchError,
    VectorIndex,
    ann_recall,
    export_index,
    open_index,
)
from skue.serving._retriever import Retriever
from skue.serving._stores import LMDBStore, RedisStore, Store
from skue.serving._versions import prune, rollback

__all__ = [
    "LMDBStore",
    "RedisStore",
    "Retriever",
    "SpaceMismatchError",
    "Store",
    "UserVectorCache",
    "VectorIndex",
    "ann_recall",
    "export_index",
    "open_index",
    "prune",
    "rollback",
]
