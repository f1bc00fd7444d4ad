"""A cache and an index as one object, so that both are switched in one step."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from skue._estimator import check_positive_int
from skue.items._catalogue import ids_of_rows
from skue.items._id_lists import limits_of_id_lists, limits_of_users, only_rows
from skue.ranking._two_stage import TwoStageRecommender
from skue.reading._ids import shown
from skue.serving._cache import (
    N_WAITING,
    N_WORKERS,
    UserVectorCache,
    WorkerPool,
    in_parts,
    load_rows,
    take,
    user_list,
)
from skue.serving._index import (
    SpaceMismatchError,
    VectorIndex,
    check_accept,
    check_space_of_users,
)


class RequestedHistories:
    """What ``load`` returns for the users of a request, which may name a user twice.

    Parameters
    ----------
    users : list
    load : callable
        As for :meth:`skue.UserVectorCache.get`.
    """

    def __init__(self, users: list[Any], load: Callable[..., Any]) -> None:
        self._row_of = {user: row for row, user in enumerate(dict.fromkeys(users))}
        self._load = load
        self._rows: Any = None
        self._error: Exception | None = None
        self._loaded = threading.Event()

    def run(self) -> None:
        """Call ``load`` for all users. :meth:`of` raises its error."""
        try:
            self._rows, _ = load_rows(list(self._row_of), self._load)
        except Exception as error:
            self._error = error
        finally:
            self._loaded.set()

    def refuse(self, why: str) -> None:
        """Let :meth:`of` raise an error at once."""
        self._error = RuntimeError(why)
        self._loaded.set()

    def of(self, users: list[Any], until: float = math.inf) -> Any:
        """Return the histories of users, one row each.

        Parameters
        ----------
        users : list
        until : float, default=inf
            How long to wait, on the clock of ``time.monotonic``.

        Raises
        ------
        TimeoutError
            If ``load`` has not returned by then.
        Exception
            The error of ``load``.
        """
        left = None if until == math.inf else max(until - time.monotonic(), 0.0)
        if not self._loaded.wait(left):
            raise TimeoutError("load has not returned by the deadline")
        if self._error is not None:
            raise self._error
        return take(self._rows, np.array([self._row_of[user] for user in users], dtype=np.int64))


_LOG = logging.getLogger("skue.serving")


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

    __slots__ = ("_in_index", "_loaders", "accept", "cache", "index", "recommender")

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
            self._loaders = WorkerPool(N_WORKERS, N_WAITING, "skue-retriever-load")

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
            users, because the second stage needs all histories. Vectors still come from the cache.
        k : int, default=10
        exclude, allow : default=None
            As for :meth:`VectorIndex.search`.

        Returns
        -------
        ids, scores : ndarray of shape (n_users, k)
            The nearest items, and their cosines. With a recommender, the best items of its second
            stage, and their scores. A user whose history failed, or was late for the deadline of
            the cache, gets the nearest items; the failure is logged. Items that the index does not
            have are left out.
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
        check_positive_int("k", k)
        users, items = user_list(user_ids), recommender.item_embeddings_
        until = time.monotonic() + (self.cache.deadline or math.inf)
        requested = self._request(users, load, until)
        vectors, status = self.cache.get(users, lambda ids: requested.of(ids.tolist()))
        n_nearest = max(k, recommender.n_candidates)
        ids, cosines = self.index.search(
            vectors, n_nearest, space_id=None, exclude=exclude, allow=allow
        )
        rows_of_users = _loaded(requested, users, until)
        best_ids, scores = ids[:, :k].copy(), cosines[:, :k].copy()
        if rows_of_users is None:
            return best_ids, scores, status
        nearest = items.lookup(ids.ravel()).reshape(ids.shape)
        excluded, allowed = limits_of_id_lists(items, len(users), exclude=exclude, allow=allow)
        if not self._in_index.all():
            allowed = only_rows(allowed, self._in_index)
        stage = recommender._second_stage()

        def ranked(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return stage.best(
                recommender._read(take(rows_of_users, part)),
                vectors[part],
                (nearest[part], cosines[part]),
                k,
                limits_of_users(excluded, part),
                limits_of_users(allowed, part),
            )

        parts, failed = in_parts(len(users), ranked)
        for part, (rows, found) in parts:
            best_ids[part], scores[part] = ids_of_rows(items.ids, rows), found
        for user, error in failed.items():
            _LOG.warning("The second stage did not rank for user %s: %r", shown(users[user]), error)
        return best_ids, scores, status

    def _request(
        self, users: list[Any], load: Callable[..., Any], until: float
    ) -> RequestedHistories:
        """Start to load the histories: in this thread, or in another one if there is a deadline."""
        requested = RequestedHistories(users, load)
        if until == math.inf or not users:
            requested.run()
        elif not self._loaders.submit(RequestedHistories.run, requested):
            requested.refuse("too many requests are waiting for load")
        return requested


def _loaded(requested: RequestedHistories, users: list[Any], until: float) -> Any:
    """Return the histories, or None if they failed or are late."""
    try:
        return requested.of(users, until)
    except Exception as error:
        _LOG.warning("The second stage did not rank for %d users: %r", len(users), error)
        return None
