"""A cache and an index as one object, so that both are switched in one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skue.serving.cache._cache import UserVectorCache
from skue.serving.index._index import VectorIndex, check_accept, check_space_of_users


class Retriever:
    """An immutable pair of a cache and an index of the same space.

    A server keeps a retriever in a variable, and assigns a new one for every new version of the
    encoder or the index. A request that has read the variable uses the same version throughout.

    Parameters
    ----------
    cache : UserVectorCache
    index : VectorIndex
        An index of the same space as the encoder of the cache.
    accept : {"same", "aligned"}, default="same"
        With ``"aligned"``, the encoder may also be of the earlier space that the items are aligned
        with, after a fit with ``warm_start=True``.

    Attributes
    ----------
    cache : UserVectorCache
    index : VectorIndex
    accept : str

    Raises
    ------
    SpaceMismatchError
        If the index has another space, and does not accept that of the encoder.

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

    __slots__ = ("accept", "cache", "index")

    def __init__(self, cache: UserVectorCache, index: VectorIndex, *, accept: str = "same") -> None:
        check_accept(accept)
        check_space_of_users(cache.space_id, index.items, accept)
        self.cache, self.index, self.accept = cache, index, accept

    def recommend(
        self,
        user_ids: Any,
        load: Callable[[np.ndarray], Any],
        k: int = 10,
        *,
        exclude: Any = None,
        allow: Any = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the k nearest items of each user.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
        load : callable
            As for :meth:`UserVectorCache.get`.
        k : int, default=10
        exclude, allow : default=None
            As for :meth:`VectorIndex.search`.

        Returns
        -------
        ids, scores : ndarray of shape (n_users, k)
        status : ndarray of shape (n_users,)
            Where the vector of each user came from: see :meth:`UserVectorCache.get`.
        """
        vectors, status = self.cache.get(user_ids, load)
        # The spaces were checked when the retriever was made.
        found = self.index.search(vectors, k, space_id=None, exclude=exclude, allow=allow)
        return *found, status
