"""A cache and an index as one object, so that both are switched in one step."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any

import numpy as np

from skue._estimator import check_positive_int
from skue.encoders._pipelines import unwrapped
from skue.items._id_lists import limits_of_id_lists, limits_of_users, only_rows
from skue.ranking._two_stage import TwoStageRecommender
from skue.reading._ids import as_ids, shown
from skue.serving._cache import UserVectorCache, snapshot
from skue.serving._index import (
    SpaceMismatchError,
    VectorIndex,
    check_accept,
    check_space_of_users,
)
from skue.serving._loading import in_parts, load_rows, take, user_list
from skue.serving._workers import WorkerPool

_LOG = logging.getLogger("skue.serving")


class Retriever:
    """An immutable pair of a cache and an index of the same space.

    A server keeps a retriever in a variable, and assigns a new one for every new version of the
    encoder or the index. A request that has read the variable uses the same version throughout.

    Parameters
    ----------
    cache : UserVectorCache
        Gives the user vectors, and with a recommender the encoder.
    index : VectorIndex
        An index of the same space as the encoder of the cache.
    recommender : TwoStageRecommender or None, default=None
        A fitted recommender whose encoder is that of the cache. Its second stage then ranks the
        nearest items of the index and its other candidates. The retriever holds a copy: neither
        :meth:`~TwoStageRecommender.fit` nor :meth:`~TwoStageRecommender.update` of the original
        changes its answers. Make a new retriever after them.
    accept : {"same", "aligned"}, default="same"
        With ``"aligned"``, the encoder may also be of the earlier space that the items are aligned
        with, after a fit with ``warm_start=True``.

    Attributes
    ----------
    cache : UserVectorCache
        The given cache.
    index : VectorIndex
        The given index.
    recommender : TwoStageRecommender or None
        The copy.
    accept : str
        The given value.

    Raises
    ------
    SpaceMismatchError
        If the index has another space, and does not accept that of the encoder, or if the
        recommender has another space than the cache.
    ValueError
        If the recommender has another encoder than the cache.

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
        self.cache, self.index, self.accept = cache, index, accept
        self.recommender = None if recommender is None else _own_copy(recommender, cache)
        if self.recommender is not None:
            items = self.recommender.item_embeddings_
            self._in_index = index.items.lookup(items.ids) >= 0
            self._loaders = WorkerPool("skue-retriever-load")

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
            The users who get recommendations.
        load : callable
            As for :meth:`UserVectorCache.get`. With a recommender, it is called once for all
            users, because the second stage needs all histories. Vectors still come from the cache.
        k : int, default=10
            Number of items per user.
        exclude, allow : default=None
            As for :meth:`VectorIndex.search`. Lists that carry user ids are brought into the order
            of ``user_ids``.

        Returns
        -------
        ids, scores : ndarray of shape (n_users, k)
            The nearest items, and their cosines. With a recommender, the best items of its second
            stage, and their scores. Users whose histories failed, or who could not be ranked
            within the deadline of the cache, get the nearest items; this is logged. The deadline
            does not bound the search of the index. Items that the index does not have are left
            out. Items that only the index has are ranked by cosine against the known ones; see the
            user guide.
        status : ndarray of shape (n_users,)
            Where the vector of each user came from: see :meth:`UserVectorCache.get`.
        """
        users = user_list(user_ids)
        if self.recommender is not None and self.recommender.ranker_ is not None:
            return self._ranked(self.recommender, users, load, k, exclude, allow)
        vectors, status = self.cache.get(users, load)
        # The spaces were checked when the retriever was made.
        ids = as_ids(users, "user_ids")
        return *self.index._nearest(vectors, k, exclude, allow, ids), status

    def _ranked(
        self,
        recommender: TwoStageRecommender,
        users: list[Any],
        load: Callable[[np.ndarray], Any],
        k: int,
        exclude: Any,
        allow: Any,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rank the nearest items of the index and the other candidates by the second stage."""
        check_positive_int("k", k)
        until = self.cache._until()
        user_ids = as_ids(users, "user_ids")
        row_of = {user: row for row, user in enumerate(dict.fromkeys(users))}
        loading = self._load(list(row_of), load, until)

        def histories_of(some: list[Any]) -> Any:
            rows, _ = loading.result()
            return take(rows, np.array([row_of[user] for user in some], dtype=np.int64))

        vectors, status = self.cache.get(users, lambda ids: histories_of(ids.tolist()))
        n_nearest = max(k, recommender.n_candidates)
        nearest = permitted = self.index.search(vectors, n_nearest, space_id=None)
        if exclude is not None or allow is not None:
            permitted = self.index._nearest(vectors, n_nearest, exclude, allow, user_ids)
        best_ids, scores = permitted[0][:, :k].copy(), permitted[1][:, :k].copy()
        wait([loading], None if until == math.inf else max(until - time.monotonic(), 0.0))
        error: BaseException | None = TimeoutError("load has not returned by the deadline")
        if loading.done():
            error = loading.exception()
        if error is not None:
            _LOG.warning("The second stage did not rank for %d users: %r", len(users), error)
            return best_ids, scores, status
        items, given = recommender.item_embeddings_, histories_of(users)
        excluded, allowed = limits_of_id_lists(
            items, len(users), exclude=exclude, allow=allow, user_ids=user_ids
        )
        if not self._in_index.all():
            allowed = only_rows(allowed, self._in_index)

        def ranked(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return recommender._ranked_ids(
                recommender._read(take(given, part)),
                vectors[part],
                (nearest[0][part], nearest[1][part]),
                (permitted[0][part], permitted[1][part]),
                k,
                limits_of_users(excluded, part),
                limits_of_users(allowed, part),
            )

        errors: dict[int, Exception] = {}
        n_tried = 0
        for some in _parts_in_time(len(users), until):
            parts, failed = in_parts(some, ranked)
            for part, found in parts:
                best_ids[part], scores[part] = found
            errors |= failed
            n_tried += len(some)
        if n_tried < len(users):
            _LOG.warning(
                "The second stage ranked for %d of %d users by the deadline.", n_tried, len(users)
            )
        if errors:
            user, error = next(iter(errors.items()))
            _LOG.warning(
                "The second stage did not rank for %d of %d users. User %s: %r",
                len(errors),
                len(users),
                shown(users[user]),
                error,
            )
        return best_ids, scores, status

    def _load(self, users: list[Any], load: Callable[..., Any], until: float) -> Future[Any]:
        """Load the histories: in this thread, or in another one if there is a deadline."""
        loading: Future[Any] = Future()

        def run() -> None:
            try:
                loading.set_result(load_rows(users, load))
            except Exception as error:
                loading.set_exception(error)

        if until == math.inf:
            run()
        elif not self._loaders.submit(run):
            loading.set_exception(RuntimeError("too many requests are waiting for load"))
        return loading


def _own_copy(recommender: TwoStageRecommender, cache: UserVectorCache) -> TwoStageRecommender:
    """Return a copy of the recommender with the encoder of the cache, which must be its own."""
    copied: TwoStageRecommender = snapshot(recommender)
    space_id = copied.item_embeddings_.space_id
    if space_id != cache.space_id:
        raise SpaceMismatchError(cache.space_id, space_id)
    encoder_id = unwrapped(copied.encoder_).encoder_id_
    if encoder_id != cache.encoder_id:
        raise ValueError(
            f"The cache has vectors of the encoder {cache.encoder_id!r}, but the recommender was "
            f"fitted with {encoder_id!r}. Use UserVectorCache(recommender.encoder_)."
        )
    copied.encoder_ = cache.encoder
    return copied


def _parts_in_time(n_users: int, until: float) -> Iterator[np.ndarray]:
    """Yield parts of the users until the next one would be late, judged by the part before."""
    start, size = 0, n_users if until == math.inf else 1
    while start < n_users and size and time.monotonic() < until:
        started = time.monotonic()
        part = np.arange(start, min(start + size, n_users))
        yield part
        start += len(part)
        now = time.monotonic()
        seconds_a_user = max((now - started) / len(part), 1e-6)
        if until < math.inf:
            size = min(2 * size, int(max(until - now, 0.0) / seconds_a_user))
