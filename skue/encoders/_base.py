"""The base class of the encoders: ``fit``, ``transform`` and the hooks of subclasses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from skue._html import ItemSpaceCaption
from skue.encoders._chunks import encode_histories, encoded_chunks
from skue.encoders._cold_start import ColdStart, fallback_vector, refuse_nothing_known
from skue.encoders._events import Events, known_events, new_items
from skue.encoders._output import indexed_by_user
from skue.encoders._recommender import RecommenderMixin, check_positive
from skue.encoders._unknown import UnknownItem, report_unknown
from skue.encoders._versions import encoder_id, restored, stamped
from skue.histories._atomic_fit import atomic_fit
from skue.histories._forms import validate_histories, with_checked_parameters
from skue.histories._histories import Histories
from skue.items._cooccurrence import item_space
from skue.items._item_embeddings import ItemEmbeddings


class UserEncoder(
    RecommenderMixin,
    ItemSpaceCaption,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base class of the encoders.

    A subclass implements ``_encode_events``, learns its fitted attributes in ``_learn``, and lists
    in ``_output_parameters`` the parameters that affect its vectors.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "item_embeddings": [None, ItemEmbeddings, HasMethods(["fit"]), "array-like"],
        "max_history": [None, Interval(Integral, 1, None, closed="left")],
        "cold_start": [StrOptions({"mean", "popular", "zero", "raise"}), "array-like"],
        "unknown_item": [StrOptions({"ignore", "warn", "raise"})],
        "n_jobs": [None, Integral],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = ("max_history",)
    # Whether threads share the chunks. False where BLAS uses threads itself.
    _threaded: ClassVar[bool] = False

    item_embeddings: Any
    max_history: int | None
    cold_start: ColdStart
    unknown_item: UnknownItem
    n_jobs: int | None

    item_embeddings_: ItemEmbeddings
    is_new_item_: NDArray[np.bool_]
    fallback_vector_: NDArray[np.float32]

    @abstractmethod
    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """Return unit vectors (zero where undefined) and the mask of the defined ones."""

    def _learn(self, histories: Histories, y: Any) -> None:
        """Set ``item_embeddings_``, ``is_new_item_`` and the other fitted attributes."""
        self.item_embeddings_ = item_space(self.item_embeddings, histories)
        self.is_new_item_ = new_items(self.item_embeddings_, histories)

    def _fitted_arrays(self) -> list[np.ndarray]:
        """Arrays that affect the vectors, other than the items and the fallback."""
        return []

    @with_checked_parameters
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the encoder.

        If ``fit`` fails or is interrupted, the encoder is left unchanged.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,), default=None
            Ignored, unless the encoder says otherwise.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If X has no event of a known item and ``cold_start`` is learned from events.
        """
        with atomic_fit(self):
            histories = validate_histories(self, X, reset=True)
            if y is not None:
                _check_same_length(histories, y)
            self._learn(histories, y)
            refuse_nothing_known(self, histories)
            report_unknown(self, histories)
            self.fallback_vector_ = fallback_vector(self, histories)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return one vector per user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads

        Returns
        -------
        user_vectors : ndarray of shape (n_users, n_dims), float32
            Rows of unit length (zero only with ``cold_start="zero"``). With pandas output, a
            DataFrame indexed by ``user_ids`` if X is Histories with user ids.
        """
        return indexed_by_user(self, self._vectors_of(self._read(X)), X)

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
        check_positive("chunk_size", chunk_size)
        histories = self._read(X)
        return encoded_chunks(self, histories, int(chunk_size))

    @property
    def item_vectors_(self) -> NDArray[np.float32]:
        """Item vectors to search, ndarray of shape (n_items, n_dims)."""
        return self.item_embeddings_.vectors

    @property
    def space_id_(self) -> str:
        """Name of the space of the user and item vectors."""
        return self.item_embeddings_.space_id

    @property
    def encoder_id_(self) -> str:
        """Hash of everything that affects the vectors."""
        check_is_fitted(self, "fallback_vector_")
        return encoder_id(self)

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

    def _read(self, X: Any) -> Histories:
        """Validate X, and report items that are unknown."""
        check_is_fitted(self, "fallback_vector_")
        vocabulary = self.item_embeddings_.vocabulary
        histories = validate_histories(self, X, reset=False, vocabulary=vocabulary)
        report_unknown(self, histories)
        return histories

    def _events_of(self, histories: Histories, *, truncate: bool = True) -> Events:
        """Drop events of unknown items, then keep the newest ``max_history`` per user."""
        max_history = self.max_history if truncate else None
        return known_events(self.item_embeddings_, histories, max_history)

    def _vectors_of(self, histories: Histories) -> np.ndarray:
        """Encode histories; users without a direction get the fallback."""
        return self._with_fallback(*encode_histories(self, histories))

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


def _check_same_length(histories: Histories, y: Any) -> None:
    n_targets = _num_samples(y)
    if n_targets != len(histories):
        raise ValueError(
            f"X and y must have one row per user, got {len(histories)} rows in X and "
            f"{n_targets} in y."
        )
