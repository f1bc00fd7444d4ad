"""What all encoders share: reading X, the item space, cold starts, what follows from vectors."""

from __future__ import annotations

import hashlib
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils import Bunch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, check_is_fitted

from skue._html import ItemSpaceCaption
from skue.encoders._cold_start import fallback_vector
from skue.encoders._events import Events
from skue.encoders._versions import restored, stamped
from skue.histories._histories import Histories
from skue.histories._targets import target_rows
from skue.histories._validation import validate_histories
from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._pooling import sums_by_user
from skue.kernels._ranking import expected_recall
from skue.kernels._segments import kept_offsets, offsets_of, positions_of_ranges
from skue.kernels._threads import spread
from skue.kernels._topk import top_k
from skue.reading._ids import is_text

# Users encoded at a time. A fixed number, so that results do not depend on n_jobs.
CHUNK_SIZE = 4096


class UserEncoder(
    ItemSpaceCaption, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Base of the encoders.

    A subclass says how events become vectors (``_encode_events``), learns what it needs in
    ``_learn``, and names in ``_output_parameters`` what, beside fitted arrays, its vectors
    depend on.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "item_embeddings": [None, ItemEmbeddings, HasMethods(["fit"]), "array-like"],
        "max_history": [None, Interval(Integral, 1, None, closed="left")],
        "cold_start": [StrOptions({"mean", "popular", "zero", "raise"}), "array-like"],
        "unknown_item": [StrOptions({"ignore", "warn", "raise"})],
        "n_jobs": [None, Integral],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = ("max_history",)
    # Whether chunks are shared among threads: not where BLAS has threads of its own.
    _threaded: ClassVar[bool] = False

    item_embeddings: Any
    max_history: int | None
    cold_start: Any
    unknown_item: str
    n_jobs: int | None

    @abstractmethod
    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """Return unit vectors (zero where undefined) and the mask of the defined ones."""

    def _learn(self, histories: Histories, y: Any) -> None:
        """Set ``item_embeddings_``, and what else the encoder learns."""
        self.item_embeddings_ = self._resolve_items(histories)

    def _fitted_arrays(self) -> list[np.ndarray]:
        """Arrays, beside the items and the fallback, that the vectors depend on."""
        return []

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> UserEncoder:
        """Learn the item space (unless given), the encoder's own part and the fallback.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,), default=None
            Ignored, unless the encoder says otherwise.

        Returns
        -------
        self : object
        """
        histories = validate_histories(self, X, reset=True)
        if y is not None:
            _check_same_length(histories, y)
        self._learn(histories, y)
        self._report_unknown(histories)
        self.fallback_vector_ = fallback_vector(self, histories)
        return self

    def transform(self, X: Any) -> Any:
        """Return one vector a user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads

        Returns
        -------
        user_vectors : ndarray of shape (n_users, n_dims), float32
            Rows of unit length (zero only with ``cold_start="zero"``). With pandas output a
            DataFrame, whose rows are indexed by ``user_ids`` when X is Histories that have them.
        """
        check_is_fitted(self, "fallback_vector_")
        histories = self._read(X)
        self._report_unknown(histories)
        vectors = self._with_fallback(*self._encode(histories))
        return self._indexed_by_user(vectors, X)

    def iter_transform(
        self, X: Any, *, chunk_size: int = 65_536
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the vectors of one stretch of users after another.

        For batches, and outputs, larger than memory: what :meth:`transform` would return need
        never be held at once.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            Memory-mapped, say, by ``Histories.load(folder, mmap=True)``.
        chunk_size : int, default=65536
            Number of users encoded at a time.

        Yields
        ------
        rows : slice
            The users.
        user_vectors : ndarray of shape (n_chunk_users, n_dims), float32
            Equal to these rows of ``transform(X)``, bit by bit.

        Examples
        --------
        >>> from skue import DecayAverageUserEncoder, ItemEmbeddings
        >>> encoder = DecayAverageUserEncoder(ItemEmbeddings([[1, 0], [0, 1]])).fit([[0]])
        >>> for rows, vectors in encoder.iter_transform([[0], [1], [0]], chunk_size=2):
        ...     print(rows.start, vectors.shape)
        0 (2, 2)
        2 (1, 2)
        """
        check_is_fitted(self, "fallback_vector_")
        if not isinstance(chunk_size, Integral) or chunk_size < 1:
            raise ValueError(f"chunk_size must be an integer of at least 1, got {chunk_size!r}.")
        histories = self._read(X)
        self._report_unknown(histories)
        return self._encoded_chunks(histories, int(chunk_size))

    def _encoded_chunks(
        self, histories: Histories, chunk_size: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(histories), chunk_size):
            rows = slice(start, min(start + chunk_size, len(histories)))
            yield rows, self._with_fallback(*self._encode(histories[rows]))

    def recommend(
        self, X: Any, k: int = 10, *, exclude_seen: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the k items nearest to each user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        k : int, default=10
        exclude_seen : bool, default=False
            Leave out the items of the user's history.

        Returns
        -------
        ids : ndarray of shape (n_users, k)
            Nearest first. Where fewer than k are left: -1, or "" for string ids.
        scores : ndarray of shape (n_users, k), float32
            Cosines; ``-inf`` where no item is left.
        """
        check_is_fitted(self, "fallback_vector_")
        if not isinstance(k, Integral) or k < 1:
            raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
        histories = self._read(X)
        self._report_unknown(histories)
        vectors = self._with_fallback(*self._encode(histories))
        excluded = None
        if exclude_seen:
            seen = self._events_of(histories, truncate=False)
            excluded = seen.rows, seen.offsets
        rows, scores = top_k(vectors, self.item_vectors_, int(k), excluded=excluded)
        return ids_of_rows(self.item_embeddings_.ids, rows), scores

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
        vectors = np.asarray(self.transform(X), dtype=np.float32)
        rows, offsets = target_rows(y, len(vectors), self.item_embeddings_.lookup)
        return expected_recall(vectors, self.item_vectors_, rows, offsets, k=20)

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
        check_is_fitted(self, "fallback_vector_")
        histories = self._read(X)
        known = self.item_embeddings_.rows_of(histories) >= 0
        weights = np.ones(len(known)) if histories.weights is None else np.abs(histories.weights)
        n_known = np.diff(kept_offsets(histories.offsets, known))
        self._report_unknown(histories)
        _, defined = self._encode(histories)
        status = np.full(len(histories), "cancelled", dtype="<U9")
        status[defined] = "encoded"
        status[n_known == 0] = "unknown"
        status[histories.lengths == 0] = "empty"
        total = sums_by_user(weights, histories.offsets)
        share = sums_by_user(weights * known, histories.offsets) / np.where(total > 0, total, 1)
        return Bunch(
            n_events=histories.lengths, n_known=n_known, known_weight_share=share, status=status
        )

    def _read(self, X: Any) -> Histories:
        return validate_histories(self, X, reset=False, vocabulary=self.item_embeddings_.vocabulary)

    @property
    def item_vectors_(self) -> np.ndarray:
        """Vectors of the items to search, ndarray of shape (n_items, n_dims)."""
        return self.item_embeddings_.vectors

    @property
    def space_id_(self) -> str:
        """Name of the space that user and item vectors share."""
        return self.item_embeddings_.space_id

    @property
    def encoder_id_(self) -> str:
        """Hash of all that the vectors depend on."""
        check_is_fitted(self, "fallback_vector_")
        parameters = {name: getattr(self, name) for name in self._output_parameters}
        items = self.item_embeddings_
        header = (type(self).__name__, sorted(parameters.items()), items.space_id, items.catalog_id)
        digest = hashlib.blake2b(repr(header).encode(), digest_size=8)
        for array in [self.fallback_vector_, *self._fitted_arrays()]:
            array = np.ascontiguousarray(array)
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    @property
    def _n_features_out(self) -> int:
        return self.item_embeddings_.n_dims

    def __getstate__(self) -> dict[str, Any]:
        return stamped(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(restored(type(self), state))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _resolve_items(self, histories: Histories) -> ItemEmbeddings:
        given = self.item_embeddings
        if given is None:
            given = self._default_embedder()
        if isinstance(given, ItemEmbeddings):
            return given
        if hasattr(given, "fit"):
            embedder = clone(given).fit(histories)
            if not hasattr(embedder, "item_embeddings_"):
                raise ValueError(
                    f"item_embeddings={given!r} has no item_embeddings_ after fit. Pass an "
                    "embedder such as CooccurrenceItemEmbedder, vectors, or ItemEmbeddings."
                )
            return embedder.item_embeddings_
        return ItemEmbeddings(given)

    def _default_embedder(self) -> Any:
        return CooccurrenceItemEmbedder()

    def _known_events(self, histories: Histories, *, truncate: bool = True) -> Events:
        """Return the events to encode, having said which items are unknown."""
        self._report_unknown(histories)
        return self._events_of(histories, truncate=truncate)

    def _events_of(self, histories: Histories, *, truncate: bool = True) -> Events:
        """Drop unknown items, then keep each user's newest ``max_history`` events."""
        rows = self.item_embeddings_.rows_of(histories)
        events = Events(rows, histories.offsets, histories.timestamps, histories.weights)
        if not self.item_embeddings_._row_map(histories.vocabulary)[1]:
            known = rows >= 0
            events = events.take(known, kept_offsets(histories.offsets, known))
        return self._truncated(events) if truncate else events

    def _truncated(self, events: Events) -> Events:
        if self.max_history is None:
            return events
        lengths = np.diff(events.offsets)
        if not len(lengths) or lengths.max() <= self.max_history:
            return events
        kept = np.minimum(lengths, self.max_history)
        return events.take(positions_of_ranges(events.offsets[1:] - kept, kept), offsets_of(kept))

    def _report_unknown(self, histories: Histories) -> None:
        if self.unknown_item == "ignore":
            return
        unknown = self.item_embeddings_.rows_of(histories) < 0
        if not unknown.any():
            return
        ids = histories.item_ids[np.unique(histories.codes[unknown])]
        event = int(np.flatnonzero(unknown)[0])
        row = int(np.searchsorted(histories.offsets, event, side="right")) - 1
        message = (
            f"X holds {int(unknown.sum())} events of {len(ids)} items that are not in "
            f"item_embeddings_, such as {ids[:5].tolist()}, the first at row {row}."
        )
        if self.unknown_item == "raise":
            raise ValueError(f"{message} Set unknown_item='ignore' to leave them out.")
        warnings.warn(f"{message} They are left out.", UserWarning, stacklevel=4)

    def _encode(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """Encode in chunks of users, spread over ``n_jobs``."""
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
            workers = Parallel(
                n_jobs=self.n_jobs,
                prefer="threads" if self._threaded else None,
                return_as="generator",
            )
            parts: Iterator[Any] = workers(
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

    def _with_fallback(self, vectors: np.ndarray, defined: np.ndarray) -> np.ndarray:
        if defined.all():
            return vectors
        if isinstance(self.cold_start, str) and self.cold_start == "raise":
            rows = np.flatnonzero(~defined)
            raise ValueError(
                f"{len(rows)} users have no known event that gives a direction: rows "
                f"{rows[:5].tolist()}. Set cold_start='mean' to give them a fallback vector."
            )
        vectors[~defined] = self.fallback_vector_
        return vectors

    def _indexed_by_user(self, vectors: np.ndarray, X: Any) -> Any:
        if not isinstance(X, Histories) or X.user_ids is None:
            return vectors
        if _dense_output(self) != "pandas":
            return vectors
        from skue._optional import import_optional

        return import_optional("pandas", "io").DataFrame(vectors, index=X.user_ids)


def ids_of_rows(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the id of each item row; -1 or "" stands for no item (row -1)."""
    missing: Any = "" if is_text(ids) else -1
    return np.where(rows < 0, missing, ids[np.maximum(rows, 0)])


def _dense_output(estimator: Any) -> str:
    """Return the container that ``set_output`` or the global configuration asks for."""
    from sklearn.utils._set_output import _get_output_config

    return _get_output_config("transform", estimator)["dense"]


def _check_same_length(histories: Histories, y: Any) -> None:
    n_targets = _num_samples(y)
    if n_targets != len(histories):
        raise ValueError(
            f"X and y must have one row a user each, got {len(histories)} in X and "
            f"{n_targets} in y."
        )
