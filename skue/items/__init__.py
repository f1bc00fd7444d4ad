"""Item embeddings: the space that user vectors live in."""

from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings

__all__ = ["CooccurrenceItemEmbedder", "ItemEmbeddings"]
