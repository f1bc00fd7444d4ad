"""Answers of a search for items: ids, frames, and the items similar to an item."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from skue._optional import import_optional
from skue.histories._vocabulary import Vocabulary
from skue.kernels._topk import top_k
from skue.reading._ids import as_ids, is_text, shown

if TYPE_CHECKING:
    import pandas


def ids_of_rows(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the id of each item row, and -1 or "" for row -1 (no item)."""
    missing: Any = "" if is_text(ids) else -1
    if not len(ids):
        return np.full(rows.shape, missing, dtype=ids.dtype)
    return np.where(rows < 0, missing, ids[np.maximum(rows, 0)])


def frame_of_answers(
    ids: np.ndarray, scores: np.ndarray, user_ids: np.ndarray | None
) -> pandas.DataFrame:
    """Return recommendations as a long frame, without the places that have no item.

    Parameters
    ----------
    ids, scores : ndarray of shape (n_users, k)
    user_ids : ndarray of shape (n_users,), or None
        None stands for the row numbers of the users.

    Returns
    -------
    frame : pandas.DataFrame
        Columns ``user``, ``item``, ``score`` and ``rank`` (1 is the nearest).
    """
    pandas = import_optional("pandas", "io")
    users, places = np.nonzero(~np.isneginf(scores))
    columns = {
        "user": users if user_ids is None else user_ids[users],
        "item": ids[users, places],
        "score": scores[users, places],
        "rank": places + 1,
    }
    # Keep the dtypes: pandas would infer a string dtype that cannot hold all text.
    return pandas.DataFrame(
        {name: pandas.Series(column, dtype=column.dtype) for name, column in columns.items()}
    )


def similar_items(
    vectors: np.ndarray, vocabulary: Vocabulary, ids: Any, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k items nearest to each of the given items, without the item itself."""
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
    if isinstance(ids, (str, bytes)) or not hasattr(ids, "__len__"):
        raise ValueError(
            f"ids must be a list of ids, got {shown(ids)}. Write one id as [{shown(ids)}]."
        )
    ids = as_ids(ids, "ids")
    rows = vocabulary.lookup(ids)
    unknown = ids[rows < 0]
    if len(unknown):
        held = f"has ids such as {shown(vocabulary.ids[0])}" if len(vocabulary) else "is empty"
        raise ValueError(
            f"ids holds {len(unknown)} unknown id(s): {', '.join(map(shown, unknown[:5]))}. "
            f"The catalogue {held}."
        )
    itself = rows.astype(np.int64), np.arange(len(rows) + 1)
    nearest, scores = top_k(vectors[rows], vectors, int(k), excluded=itself)
    return ids_of_rows(vocabulary.ids, nearest), scores
