"""A cache and an index as one object, so that both are switched in one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skue.encoders._recommender import check_positive
from skue.items._answers import ids_of_rows
from skue.items._id_lists import limits_of_id_lists, only_rows
from skue.ranking._two_stage import TwoStageRecommender
from skue.serving.cache._cache import UserVectorCache, user_list
from skue.serving.cache._loading import load_rows, take
from skue.serving.index._index import (
    SpaceMismatchError,
    VectorIndex,
    check_accept,
    check_space_of_users,
)


class Retriever:
    """An immutable pair of a cache and an index of the same space.

    A server keeps a retriever in a variable, and assigns a new one for every new version of the
    encoder or the index. A request that has read the variable uses the same version throughout.

    Parameters
    ----------
    cache : UserVectorCache
    index : VectorIndex
        An index of the same space as the encoder of the cache.
    recommender : TwoStageRecommender or None, default=None
        A fitted recommender whose encoder is that of the cache. Its second stage then ranks the
        nearest items of the index and its other candidates.
    accept : {"same", "aligned"}, default="same"
        With ``"aligned"``, the encoder may also be of the earlier space that the items are aligned
        with, after a fit with ``warm_start=True``.

    Attributes
    ----------
    cache : UserVectorCache
    index : VectorIndex
    recommender : TwoStageRecommender or None
    accept : str

    Raises
    ------
    SpaceMismatchError
        If the index has another space, and does not accept that of the encoder, or if the
        recommender has another space than the cache.

    Examples
    --------
    >>> import tempfile
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, Retriever, UserVectorCache
    >>> from skue import export_index, open_index
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea", "cup"]])
    >>> folder = tempfile.mkdtemp()
    >>> version = export_index(encoder, folder)
    >>> serving = Retriever(UserVectorCache(encoder), open_index(folder))
    >>> ids, scores, status = serving.recommend(["ann"], load=lambda ids: [["tea"]], k=1)
    >>> ids
    array([['tea']], dtype=object)
    """

    __slots__ = ("_in_index", "accept", "cache", "index", "recommender")

    def __init__(
        self,
        cache: UserVectorCache,
        index: VectorIndex,
        recommender: TwoStageRecommender | None = None,
        *,
        accept: str = "same",
    ) -> None:
        check_accept(accept)
        check_space_of_users(cache.space_id, index.items, accept)
        self.cache, self.index, self.recommender, self.accept = cache, index, recommender, accept
        if recommender is not None:
            items = recommender.item_embeddings_
            if items.space_id != cache.space_id:
                raise SpaceMismatchError(cache.space_id, items.space_id)
            self._in_index = index.items.lookup(items.ids) >= 0

    def recommend(
        self,
        user_ids: Any,
        load: Callable[[np.ndarray], Any],
        k: int = 10,
        *,
        exclude: Any = None,
        allow: Any = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the k best items of each user.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
        load : callable
            As for :meth:`UserVectorCache.get`. With a recommender, it is called once for all
            users, in this thread, because the second stage needs all histories. Vectors still
            come from the cache.
        k : int, default=10
        exclude, allow : default=None
            As for :meth:`VectorIndex.search`.

        Returns
        -------
        ids, scores : ndarray of shape (n_users, k)
            The nearest items; with a recommender, the best ones of its second stage. Items that
            the index does not have are left out.
        status : ndarray of shape (n_users,)
            Where the vector of each user came from: see :meth:`UserVectorCache.get`.
        """
        if self.recommender is not None and self.recommender.ranker_ is not None:
            return self._ranked(self.recommender, user_ids, load, k, exclude, allow)
        vectors, status = self.cache.get(user_ids, load)
        # The spaces were checked when the retriever was made.
        found = self.index.search(vectors, k, space_id=None, exclude=exclude, allow=allow)
        return *found, status

    def _ranked(
        self,
        recommender: TwoStageRecommender,
        user_ids: Any,
        load: Callable[[np.ndarray], Any],
        k: int,
        exclude: Any,
        allow: Any,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rank the nearest items of the index and the other candidates by the second stage."""
        check_positive("k", k)
        users, items = user_list(user_ids), recommender.item_embeddings_
        place = {user: at for at, user in enumerate(dict.fromkeys(users))}
        loaded, _ = load_rows(list(place), load)
        vectors, status = self.cache.get(
            users, lambda ids: take(loaded, np.array([place[user] for user in ids.tolist()]))
        )
        histories = recommender._read(take(loaded, np.array([place[user] for user in users])))
        n_nearest = max(k, recommender.n_candidates)
        ids, cosines = self.index.search(
            vectors, n_nearest, space_id=None, exclude=exclude, allow=allow
        )
        nearest = items.lookup(ids.ravel()).reshape(ids.shape), cosines
        excluded, allowed = limits_of_id_lists(items, len(users), exclude=exclude, allow=allow)
        if not self._in_index.all():
            allowed = only_rows(allowed, self._in_index)
        stage = recommender._second_stage()
        rows, scores = stage.best(histories, vectors, nearest, k, excluded, allowed)
        return ids_of_rows(items.ids, rows), scores, status
