"""The base class of the encoders: ``fit``, ``transform`` and the hooks of subclasses."""

from __future__ import annotations

import hashlib
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, overload

import numpy as np
import sklearn
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Bunch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, check_is_fitted

from skue._estimator import ItemSpaceCaption, atomic_fit, warn_caller
from skue._version import __version__
from skue.encoders._events import Events, known_events, new_items
from skue.histories._forms import validate_histories, with_checked_parameters
from skue.histories._histories import Histories
from skue.histories._targets import target_rows
from skue.items._embedders import item_space
from skue.items._id_lists import Rows, limits_of_id_lists
from skue.items._item_embeddings import ItemEmbeddings, frame_of_answers, ids_of_rows
from skue.items._item_features import ItemFeatures
from skue.kernels._arrays import kept_offsets
from skue.kernels._pooling import sums_by_user
from skue.kernels._threads import spread
from skue.kernels._ties import expected_recall
from skue.kernels._topk import top_k
from skue.reading._ids import is_text, shown


def indexed_by_user(encoder: Any, vectors: np.ndarray, X: Any) -> Any:
    """Return a DataFrame indexed by ``user_ids`` if pandas output is set and X has user ids."""
    if not isinstance(X, Histories) or X.user_ids is None:
        return vectors
    if dense_output(encoder) != "pandas":
        return vectors
    from skue._estimator import import_optional

    pandas = import_optional("pandas", "io")
    return pandas.DataFrame(vectors, index=pandas.Index(X.user_ids, dtype=X.user_ids.dtype))


def users_of(X: Any, histories: Histories) -> np.ndarray | None:
    """Return the user ids, or the index of a Series or DataFrame, or None."""
    if histories.user_ids is not None:
        return histories.user_ids
    index = getattr(X, "index", None)
    return np.asarray(index) if hasattr(index, "to_numpy") else None


def dense_output(estimator: Any) -> str:
    """Return the container that ``set_output`` or the global configuration asks for."""
    from sklearn.utils._set_output import _get_output_config

    return _get_output_config("transform", estimator)["dense"]


UnknownItem: TypeAlias = Literal["ignore", "warn", "raise"]

# With fewer events than this, a few new users with new items are a likely explanation.
_MANY_EVENTS = 30
_FEW_USERS = 100


def report_unknown(
    encoder: Any, histories: Histories, *, also_known: ItemFeatures | None = None
) -> None:
    """Raise or warn, as ``unknown_item`` says, about events of unknown items.

    With ``unknown_item="ignore"`` there is a warning only if no event is known and this looks like
    a mistake: the ids have another type than those of the items, or there are at least 30 events.
    Items of ``also_known`` are known, too.
    """
    items = encoder.item_embeddings_
    if not len(histories.codes) or items.vocabulary.map_of(histories.vocabulary)[1]:
        return
    ignored = encoder.unknown_item == "ignore"
    if ignored and (items.rows_of(histories[:_FEW_USERS]) >= 0).any():
        return  # the usual case, found without reading all events
    known = items.rows_of(histories) >= 0
    if ignored:
        if not known.any():
            _warn_of_nothing_known(items, histories)
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
    if encoder.unknown_item == "raise":
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


def _warn_of_nothing_known(items: ItemEmbeddings, histories: Histories) -> None:
    same_type = is_text(histories.item_ids) == is_text(items.ids)
    if same_type and len(histories.codes) < _MANY_EVENTS:
        return
    way_out = "Pass the same ids as in item_embeddings"
    if not same_type:
        way_out += ", with the same type"
    warn_caller(
        f"{nothing_known(items, histories)} Every user gets the fallback vector. {way_out}."
    )


def _kind(ids: np.ndarray) -> str:
    """Describe ids by their type and the first of them."""
    return f"{'strings' if is_text(ids) else 'integers'} such as {shown(ids[0])}"


# Incremented when fitted attributes change in a way that an older skue cannot read.
_LAYOUT = 2
_STAMP = "_skue_pickle"


