"""Item embeddings: given vectors, or vectors learned from co-occurrence."""

from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._sharing import share_items

__all__ = ["CooccurrenceItemEmbedder", "ItemEmbeddings", "share_items"]
