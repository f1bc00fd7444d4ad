"""Recommendations, recall and coverage of a fitted encoder."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skue.encoders._chunks import encode_histories
from skue.encoders._events import Events
from skue.encoders._output import users_of
from skue.histories._histories import Histories
from skue.histories._targets import target_rows
from skue.items._answers import frame_of_answers, ids_of_rows
from skue.items._id_lists import Rows, limits_of_id_lists
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._pooling import sums_by_user
from skue.kernels._segments import kept_offsets
from skue.kernels._ties import expected_recall
from skue.kernels._topk import top_k

if TYPE_CHECKING:
    import pandas

Pairs: TypeAlias = tuple[np.ndarray, np.ndarray]


class RecommendMixin:
    """Recommendations of an estimator that finds the best items of each user."""

    item_embeddings_: Any

    if TYPE_CHECKING:

        def _read(self, X: Any) -> Histories: ...

        def _seen(self, histories: Histories) -> Pairs: ...

        def _best_items(
            self, histories: Histories, k: int, excluded: Pairs | None, allowed: Rows | None
        ) -> Pairs:
            """Return rows and scores of shape (n_users, k), best first, as in ``top_k``."""
            ...

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
        """Return the k best items of each user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        k : int, default=10
        exclude_seen : bool, default=False
            Whether to leave out the items of the user's history.
        exclude : array-like of ids, Histories, or one sequence of ids a user, default=None
            Items that are not recommended, one list for all users or one per user.
        allow : array-like of ids, Histories, or one sequence of ids a user, default=None
            Only these items are recommended, one list for all users or one per user.
        as_frame : bool, default=False
            Whether to return a pandas DataFrame instead of two arrays.

        Returns
        -------
        ids : ndarray of shape (n_users, k)
            Best first. If fewer than k items are left, the rest is -1, or "" for string ids.
        scores : ndarray of shape (n_users, k), float32
            The cosine of user and item. :class:`TwoStageRecommender` and
            :class:`TransitionItemRanker` give their own scores, which only order the items of one
            user. ``-inf`` where no item is left.
        frame : pandas.DataFrame
            Returned instead if ``as_frame=True``: one row per recommendation, with the columns
            ``user`` (``user_ids``, the index of a Series or DataFrame, or row numbers),
            ``item``, ``score`` and ``rank`` (from 1). There are no rows for missing items.

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
        seen = self._seen(histories) if exclude_seen else None
        excluded, allowed = limits_of_id_lists(
            items, len(histories), exclude=exclude, allow=allow, seen=seen
        )
        rows, scores = self._best_items(histories, int(k), excluded, allowed)
        ids = ids_of_rows(items.ids, rows)
        return frame_of_answers(ids, scores, users_of(X, histories)) if as_frame else (ids, scores)


class RecommenderMixin(RecommendMixin):
    """What follows from the vectors of an encoder: recommendations, recall and coverage."""

    item_embeddings_: ItemEmbeddings

    if TYPE_CHECKING:

        def _events_of(self, histories: Histories, *, truncate: bool = True) -> Events: ...

        def _vectors_of(self, histories: Histories) -> np.ndarray: ...

    def _seen(self, histories: Histories) -> Pairs:
        events = self._events_of(histories, truncate=False)
        return events.rows, events.offsets

    def _best_items(
        self, histories: Histories, k: int, excluded: Pairs | None, allowed: Rows | None
    ) -> Pairs:
        vectors, items = self._vectors_of(histories), self.item_embeddings_
        return top_k(vectors, items.vectors, k, excluded=excluded, allowed=allowed)

    def score(self, X: Any, y: Any) -> float:
        """Return recall@20: the mean share of the held-out items among the 20 nearest.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,)
            Held-out item ids, one per user or one array per user.

        Returns
        -------
        recall : float
        """
        vectors, items = self._vectors_of(self._read(X)), self.item_embeddings_
        rows, offsets = target_rows(y, len(vectors), items.lookup)
        return expected_recall(vectors, items.vectors, rows, offsets, k=20)

    def coverage(self, X: Any) -> Bunch:
        """Return how much of each history consists of known items.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads

        Returns
        -------
        coverage : Bunch of ndarrays of shape (n_users,)
            ``n_events``; ``n_known``; ``known_weight_share`` (share of the absolute event weights,
            0 for an empty history); ``status``: ``"encoded"``, ``"empty"`` (no event),
            ``"unknown"`` (no known event) or ``"cancelled"`` (the weights cancel). Users with
            any other status than ``"encoded"`` get the fallback vector.
        """
        histories = self._read(X)
        known = self.item_embeddings_.rows_of(histories) >= 0
        weights = np.ones(len(known)) if histories.weights is None else np.abs(histories.weights)
        n_known = np.diff(kept_offsets(histories.offsets, known))
        _, defined = encode_histories(self, histories)
        status = np.full(len(histories), "cancelled", dtype="<U9")
        status[n_known == 0] = "unknown"
        status[histories.lengths == 0] = "empty"
        status[defined] = "encoded"
        total = sums_by_user(weights, histories.offsets)
        share = sums_by_user(weights * known, histories.offsets) / np.where(total > 0, total, 1)
        return Bunch(
            n_events=histories.lengths, n_known=n_known, known_weight_share=share, status=status
        )


def check_positive(name: str, value: Any) -> None:
    """Raise unless the value is a whole number of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