def stamped(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an estimator with the versions of skue and scikit-learn."""
    versions = {"skue": __version__, "scikit-learn": sklearn.__version__, "layout": _LAYOUT}
    return {**state, _STAMP: versions}


def restored(cls: type, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state that this version can use, or raise.

    Encoders contain no scikit-learn objects, so the version of scikit-learn does not matter.
    Parameters that are missing in the pickle get their defaults.
    """
    state = dict(state)
    versions = state.pop(_STAMP, {"skue": "0.1.0", "layout": 1})
    if versions["layout"] > _LAYOUT:
        raise ValueError(
            f"This {cls.__name__} was pickled by skue {versions['skue']} (with scikit-learn "
            f"{versions.get('scikit-learn')}) in layout {versions['layout']}; this is skue "
            f"{__version__}, which reads up to layout {_LAYOUT}. Install skue "
            f"{versions['skue']} or newer, or fit the encoder again with this version."
        )
    if versions["layout"] < 2 and "parameters_" in state:  # the weights of a single user tower
        state["parameters_"] = [state["parameters_"]]
    if "parameters_" in state:
        state.setdefault("interrupted_", False)
        state.setdefault("user_map_", None)
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in state and parameter.default is not inspect.Parameter.empty:
            state[name] = parameter.default
    return state


def encoder_id(encoder: Any) -> str:
    """Return the hash of an encoder's class, parameters, items and fitted arrays."""
    parameters = [(name, _plain(getattr(encoder, name))) for name in encoder._output_parameters]
    items = encoder.item_embeddings_
    header = (type(encoder).__name__, sorted(parameters), items.space_id, items.catalog_id)
    digest = hashlib.blake2b(repr(header).encode(), digest_size=8)
    for array in [encoder.fallback_vector_, *encoder._fitted_arrays()]:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Return a parameter such that equal settings have equal reprs: 1, 1.0, ``np.int64(1)``."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Real):
        return float(value) + 0.0  # -0.0 is 0.0
    if value is None:
        return None
    return tuple(_plain(one) for one in value)


# Number of users encoded at a time. It is fixed, and the same users are always encoded together, so
# that results do not depend on n_jobs or on the chunk size of a caller.
CHUNK_SIZE = 4096


def encode_histories(encoder: Any, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors (zero where undefined) and the mask of the defined ones."""
    n_users = len(histories)
    if n_users <= CHUNK_SIZE:
        return encoder._encode_events(encoder._events_of(histories))
    vectors = np.empty((n_users, encoder.item_embeddings_.n_dims), dtype=np.float32)
    defined = np.empty(n_users, dtype=bool)
    chunks = [slice(start, start + CHUNK_SIZE) for start in range(0, n_users, CHUNK_SIZE)]

    def encode(users: slice) -> None:
        events = encoder._events_of(histories[users])
        vectors[users], defined[users] = encoder._encode_events(events)

    if effective_n_jobs(encoder.n_jobs) > 1:
        parts = _workers(encoder)(
            delayed(encoder._encode_events)(encoder._events_of(histories[users]))
            for users in chunks
        )
        for users, part in zip(chunks, parts, strict=True):
            vectors[users], defined[users] = part
    elif encoder._threaded:
        spread(encode, chunks)
    else:
        for users in chunks:
            encode(users)
    return vectors, defined


def encoded_chunks(
    encoder: Any, histories: Histories, chunk_size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the vectors of ``chunk_size`` users at a time, with their rows.

    Users are encoded in the same chunks as in the whole batch, and the result is cut.
    """
    n_users, start = len(histories), 0
    n_together = -(-chunk_size // CHUNK_SIZE) * CHUNK_SIZE
    waiting = np.empty((0, encoder.item_embeddings_.n_dims), dtype=np.float32)
    for first in range(0, n_users, n_together):
        encoded = encode_histories(encoder, histories[first : first + n_together])
        vectors = encoder._with_fallback(*encoded, first_row=first)
        waiting = np.concatenate([waiting, vectors]) if len(waiting) else vectors
        is_last = first + n_together >= n_users
        while len(waiting) >= chunk_size or (is_last and len(waiting)):
            chunk, waiting = waiting[:chunk_size], waiting[chunk_size:]
            yield slice(start, start + len(chunk)), chunk
            start += len(chunk)


def _workers(encoder: Any) -> Parallel:
    """Return joblib's workers; results come one by one if the backend can do that."""
    options = {"n_jobs": encoder.n_jobs, "prefer": "threads" if encoder._threaded else None}
    try:
        return Parallel(**options, return_as="generator")
    except ValueError:  # joblib's multiprocessing backend returns all results at once
        return Parallel(**options)


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


ColdStart: TypeAlias = Literal["mean", "popular", "zero", "raise"] | ArrayLike

# Number of users encoded at a time, to bound the memory.
_STRETCH = 65_536


def refuse_nothing_known(encoder: Any, histories: Histories) -> None:
    """Raise if no event is known and ``cold_start`` has to be learned from events."""
    cold_start, items = encoder.cold_start, encoder.item_embeddings_
    if not isinstance(cold_start, str) or cold_start == "zero":
        return
    if not (items.rows_of(histories) >= 0).any():
        raise ValueError(
            f"{nothing_known(items, histories)} cold_start={cold_start!r} cannot be learned from "
            "them. Pass histories with items of item_embeddings, or set cold_start='zero' or a "
            "vector."
        )


def fallback_vector(encoder: Any, histories: Histories) -> np.ndarray:
    """Return the fallback vector that ``cold_start`` asks for, learned from these histories.

    Returns
    -------
    vector : ndarray of shape (n_dims,), float32
        Of length 1, or zeros.

    Raises
    ------
    ValueError
        If a given vector has the wrong shape, is not finite or is zero.
    """
    cold_start, items = encoder.cold_start, encoder.item_vectors_
    if not isinstance(cold_start, str):
        return _unit_fallback(cold_start, items.shape[1])
    if cold_start == "zero":
        return np.zeros(items.shape[1], dtype=np.float32)
    # If a sum cancels out, the next one replaces it.
    sums: list[Callable[[], np.ndarray]] = [
        lambda: _sum_of_items(encoder, histories),
        lambda: items[0].astype(np.float64),
    ]
    if cold_start != "popular":
        sums.insert(0, lambda: _sum_of_vectors(encoder, histories))
    vector = next(v for v in (total() for total in sums) if np.linalg.norm(v) > 1e-6)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _sum_of_vectors(encoder: Any, histories: Histories) -> np.ndarray:
    total = np.zeros(encoder.item_vectors_.shape[1])
    for users in _stretches(len(histories)):
        vectors, defined = encode_histories(encoder, histories[users])
        total += vectors[defined].sum(axis=0, dtype=np.float64)
    return total


def _sum_of_items(encoder: Any, histories: Histories) -> np.ndarray:
    counts = np.zeros(len(encoder.item_vectors_), dtype=np.int64)
    for users in _stretches(len(histories)):
        counts += np.bincount(encoder._events_of(histories[users]).rows, minlength=len(counts))
    return counts @ encoder.item_vectors_.astype(np.float64)


def _stretches(n_users: int) -> Iterator[slice]:
    return (slice(start, start + _STRETCH) for start in range(0, n_users, _STRETCH))


def _unit_fallback(vector: Any, n_dims: int) -> np.ndarray:
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
