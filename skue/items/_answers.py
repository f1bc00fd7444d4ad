"""What a search for items answers with: ids, or a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skue.reading._ids import is_text

if TYPE_CHECKING:
    import pandas


def ids_of_rows(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the id of each item row; -1 or "" stands for no item (row -1)."""
    missing: Any = "" if is_text(ids) else -1
    return np.where(rows < 0, missing, ids[np.maximum(rows, 0)])


def frame_of_answers(
    ids: np.ndarray, scores: np.ndarray, user_ids: np.ndarray | None
) -> pandas.DataFrame:
    """Return recommendations as a long frame, without the places where no item was left.

    Parameters
    ----------
    ids, scores : ndarray of shape (n_users, k)
    user_ids : ndarray of shape (n_users,), or None
        None numbers the users.

    Returns
    -------
    frame : pandas.DataFrame
        Columns ``user``, ``item``, ``score`` and ``rank`` (1 is the nearest).
    """
    from skue._optional import import_optional

    pandas = import_optional("pandas", "io")
    users, places = np.nonzero(~np.isneginf(scores))
    columns = {
        "user": users if user_ids is None else user_ids[users],
        "item": ids[users, places],
        "score": scores[users, places],
        "rank": places + 1,
    }
    # With their own types, or pandas would turn text into a type that cannot hold all of it.
    return pandas.DataFrame(
        {name: pandas.Series(column, dtype=column.dtype) for name, column in columns.items()}
    )
