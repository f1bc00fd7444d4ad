"""Items with ids: what item embeddings and rankers without vectors share."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary


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

        Returns
        -------
        rows : ndarray of shape (n_events,), int32
        """
        rows, _ = self.vocabulary.map_of(histories.vocabulary)
        return histories.codes if rows is None else rows[histories.codes]
