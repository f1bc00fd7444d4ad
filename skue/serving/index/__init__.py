"""An index of item vectors: written to a folder in versions, opened and searched."""

from skue.serving.index._export import ann_recall, export_index, open_index
from skue.serving.index._index import SpaceMismatchError, VectorIndex
from skue.serving.index._versions import prune, rollback

__all__ = [
    "SpaceMismatchError",
    "VectorIndex",
    "ann_recall",
    "export_index",
    "open_index",
    "prune",
    "rollback",
]
