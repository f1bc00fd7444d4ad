"""What a fitted encoder answers beside vectors: recommendations, recall and coverage."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skue.encoders._coverage import coverage_of
from skue.encoders._events import Events
from skue.encoders._output import users_of
from skue.encoders._unknown import report_unknown
from skue.histories._histories import Histories
from skue.histories._targets import target_rows
from skue.items._answers import frame_of_answers, ids_of_rows
from skue.items._id_lists import limits_of_id_lists
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._ties import expected_recall
from skue.kernels._topk import top_k

if TYPE_CHECKING:
    import pandas


class Answers:
    """The part of an encoder that follows from its vectors and its items."""

    item_embeddings_: ItemEmbeddings

    if TYPE_CHECKING:

        def _read(self, X: Any) -> Histories: ...

        def _events_of(self, histories: Histories, *, truncate: bool = True) -> Events: ...

        def _vectors_of(self, histories: Histories) -> np.ndarray: ...

    @overload
    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        exclude: Any = None,
        allow: Any = None,
        as_frame: Literal[False] = False,
    ) -> tuple[np.ndarray, NDArray[np.float32]]: ...

    @overload
    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        exclude: Any = None,
        allow: Any = None,
        as_frame: Literal[True],
    ) -> pandas.DataFrame: ...

    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        exclude: Any = None,
        allow: Any = None,
        as_frame: bool = False,
    ) -> Any:
        """Return the k items nearest to each user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        k : int, default=10
        exclude_seen : bool, default=False
            Leave out the items of the user's history.
        exclude : array-like of ids, Histories, or one sequence of ids a user, default=None
            Items that nobody, or that each user, must not get.
        allow : array-like of ids, Histories, or one sequence of ids a user, default=None
            The only items that anybody, or that each user, may get.
        as_frame : bool, default=False
            Return one pandas DataFrame in place of two arrays.

        Returns
        -------
        ids : ndarray of shape (n_users, k)
            Nearest first. Where fewer than k are left: -1, or "" for string ids.
        scores : ndarray of shape (n_users, k), float32
            Cosines; ``-inf`` where no item is left.
        frame : pandas.DataFrame
            With ``as_frame=True`` only this: one row a recommendation, with the columns ``user``
            (``user_ids``, the index of a Series or DataFrame, or row numbers), ``item``,
            ``score`` and ``rank``, which counts from 1. Where no item is left there is no row.

        Examples
        --------
        >>> from skue import DecayAverageUserEncoder, ItemEmbeddings
        >>> items = ItemEmbeddings([[1, 0], [0, 1], [1, 1]], ids=["tea", "cup", "pot"])
        >>> encoder = DecayAverageUserEncoder(items).fit([["tea"], ["cup"]])
        >>> ids, _ = encoder.recommend([["tea"], ["cup"]], k=2, exclude=["pot"])
        >>> ids.tolist()
        [['tea', 'cup'], ['cup', 'tea']]
        >>> encoder.recommend([["tea"]], k=1, exclude_seen=True, as_frame=True).round(2)
           user item  score  rank
        0     0  pot   0.71     1
        """
        check_positive("k", k)
        histories, items = self._read(X), self.item_embeddings_
        seen = None
        if exclude_seen:
            events = self._events_of(histories, truncate=False)
            seen = events.rows, events.offsets
        excluded, allowed = limits_of_id_lists(
            items, len(histories), exclude=exclude, allow=allow, seen=seen
        )
        vectors = self._vectors_of(histories)
        rows, scores = top_k(vectors, items.vectors, int(k), excluded=excluded, allowed=allowed)
        ids = ids_of_rows(items.ids, rows)
        return frame_of_answers(ids, scores, users_of(X, histories)) if as_frame else (ids, scores)

    def score(self, X: Any, y: Any) -> float:
        """Return recall@20: the mean share of each user's held-out items among the 20 nearest.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,)
            Held-out item ids, one or an array of them a user.

        Returns
        -------
        recall : float
        """
        vectors, items = self._vectors_of(self._read(X)), self.item_embeddings_
        rows, offsets = target_rows(y, len(vectors), items.lookup)
        return expected_recall(vectors, items.vectors, rows, offsets, k=20)

    def coverage(self, X: Any) -> Bunch:
        """Return how much of each history the item space knows.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads

        Returns
        -------
        coverage : Bunch of ndarrays of shape (n_users,)
            ``n_events``; ``n_known``; ``known_weight_share`` (of the absolute event weights, 0
            for an empty history); ``status``: ``"encoded"``, ``"empty"`` (no event),
            ``"unknown"`` (no known event) or ``"cancelled"`` (the weights leave no direction);
            all but the first get the fallback vector.
        """
        histories = self._read(X)
        report_unknown(self, histories)
        return coverage_of(self, histories)


def check_positive(name: str, value: Any) -> None:
    """Raise unless the value is a whole number of at least 1."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
