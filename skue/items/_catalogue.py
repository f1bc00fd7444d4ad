"""Items with ids: what item vectors, item features and counting rankers have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.reading._ids import as_ids, is_text, shown


class Catalogue:
    """Items with ids, and the rows of the items of histories."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def ids(self) -> np.ndarray:
        return self.vocabulary.ids

    def __len__(self) -> int:
        return len(self.vocabulary)

    def lookup(self, ids: Any) -> np.ndarray:
        """Return the row of each id, -1 if it is unknown.

        Parameters
        ----------
        ids : array-like of shape (n_ids,)
            Integers or strings. Ids of the other type are unknown.

        Returns
        -------
        rows : ndarray of shape (n_ids,), int32
        """
        return self.vocabulary.lookup(ids)

    def rows_of(self, histories: Histories) -> np.ndarray:
        """Return the row of every event's item, -1 if it is unknown.

        The rows of the batch's ``item_ids`` are cached, so slices of one batch share one lookup.

        Parameters
        ----------
        histories : Histories
            The events to look up.

        Returns
        -------
        rows : ndarray of shape (n_events,), int32
        """
        rows, _ = self.vocabulary.map_of(histories.vocabulary)
        return histories.codes if rows is None else rows[histories.codes]


def as_item_ids(ids: Any, values: Any, n_items: int, name: str) -> np.ndarray:
    """Return the ids of items: by default the index of a pandas DataFrame, or the row numbers."""
    if ids is None and hasattr(values, "index") and hasattr(values, "columns"):
        ids = values.index
    ids = np.arange(n_items) if ids is None else as_ids(ids, "ids")
    if len(ids) != n_items:
        raise ValueError(
            f"ids and {name} must have the same length, got {len(ids)} and {n_items}. Pass one "
            f"id per row of {name}."
        )
    refused = np.flatnonzero(ids == "" if is_text(ids) else ids < 0)
    if len(refused):
        raise ValueError(
            f"ids must not be negative or empty, got {shown(ids[refused[0]])} at row "
            f"{refused[0]}. Such ids mean padding and missing recommendations. Use other ids."
        )
    return ids


def ids_of_rows(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the id of each item row, and -1 or "" for row -1 (no item)."""
    missing: Any = "" if is_text(ids) else -1
    if not len(ids):
        return np.full(rows.shape, missing, dtype=ids.dtype)
    return np.where(rows < 0, missing, ids[np.maximum(rows, 0)])
