"""Items: their features, and their vectors, which are given or learned from co-occurrence."""

from skue.items._embedders import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.items._sharing import share_items

__all__ = ["CooccurrenceItemEmbedder", "ItemEmbeddings", "ItemFeatures", "share_items"]
