"""The base class of the encoders, for those of skue and for your own."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Bunch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skue._estimator import (
    atomic_fit,
    check_fitted,
    check_positive_int,
    import_optional,
    of_one_fit,
    warn_caller,
)
from skue.encoders._events import Events, known_events, new_items
from skue.encoders._recommender import Pairs, Recommender, frame_of, users_of
from skue.histories._forms import columns_used, indexed_by_user, validate_histories
from skue.histories._histories import Histories
from skue.histories._splits import is_liked
from skue.histories._vocabulary import Vocabulary
from skue.items._catalogue import ids_of_rows
from skue.items._embedders import CooccurrenceItemEmbedder, item_space, no_items
from skue.items._id_lists import Rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.kernels._arrays import kept_offsets
from skue.kernels._pooling import sums_by_user
from skue.kernels._ranking import Products
from skue.kernels._threads import spread
from skue.kernels._topk import top_k
from skue.reading._ids import is_text, shown

if TYPE_CHECKING:
    import pandas

ColdStart: TypeAlias = Literal["mean", "popular", "zero", "raise"] | ArrayLike
UnknownItem: TypeAlias = Literal["ignore", "warn", "raise"]

# Number of users encoded at a time. It is fixed, and the same users are always encoded together, so
# that results do not depend on n_jobs or on the chunk size of a caller.
CHUNK_SIZE = 4096
# Number of users encoded at a time to learn the fallback, to bound the memory.
_STRETCH = 65_536
# Number of newest events that explain leaves out in turn.
_MOST_EXPLAINING = 200
# With fewer events than this, a few new users with new items are a likely explanation.
_MANY_EVENTS = 30
_FEW_USERS = 100


class UserEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Recommender):
    """Base class of estimators that turn histories into user vectors.

    To write an encoder, implement ``_encode_events`` and an ``__init__`` that stores its
    parameters. The base class reads every form of X, learns the item space and the fallback, and
    gives :meth:`transform`, :meth:`recommend`, :meth:`explain`, :meth:`score`,
    :meth:`similar_users`, :meth:`coverage` and :meth:`iter_transform`. Metrics, pipelines, the
    index and the cache then work with the encoder.

    A subclass may also

    - set ``_uses_times = True`` if ``_encode_events`` uses timestamps wherever there are any.
      After a fit with timestamps, histories without them are then refused, and after a fit without
      timestamps, ``_encode_events`` gets none;
    - list in ``_output_parameters`` the names of its parameters that affect its vectors;
    - add its own constraints to ``_parameter_constraints``;
    - learn more than the item space: override ``_learn(histories, y)``, call
      ``super()._learn(histories, y)`` or set ``item_embeddings_`` and ``is_new_item_`` there, and
      return all other fitted arrays that affect the vectors from ``_fitted_arrays()``.

    Parameters
    ----------
    item_embeddings : ItemEmbeddings, array-like of shape (n_items, n_dims), embedder or None, \
            default=None
        The item space. The row numbers of an array are the item ids. An unfitted embedder is
        fitted on X. None is ``CooccurrenceItemEmbedder()``.
    max_history : int or None, default=None
        Use only this many newest known events per user.
    cold_start : {"mean", "popular", "zero", "raise"} or array-like of shape (n_dims,), \
            default="mean"
        Vector of a user without known events, or for whom the encoder finds no direction.
    unknown_item : {"ignore", "warn", "raise"}, default="ignore"
        What to do about events of items that are not in ``item_embeddings_``. They never
        contribute to the vector.
    n_jobs : int or None, default=None
        Number of joblib workers used by ``transform``. It does not change the result.
    memory : None, path or joblib.Memory, default=None
        Where item vectors that are learned from X are kept. A fit on the same X with the same
        embedder reads them, so a search over other parameters learns them once for each split. The
        vectors are the same. By default they are learned in every fit.

    Attributes
    ----------
    item_embeddings_ : ItemEmbeddings
        The items to search.
    fallback_vector_ : ndarray of shape (n_dims,), float32
        Vector of a user without known events, or for whom the encoder finds no direction.
    is_new_item_ : ndarray of shape (n_items,), bool
        Items of ``item_embeddings_`` that occur in no history that was fitted.
    item_vectors_ : ndarray of shape (n_items, n_dims), float32
        Vectors of ``item_embeddings_``.
    space_id_ : str
        Name of the space.
    encoder_id_ : str
        Hash of everything that affects the vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    Examples
    --------
    An encoder of the newest event:

    >>> import numpy as np
    >>> from skue import ItemEmbeddings, UserEncoder
    >>> class NewestItemEncoder(UserEncoder):
    ...     def _encode_events(self, events):
    ...         has_events = np.diff(events.offsets) > 0
    ...         vectors = np.zeros((events.n_users, self.item_embeddings_.n_dims), np.float32)
    ...         newest = events.rows[events.offsets[1:][has_events] - 1]
    ...         vectors[has_events] = self.item_vectors_[newest]
    ...         return vectors, has_events
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = NewestItemEncoder(items).fit([["tea", "cup"], ["cup"]])
    >>> encoder.recommend([["cup", "tea"]], k=1)[0]
    array([['tea']], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "item_embeddings": [None, ItemEmbeddings, HasMethods(["fit"]), "array-like"],
        "max_history": [None, Interval(Integral, 1, None, closed="left")],
        "cold_start": [StrOptions({"mean", "popular", "zero", "raise"}), "array-like"],
        "unknown_item": [StrOptions({"ignore", "warn", "raise"})],
        "n_jobs": [None, Integral],
        "memory": [None, str, os.PathLike, HasMethods(["cache"])],
    }
    _defaults_of_none: ClassVar[dict[str, str]] = {"item_embeddings": "CooccurrenceItemEmbedder()"}
    _output_parameters: ClassVar[tuple[str, ...]] = ("max_history",)
    _uses_times: ClassVar[bool] = False
    # Whether threads share the chunks. False where BLAS uses threads itself.
    _threaded: ClassVar[bool] = False

    item_embeddings_: ItemEmbeddings
    is_new_item_: NDArray[np.bool_]
    fallback_vector_: NDArray[np.float32]

    def __init__(
        self,
        item_embeddings: Any = None,
        *,
        max_history: int | None = None,
        cold_start: ColdStart = "mean",
        unknown_item: UnknownItem = "ignore",
        n_jobs: int | None = None,
        memory: Any = None,
    ) -> None:
        self.item_embeddings = item_embeddings
        self.max_history = max_history
        self.cold_start = cold_start
        self.unknown_item = unknown_item
        self.n_jobs = n_jobs
        self.memory = memory

    @abstractmethod
    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors of a batch of users.

        The vector of a user must not depend on the other users of the batch.

        Parameters
        ----------
        events : Events
            The known events of at most 4,096 users, the newest ``max_history`` of each.

        Returns
        -------
        vectors : ndarray of shape (n_users, n_dims), float32
            Rows of length 1; zero where there is no direction.
        defined : ndarray of shape (n_users,), bool
            Users whose vector has a direction. The others get ``fallback_vector_``.
        """

    def _learn(self, histories: Histories, y: Any) -> None:
        """Set ``item_embeddings_``, ``is_new_item_`` and the other fitted attributes."""
        given = self.item_embeddings
        embedder = CooccurrenceItemEmbedder() if given is None else given
        if isinstance(embedder, CooccurrenceItemEmbedder) and not is_liked(histories).any():
            self.item_embeddings_ = no_items(embedder.n_dims, histories)
        else:
            self.item_embeddings_ = item_space(given, histories, self.memory)
        self.is_new_item_ = new_items(self.item_embeddings_, histories)

    def _fitted_arrays(self) -> list[np.ndarray]:
        """Return the arrays that affect the vectors, other than the items and the fallback."""
        return []

    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the encoder.

        If ``fit`` fails or is interrupted, the encoder is left unchanged.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to learn from, one per user.
        y : array-like of shape (n_users,), default=None
            Ignored, unless the encoder says otherwise.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If no item of X is known and this looks like a mistake: the ids have another type than
            those of ``item_embeddings``, or there are at least 30 events.

        Warns
        -----
        UserWarning
            If X has no event of a known item, as a small fold of a cross-validation may. Every
            user without known events then gets the same vector.
        """
        histories = validate_histories(self, X, reset=True)
        if y is not None and _num_samples(y) != len(histories):
            raise ValueError(
                f"X and y must have one row per user, got {len(histories)} rows in X and "
                f"{_num_samples(y)} in y."
            )
        self._needs = columns_used(histories, times=self._uses_times, weights=True)
        self._learn(histories, y)
        self._check_something_known(histories)
        if self._items_are_given():
            self._report_unknown(histories)  # vectors learned from this log have what it says
        self.fallback_vector_ = self._fallback(histories)
        return self

    @of_one_fit
    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return one vector per user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to encode, one per user.

        Returns
        -------
        user_vectors : ndarray of shape (n_users, n_dims), float32
            Rows of unit length (zero only with ``cold_start="zero"``). With pandas output, a
            DataFrame indexed by ``user_ids`` if X is Histories with user ids.
        """
        return indexed_by_user(self, self._vectors_of(self._read(X)), X)

    @of_one_fit
    def iter_transform(
        self, X: Any, *, chunk_size: int = 65_536
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield the vectors of the users, chunk by chunk.

        Use it when the batch or the output of :meth:`transform` does not fit into memory.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            For example ``Histories.load(path, mmap=True)``.
        chunk_size : int, default=65536
            Number of users per chunk.

        Yields
        ------
        rows : slice
            Rows of X that the vectors belong to.
        user_vectors : ndarray of shape (n_chunk_users, n_dims), float32
            Bit for bit the same as these rows of ``transform(X)``, for every chunk size.

        Examples
        --------
        >>> from skue import DecayAverageUserEncoder, ItemEmbeddings
        >>> encoder = DecayAverageUserEncoder(ItemEmbeddings([[1, 0], [0, 1]])).fit([[0]])
        >>> for rows, vectors in encoder.iter_transform([[0], [1], [0]], chunk_size=2):
        ...     print(rows.start, vectors.shape)
        0 (2, 2)
        2 (1, 2)
        """
        check_positive_int("chunk_size", chunk_size)
        return self._chunks_of(self._read(X), int(chunk_size))

    @of_one_fit
    def coverage(self, X: Any) -> Bunch:
        """Return how much of each history consists of known items.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to look at, one per user.

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
        _, defined = self._encode(histories)
        status = np.full(len(histories), "cancelled", dtype="<U9")
        status[n_known == 0] = "unknown"
        status[histories.lengths == 0] = "empty"
        status[defined] = "encoded"
        total = sums_by_user(weights, histories.offsets)
        share = sums_by_user(weights * known, histories.offsets) / np.where(total > 0, total, 1)
        return Bunch(
            n_events=histories.lengths, n_known=n_known, known_weight_share=share, status=status
        )

    @of_one_fit
    def similar_users(
        self, X: Any, among: Any, k: int = 10, *, together: bool = False
    ) -> tuple[np.ndarray, NDArray[np.float32]]:
        """Return the k users nearest to each user of X, or to all of them together.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The seeds, for example the best customers.
        among : Histories or any form that :func:`skue.as_histories` reads
            The users to search. A user of X is not their own neighbour: if both are Histories with
            ``user_ids``, the same id is left out, and if ``among`` is X, the same row.
        k : int, default=10
            Number of neighbours.
        together : bool, default=False
            Whether to look for users like the seeds as a whole: those with the highest mean cosine
            with them, other than themselves. The results then have one row.

        Returns
        -------
        similar_ids : ndarray of shape (n_users, k) or (1, k)
            Nearest first: the ``user_ids`` of ``among``, or its row numbers if it has none. Filled
            with -1, or "" for string ids, if there are fewer than k other users.
        scores : ndarray of shape (n_users, k) or (1, k), float32
            Cosines; the mean ones with ``together``. ``-inf`` for missing users.

        Examples
        --------
        >>> from skue import Histories, ProfileUserEncoder
        >>> lists = [["tea", "cup"], ["cup", "pot"], ["pot", "tea"], ["saw", "nail"], ["nail"]]
        >>> people = Histories.from_lists(lists, user_ids=["ann", "bob", "cat", "dan", "eve"])
        >>> encoder = ProfileUserEncoder(n_dims=2).fit(people)
        >>> encoder.similar_users(people[[0, 3]], people, k=1)[0].tolist()
        [['bob'], ['eve']]
        >>> encoder.similar_users(people[[0, 1]], people, k=1, together=True)[0].tolist()
        [['cat']]
        """
        check_positive_int("k", k)
        seeds, others = self._read(X), self._read(among)
        ids = np.arange(len(others)) if others.user_ids is None else others.user_ids
        own = np.arange(len(seeds)) if among is X else np.full(len(seeds), -1)
        if seeds.user_ids is not None and others.user_ids is not None:
            own = Vocabulary._trusted(ids).lookup(seeds.user_ids).astype(np.int64)
        offsets = np.append(0, np.cumsum(own >= 0))
        vectors = self._vectors_of(seeds)
        if together:
            vectors, offsets = vectors.mean(axis=0, keepdims=True), offsets[[0, -1]]
        excluded = own[own >= 0], offsets
        rows, scores = top_k(vectors, self._vectors_of(others), int(k), excluded=excluded)
        return ids_of_rows(ids, rows), scores

    @of_one_fit
    def explain(self, X: Any, k: int = 10, *, n_events: int = 3) -> pandas.DataFrame:
        r"""Return the events of each history that speak most for its recommendations.

        The gain of an event :math:`e` is how much the cosine falls if it is left out of the history
        :math:`h`,

        .. math:: \cos(u(h), v_i) - \cos(u(h \setminus e), v_i),

        with 0 for the cosine of a history without known events. It can be negative. Each of
        the newest 200 known events is left out in turn, so this takes about as long as encoding so
        many users.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories of the users who get recommendations.
        k : int, default=10
            Number of items per user.
        n_events : int, default=3
            Number of events per item, those with the largest gains.

        Returns
        -------
        table : pandas.DataFrame
            One row per recommended item and event: ``user``, ``item``, ``rank`` (from 1) and
            ``score`` as in :meth:`recommend`, ``because`` (the item of the event), ``event`` (its
            place in the history, from 0), and ``gain``. The largest gain of an item comes first.
            Users without known events have no rows.

        Examples
        --------
        >>> from skue import DecayAverageUserEncoder, ItemEmbeddings
        >>> items = ItemEmbeddings([[1, 0], [1, 1], [0, 1]], ids=["tea", "pot", "saw"])
        >>> encoder = DecayAverageUserEncoder(items, decay=0.0).fit([["tea", "saw"]])
        >>> encoder.explain([["saw", "tea", "tea"]], k=1, n_events=2).round(2)
           user item  rank  score because  event  gain
        0     0  pot     1   0.95     saw      0  0.24
        1     0  pot     1   0.95     tea      1 -0.05
        """
        check_positive_int("k", k)
        check_positive_int("n_events", n_events)
        pandas = import_optional("pandas", "io")
        histories, items = self._read(X), self.item_embeddings_
        users = users_of(X, histories)
        users = np.arange(len(histories)) if users is None else users
        best, scores = self._best_items(histories, min(int(k), len(items)), None, None)
        tables = []
        for user in range(len(histories)):
            history = histories[user : user + 1]
            events = np.flatnonzero(items.rows_of(history) >= 0)[-_MOST_EXPLAINING:]
            without = np.zeros((len(events), items.n_dims), dtype=np.float32)
            if len(events):
                copies = history[np.zeros(len(events), dtype=np.int64)]
                is_left_out = np.arange(len(history.codes)) == events[:, None]
                without, _ = self._encode(copies._keep_events(~is_left_out.ravel()))
            gains = scores[user] - without @ items.vectors[best[user]].T
            order = np.argsort(-gains, axis=0, kind="stable")[:n_events]
            ranks = np.repeat(np.arange(len(best[user])), len(order))
            chosen = order.T.ravel()
            columns = {
                "user": users[[user] * len(chosen)],
                "item": items.ids[best[user]][ranks],
                "rank": ranks + 1,
                "score": scores[user][ranks],
                "because": history.item_ids[history.codes[events[chosen]]],
                "event": events[chosen],
                "gain": gains[chosen, ranks],
            }
            tables.append(frame_of(columns))
        return pandas.concat(tables, ignore_index=True)

    @property
    def item_vectors_(self) -> NDArray[np.float32]:
        """Item vectors to search, ndarray of shape (n_items, n_dims)."""
        return self.item_embeddings_.vectors

    @property
    def space_id_(self) -> str:
        """Name of the space of the user and item vectors."""
        return self.item_embeddings_.space_id

    @property
    @of_one_fit
    def encoder_id_(self) -> str:
        """Hash of everything that affects the vectors."""
        check_fitted(self, "fallback_vector_")
        parameters = [(name, _plain(getattr(self, name))) for name in self._output_parameters]
        items = self.item_embeddings_
        header = (type(self).__name__, sorted(parameters), items.space_id, items.catalog_id)
        digest = hashlib.blake2b(repr(header).encode(), digest_size=8)
        for array in [self.fallback_vector_, *self._fitted_arrays()]:
            array = np.ascontiguousarray(array)
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    @property
    def _n_features_out(self) -> int:
        return self.item_embeddings_.n_dims

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _read(self, X: Any) -> Histories:
        """Validate X, and report items that are unknown."""
        histories = super()._read(X)
        self._report_unknown(histories)
        return histories

    def _events_of(self, histories: Histories) -> Events:
        """Drop events of unknown items, then keep the newest ``max_history`` per user."""
        events = known_events(self.item_embeddings_, histories, self.max_history)
        if self._uses_times and "timestamps" not in self._needs:
            return events._replace(timestamps=None)
        return events

    def _encode(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """Return unit vectors (zero where undefined) and the mask of the defined ones."""
        n_users = len(histories)
        if n_users <= CHUNK_SIZE:
            return self._encode_events(self._events_of(histories))
        vectors = np.empty((n_users, self.item_embeddings_.n_dims), dtype=np.float32)
        defined = np.empty(n_users, dtype=bool)
        chunks = [slice(start, start + CHUNK_SIZE) for start in range(0, n_users, CHUNK_SIZE)]

        def encode(users: slice) -> None:
            events = self._events_of(histories[users])
            vectors[users], defined[users] = self._encode_events(events)

        if effective_n_jobs(self.n_jobs) > 1:
            workers = Parallel(n_jobs=self.n_jobs, prefer="threads" if self._threaded else None)
            parts = workers(
                delayed(self._encode_events)(self._events_of(histories[users])) for users in chunks
            )
            for users, part in zip(chunks, parts, strict=True):
                vectors[users], defined[users] = part
        elif self._threaded:
            spread(encode, chunks)
        else:
            for users in chunks:
                encode(users)
        return vectors, defined

    def _vectors_of(self, histories: Histories) -> np.ndarray:
        """Encode histories; users without a direction get the fallback."""
        return self._with_fallback(*self._encode(histories))

    def _with_fallback(
        self, vectors: np.ndarray, defined: np.ndarray, *, first_row: int = 0
    ) -> np.ndarray:
        if defined.all():
            return vectors
        if isinstance(self.cold_start, str) and self.cold_start == "raise":
            rows = np.flatnonzero(~defined)
            raise ValueError(
                f"{len(rows)} users have no known event, or their weights cancel: rows "
                f"{(rows[:5] + first_row).tolist()}. Set cold_start='mean' to give them a fallback "
                "vector."
            )
        vectors[~defined] = self.fallback_vector_
        return vectors

    def _chunks_of(
        self, histories: Histories, chunk_size: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Encode users in the same chunks as in the whole batch, and cut the result."""
        n_users, start = len(histories), 0
        n_together = -(-chunk_size // CHUNK_SIZE) * CHUNK_SIZE
        waiting = np.empty((0, self.item_embeddings_.n_dims), dtype=np.float32)
        for first in range(0, n_users, n_together):
            encoded = self._encode(histories[first : first + n_together])
            vectors = self._with_fallback(*encoded, first_row=first)
            waiting = np.concatenate([waiting, vectors]) if len(waiting) else vectors
            is_last = first + n_together >= n_users
            while len(waiting) >= chunk_size or (is_last and len(waiting)):
                chunk, waiting = waiting[:chunk_size], waiting[chunk_size:]
                yield slice(start, start + len(chunk)), chunk
                start += len(chunk)

    def _score_items(self, histories: Histories) -> np.ndarray:
        return self._vectors_of(histories) @ self.item_vectors_.T

    def _scores(
        self, histories: Histories, excluded: Pairs | None = None, allowed: Rows | None = None
    ) -> Any:
        if excluded is None and allowed is None:
            return Products(self._vectors_of(histories), self.item_vectors_)
        return super()._scores(histories, excluded, allowed)

    def _best_items(
        self, histories: Histories, k: int, excluded: Pairs | None, allowed: Rows | None
    ) -> Pairs:
        vectors = self._vectors_of(histories)
        return top_k(vectors, self.item_vectors_, k, excluded=excluded, allowed=allowed)

    def _fallback(self, histories: Histories) -> np.ndarray:
        """Return the vector that ``cold_start`` asks for: of length 1, or zeros."""
        cold_start, vectors = self.cold_start, self.item_vectors_
        if not isinstance(cold_start, str):
            return _unit_vector(cold_start, vectors.shape[1])
        if cold_start == "zero":
            return np.zeros(vectors.shape[1], dtype=np.float32)
        # If a sum cancels out, the next one replaces it.
        first = vectors[0] if len(vectors) else np.eye(1, vectors.shape[1])[0]
        sums = [self._sum_of_items, lambda _: first.astype(np.float64)]
        if cold_start != "popular":
            sums.insert(0, self._sum_of_vectors)
        found = (total(histories) for total in sums)
        vector = next(total for total in found if np.linalg.norm(total) > 1e-6)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def _sum_of_vectors(self, histories: Histories) -> np.ndarray:
        total = np.zeros(self.item_embeddings_.n_dims)
        for start in range(0, len(histories), _STRETCH):
            vectors, defined = self._encode(histories[start : start + _STRETCH])
            total += vectors[defined].sum(axis=0, dtype=np.float64)
        return total

    def _sum_of_items(self, histories: Histories) -> np.ndarray:
        counts = np.zeros(len(self.item_embeddings_), dtype=np.int64)
        for start in range(0, len(histories), _STRETCH):
            events = self._events_of(histories[start : start + _STRETCH])
            counts += np.bincount(events.rows, minlength=len(counts))
        return counts @ self.item_vectors_.astype(np.float64)

    def _items_are_given(self) -> bool:
        return not (self.item_embeddings is None or hasattr(self.item_embeddings, "fit"))

    def _check_something_known(self, histories: Histories) -> None:
        """Warn if no event is known and ``cold_start`` has to be learned, or raise.

        A small fold may hold new users with new items alone, but not other ids than the items.
        """
        cold_start, items = self.cold_start, self.item_embeddings_
        is_learned = isinstance(cold_start, str) and cold_start != "zero"
        if not is_learned or not len(items) or (items.rows_of(histories) >= 0).any():
            return
        told = f"{nothing_known(items, histories)} cold_start={cold_start!r} cannot be learned from"
        way_out = (
            "Pass histories with items of item_embeddings, or set cold_start='zero' or a vector."
        )
        if len(histories.codes) and _looks_like_a_mistake(items, histories):
            raise ValueError(f"{told} them. {way_out}")
        warn_caller(f"{told} them, so every user gets the vector of the first item. {way_out}")

    def _report_unknown(
        self, histories: Histories, *, also_known: ItemFeatures | None = None
    ) -> None:
        """Raise or warn, as ``unknown_item`` says, about events of unknown items.

        With ``unknown_item="ignore"`` there is a warning only if no event is known and this looks
        like a mistake: the ids have another type than those of the items, or there are at least 30
        events. Items of ``also_known`` are known, too.
        """
        items = self.item_embeddings_
        if not len(histories.codes) or items.vocabulary.map_of(histories.vocabulary)[1]:
            return
        ignored = self.unknown_item == "ignore"
        if ignored and (items.rows_of(histories[:_FEW_USERS]) >= 0).any():
            return  # the usual case, found without reading all events
        known = items.rows_of(histories) >= 0
        if ignored:
            # Without an event to learn items from, fit has warned.
            is_empty = not len(items) and not self._items_are_given()
            if not known.any() and not is_empty and _looks_like_a_mistake(items, histories):
                warn_caller(
                    f"{nothing_known(items, histories)} Every user gets the fallback vector. Pass "
                    "the same ids as in item_embeddings, with the same type."
                )
            return
        if also_known is not None:
            known |= also_known.lookup(histories.item_ids)[histories.codes] >= 0
        unknown = np.flatnonzero(~known)
        if not len(unknown):
            return
        ids = histories.item_ids[np.unique(histories.codes[unknown])]
        row = int(np.searchsorted(histories.offsets, unknown[0], side="right")) - 1
        message = (
            f"X has {len(unknown)} events of {len(ids)} items that are not in "
            f"item_embeddings_, such as [{', '.join(map(shown, ids[:5]))}], the first at row {row}."
        )
        if self.unknown_item == "raise":
            raise ValueError(f"{message} Set unknown_item='ignore' to ignore them.")
        warn_caller(f"{message} They are ignored.")


def nothing_known(items: ItemEmbeddings, histories: Histories) -> str:
    """Return a message that no event is known, with an id from X and one of the items."""
    if not len(histories.codes):
        return "X has no events: all histories are empty."
    held = _kind(items.ids) if len(items) else "none"
    first = histories.item_ids[histories.codes[:1]]
    return (
        f"None of the {len(histories.codes)} events in X has a known item: the ids in X are "
        f"{_kind(first)}, those in item_embeddings {held}."
    )


def _looks_like_a_mistake(items: ItemEmbeddings, histories: Histories) -> bool:
    """Tell whether events of unknown items are of another type than the items, or are many."""
    same_type = is_text(histories.item_ids) == is_text(items.ids)
    return not same_type or len(histories.codes) >= _MANY_EVENTS


def _kind(ids: np.ndarray) -> str:
    """Describe ids by their type and the first of them."""
    return f"{'strings' if is_text(ids) else 'integers'} such as {shown(ids[0])}"


def _unit_vector(vector: Any, n_dims: int) -> np.ndarray:
    """Return a given fallback vector at length 1."""
    vector = np.asarray(vector, dtype=np.float64)
    if vector.shape != (n_dims,):
        raise ValueError(
            f"cold_start must be a vector with the {n_dims} dimensions of the item space, got "
            f"shape {vector.shape}."
        )
    norm = np.linalg.norm(vector)
    if not np.isfinite(norm) or norm == 0:
        raise ValueError(
            f"cold_start must be a finite vector other than zero, got one of length {norm}."
        )
    return (vector / norm).astype(np.float32)


def _plain(value: Any) -> Any:
    """Return a parameter such that equal settings have equal reprs: 1, 1.0, ``np.int64(1)``."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Real):
        return float(value) + 0.0  # -0.0 is 0.0
    if value is None:
        return None
    return tuple(_plain(one) for one in value)
