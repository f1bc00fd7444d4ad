"""Items near to items."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from skue.items._answers import ids_of_rows
from skue.kernels._topk import top_k
from skue.reading._ids import as_ids, shown

if TYPE_CHECKING:
    from skue.items._item_embeddings import ItemEmbeddings


def similar_items(items: ItemEmbeddings, ids: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k items nearest to each of some items, without the item itself."""
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
    if isinstance(ids, (str, bytes)) or not hasattr(ids, "__len__"):
        raise ValueError(
            f"ids must be a list of ids, got {shown(ids)}. Write one id as [{shown(ids)}]."
        )
    ids = as_ids(ids, "ids")
    rows = items.lookup(ids)
    unknown = ids[rows < 0]
    if len(unknown):
        held = f"has ids such as {shown(items.ids[0])}" if len(items) else "is empty"
        raise ValueError(
            f"ids holds {len(unknown)} that no item has: {', '.join(map(shown, unknown[:5]))}. "
            f"The catalogue {held}."
        )
    itself = rows.astype(np.int64), np.arange(len(rows) + 1)
    nearest, scores = top_k(items.vectors[rows], items.vectors, int(k), excluded=itself)
    return ids_of_rows(items.ids, nearest), scores
