"""Into production: an index of item vectors, a cache of user vectors."""

from skue.serving._export import ann_recall, export_index, open_index, rollback
from skue.serving._folder import prune
from skue.serving._index import SpaceMismatchError, VectorIndex

__all__ = [
    "SpaceMismatchError",
    "VectorIndex",
    "ann_recall",
    "export_index",
    "open_index",
    "prune",
    "rollback",
]
