"""Item embeddings: unit vectors with their ids."""

from __future__ import annotations

import hashlib
from numbers import Real
from os import PathLike
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from skue._estimator import check_positive_int
from skue._files import read_arrays, write_arrays
from skue.histories._vocabulary import Vocabulary, check_same_type
from skue.items._catalogue import Catalogue, as_item_ids, ids_of_rows
from skue.kernels._arrays import frozen
from skue.kernels._topk import top_k
from skue.kernels._unit_rows import aligned_rows, row_norms
from skue.reading._ids import as_ids, is_text, pack_text, shown
from skue.reading._numbers import numbers_of

_UNIT_TOLERANCE = 1e-6
_SPACE = ("space_id", "aligned_with", "agreement")
_SAVED = ("vectors", "ids", *_SPACE, "_learned_events")


class ItemEmbeddings(Catalogue):
    """Immutable unit-length item vectors with their ids.

    Rows have length 1, and the similarity of two items is the cosine of their vectors.
    ``sklearn.base.clone`` returns the object itself, so a grid search does not copy the vectors.

    Parameters
    ----------
    vectors : array-like or DataFrame of shape (n_items, n_dims)
        One vector per item, not zero; scaled to length 1. Read-only float32 unit rows (such as a
        memory map) are not copied.
    ids : array-like of shape (n_items,), default=None
        Distinct non-negative integers or non-empty strings. By default the index of a pandas
        DataFrame, otherwise the row numbers.
    space_id : str, default=None
        Name of the vector space. Only vectors of the same space can be compared. By default a
        hash of the content.
    aligned_with : str, default=None
        ``space_id`` of an earlier space that this one was rotated onto, so that user vectors of
        that space find almost what vectors of this space find.
    agreement : float, default=None
        How well both agree, from 0 to 1: for a sample of user vectors of the earlier space, the
        mean share of their 20 nearest items that is the same with the earlier item vectors and
        with these, among the items that both spaces hold.

    Attributes
    ----------
    vectors : ndarray of shape (n_items, n_dims), float32
        Rows of length 1, read-only.
    ids : ndarray of shape (n_items,), int64 or str
        Id of each row.
    space_id, aligned_with, agreement : as given
        The parameters; ``space_id`` is a hash of the content if none was given.
    catalog_id : str
        Hash of the ids and the vectors. Changes whenever an item changes.
    vocabulary : Vocabulary
        The ids, with lookup of their rows.

    Raises
    ------
    ValueError
        If ids are duplicated, vectors hold NaN, infinity or rows of zeros or are not 2-D, or
        lengths differ.

    Examples
    --------
    >>> from skue import ItemEmbeddings
    >>> items = ItemEmbeddings([[3, 4], [0, 2]], ids=["tea", "cup"])
    >>> items.vectors
    array([[0.6, 0.8],
           [0. , 1. ]], dtype=float32)
    >>> items.lookup(["cup", "pot"])
    array([ 1, -1], dtype=int32)
    """

    def __init__(
        self,
        vectors: Any,
        ids: Any = None,
        *,
        space_id: str | None = None,
        aligned_with: str | None = None,
        agreement: float | None = None,
    ) -> None:
        self.vectors = _as_unit_rows(vectors)
        super().__init__(Vocabulary(as_item_ids(ids, vectors, len(self.vectors), "vectors")))
        check_space(space_id, aligned_with, agreement)
        self._space_id = space_id
        self.aligned_with = aligned_with
        self.agreement = None if agreement is None else float(agreement)
        self._catalog_id: str | None = None
        # Name of the items while share_items holds them on the workers of a cluster.
        self._shared_as: str | None = None
        # A sample of the events that the vectors were learned from, if that is known.
        self._learned_events: np.ndarray | None = None

    @classmethod
    def from_keyed_vectors(
        cls, keyed_vectors: Any, *, space_id: str | None = None
    ) -> ItemEmbeddings:
        """Build from an object with ``vectors`` and ``index_to_key``, such as gensim's.

        Parameters
        ----------
        keyed_vectors : object
            Such as ``model.wv`` of gensim.
        space_id : str, default=None
            Name of the vector space; by default a hash of the content.

        Returns
        -------
        items : ItemEmbeddings

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> from skue import ItemEmbeddings
        >>> words = SimpleNamespace(vectors=[[1.0, 0.0]], index_to_key=["tea"])
        >>> ItemEmbeddings.from_keyed_vectors(words).ids
        array(['tea'], dtype=object)
        """
        for name in ("vectors", "index_to_key"):
            if not hasattr(keyed_vectors, name):
                raise ValueError(
                    f"keyed_vectors needs the attributes 'vectors' and 'index_to_key'; "
                    f"{type(keyed_vectors).__name__} has no {name!r}. Pass model.wv, not model."
                )
        return cls(keyed_vectors.vectors, list(keyed_vectors.index_to_key), space_id=space_id)

    @property
    def n_dims(self) -> int:
        """Length of a vector."""
        return self.vectors.shape[1]

    @property
    def space_id(self) -> str:
        return self.catalog_id if self._space_id is None else self._space_id

    @property
    def catalog_id(self) -> str:
        if self._catalog_id is None:
            digest = hashlib.blake2b(digest_size=8)
            kind = "text" if is_text(self.ids) else "i"
            digest.update(f"{self.vectors.shape} {kind} ".encode())
            for part in pack_text(self.ids) if is_text(self.ids) else (self.ids,):
                digest.update(part.tobytes())
            digest.update(self.vectors.data if self.vectors.size else b"")
            self._catalog_id = digest.hexdigest()
        return self._catalog_id

    def similar_items(self, ids: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Return the k items nearest to each of the given items.

        Parameters
        ----------
        ids : array-like of shape (n_ids,)
            Known items.
        k : int, default=10
            Number of neighbours of each.

        Returns
        -------
        similar_ids : ndarray of shape (n_ids, k)
            Nearest first, without the item itself. Filled with -1, or "" for string ids, if
            there are fewer than k other items.
        scores : ndarray of shape (n_ids, k), float32
            Cosines; ``-inf`` for missing items.

        Raises
        ------
        ValueError
            If an id is unknown.

        Examples
        --------
        >>> from skue import ItemEmbeddings
        >>> items = ItemEmbeddings([[1, 0], [0, 1], [1, 1]], ids=["tea", "cup", "pot"])
        >>> ids, scores = items.similar_items(["tea"], k=2)
        >>> ids.tolist(), scores.round(2).tolist()
        ([['pot', 'cup']], [[0.7099999785423279, 0.0]])
        """
        check_positive_int("k", k)
        if isinstance(ids, (str, bytes)) or not hasattr(ids, "__len__"):
            raise ValueError(
                f"ids must be a list of ids, got {shown(ids)}. Write one id as [{shown(ids)}]."
            )
        ids = as_ids(ids, "ids")
        rows = self.lookup(ids)
        unknown = ids[rows < 0]
        if len(unknown):
            held = f"has ids such as {shown(self.ids[0])}" if len(self) else "is empty"
            raise ValueError(
                f"ids holds {len(unknown)} unknown id(s): {', '.join(map(shown, unknown[:5]))}. "
                f"The catalogue {held}."
            )
        itself = rows.astype(np.int64), np.arange(len(rows) + 1)
        nearest, scores = top_k(self.vectors[rows], self.vectors, int(k), excluded=itself)
        return ids_of_rows(self.ids, nearest), scores

    def extend(self, vectors: Any, ids: Any) -> ItemEmbeddings:
        """Return a larger catalogue of the same space.

        Parameters
        ----------
        vectors : array-like of shape (n_new, n_dims)
            Vectors of the new items, in the same space.
        ids : array-like of shape (n_new,)
            Ids of the new items.

        Returns
        -------
        items : ItemEmbeddings
            With the same ``space_id`` and alignment, and another ``catalog_id``.

        Raises
        ------
        ValueError
            If vectors have another number of dimensions, or an id exists already.

        Examples
        --------
        >>> from skue import ItemEmbeddings
        >>> items = ItemEmbeddings([[1, 0]], ids=["tea"], space_id="shop-1")
        >>> items.extend([[0, 1]], ["cup"])
        ItemEmbeddings(n_items=2, n_dims=2, space_id='shop-1')
        """
        vectors = _as_unit_rows(vectors)
        ids = as_item_ids(ids, None, len(vectors), "vectors")
        if vectors.shape[1] != self.n_dims:
            raise ValueError(
                f"vectors must have the {self.n_dims} dimensions of the space, got "
                f"{vectors.shape[1]}."
            )
        check_same_type(ids, self.ids, "ids", "the catalogue has")
        items = ItemEmbeddings(
            np.concatenate([self.vectors, vectors]),
            np.concatenate([self.ids, ids]),
            **{name: getattr(self, name) for name in _SPACE},
        )
        items._learned_events = self._learned_events
        return items

    def save(self, path: str | PathLike[str]) -> None:
        """Write vectors and ids to an ``.npz`` file.

        The write is atomic: after a failure, an existing file is unchanged.

        Parameters
        ----------
        path : str or path
            Used as given, without adding a suffix. An existing file is replaced.
        """
        parts = {name: getattr(self, name) for name in _SAVED}
        held = {name: np.asarray(part) for name, part in parts.items() if part is not None}
        write_arrays(path, "ItemEmbeddings", held)

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Self:
        """Read a file written by :meth:`save`. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
            The file.
        mmap : bool, default=False
            Map the vectors from disk instead of reading them, so that processes share them. Do
            not change the file while the items are in use.

        Returns
        -------
        items : ItemEmbeddings

        Raises
        ------
        ValueError
            If the file is damaged, or was not written by ``save`` of this version of skue.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import ItemEmbeddings
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.npz"
        >>> ItemEmbeddings([[1, 0]], ids=["tea"]).save(path)
        >>> len(ItemEmbeddings.load(path))
        1
        """
        needed = {"vectors": 2, "ids": 1, "space_id": 0}
        optional = {"aligned_with": 0, "agreement": 0, "_learned_events": 1}
        parts = read_arrays(path, "ItemEmbeddings", needed, optional, mmap=mmap)
        try:
            space = {name: parts[name].item() for name in _SPACE if name in parts}
            items = cls(parts["vectors"], parts["ids"], **space)
            items._learned_events = parts.get("_learned_events")
            if items._learned_events is not None and items._learned_events.dtype != np.uint64:
                raise ValueError(f"_learned_events has dtype {items._learned_events.dtype}.")
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        return items

    def __sklearn_clone__(self) -> ItemEmbeddings:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._shared_as is not None:
            return shared, (self._shared_as,)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_shared_as": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.vectors.flags.writeable = False  # pickles do not keep this

    def __repr__(self) -> str:
        space = "" if self._space_id is None else f", space_id={self._space_id!r}"
        return f"ItemEmbeddings(n_items={len(self)}, n_dims={self.n_dims}{space})"


def _as_unit_rows(vectors: Any) -> np.ndarray:
    """Return C-contiguous, read-only float32 rows of length 1, or raise."""
    given = vectors
    if hasattr(vectors, "columns"):  # extension types of pandas become plain numbers
        given = numbers_of(vectors, "vectors")
    given = given.toarray() if sp.issparse(given) else np.asarray(given)
    if given.ndim != 2 or not given.shape[1]:
        raise ValueError(
            f"vectors must have shape (n_items, n_dims), got shape {given.shape}. Pass one row per "
            "item."
        )
    if given.dtype.kind not in "iuf":
        raise ValueError(f"vectors must be numbers, got dtype {given.dtype}.")
    if given.dtype != np.float32:
        given = given.astype(np.float64, copy=False)
    norms = row_norms(given, np.float64)
    for refused, what in ((~np.isfinite(norms), "NaN or infinity"), (norms == 0, "only zeros")):
        rows = np.flatnonzero(refused)
        if len(rows):
            raise ValueError(
                f"vectors must be finite and not zero, but {len(rows)} row(s) hold {what}: "
                f"rows {rows[:5].tolist()}. Drop these items, or give them a vector."
            )
    is_unit = given.dtype == np.float32 and (np.abs(norms - 1) <= _UNIT_TOLERANCE).all()
    if is_unit and given.flags.c_contiguous:
        if not given.flags.writeable:
            return frozen(given)
        norms = np.ones(len(given))
    unit = aligned_rows(given.shape)
    np.divide(given, norms[:, None], out=unit, casting="same_kind")
    unit.flags.writeable = False
    return unit


def check_space(space_id: Any, aligned_with: Any, agreement: Any) -> None:
    """Raise if the name of a space or its alignment is invalid."""
    for name, value in (("space_id", space_id), ("aligned_with", aligned_with)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} must be a string or None, got {value!r}.")
    if agreement is None:
        return
    if not isinstance(agreement, Real) or not 0 <= float(agreement) <= 1:
        raise ValueError(f"agreement must be a number from 0 to 1 or None, got {agreement!r}.")
    if aligned_with is None:
        raise ValueError(
            f"agreement={agreement!r} needs aligned_with: the space_id that it was measured with."
        )


shared_items: dict[str, Any] = {}


def shared(name: str) -> Any:
    """Return shared items by their name. Unpickling calls this."""
    if name not in shared_items:
        raise RuntimeError(
            f"The shared items {name!r} are not in this process. Unpickle inside the share_items "
            "block. To keep a pickle for later, make it outside of the block."
        )
    return shared_items[name]
