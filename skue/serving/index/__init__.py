"""An index of item vectors: exported to a folder in versions, opened and searched."""

from skue.serving.index._export import export_index, open_index
from skue.serving.index._index import SpaceMismatchError, VectorIndex, ann_recall
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
