"""The space of items: unit vectors, each with its id."""

from __future__ import annotations

import hashlib
import os
import weakref
from typing import Any

import numpy as np

from skue.histories._histories import Histories
from skue.histories._npz import read_arrays, write_arrays
from skue.histories._vocabulary import Vocabulary
from skue.items._similar import similar_items
from skue.kernels._read_only import frozen
from skue.reading._ids import as_ids, is_text, pack_text, shown

_SCHEMA = 2
_UNIT_TOLERANCE = 1e-6
_CACHE_LINE = 64

# Items that a cluster's workers hold, by the name under which they travel (see share_items).
shared_items: dict[str, ItemEmbeddings] = {}


class ItemEmbeddings:
    """Immutable unit-length item vectors with their ids.

    One normalisation and one similarity hold everywhere: rows have length 1, and similarity is
    their cosine. Cloning returns the object itself, so a search over a million items copies
    nothing.

    Parameters
    ----------
    vectors : array-like of shape (n_items, n_dims)
        One vector an item; any length but zero. Read-only float32 unit rows (a memory map, say)
        are kept as they are, anything else is copied.
    ids : array-like of shape (n_items,), default=None
        Distinct integers (not negative) or strings (not empty). By default the row numbers.
    space_id : str, default=None
        Name of the geometry. Vectors may be compared only within one space. By default a hash
        of the content.

    Attributes
    ----------
    vectors : ndarray of shape (n_items, n_dims), float32
    ids : ndarray of shape (n_items,), int64 or str
    space_id : str
    catalog_id : str
        Hash of the ids and the vectors: changes whenever an item does.
    vocabulary : Vocabulary
        The ids with their look-up.

    Raises
    ------
    ValueError
        For duplicate ids, NaN, zero rows, another rank than two or lengths that disagree,
        naming the first few.

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

    def __init__(self, vectors: Any, ids: Any = None, *, space_id: str | None = None) -> None:
        vectors = _unit_rows(vectors)
        ids = np.arange(len(vectors)) if ids is None else as_ids(ids, "ids")
        if len(ids) != len(vectors):
            raise ValueError(
                f"ids and vectors must agree, got {len(ids)} and {len(vectors)}. Give each row of "
                "vectors one id."
            )
        refused = np.flatnonzero(ids == "" if is_text(ids) else ids < 0)
        if len(refused):
            raise ValueError(
                f"ids must not be negative or empty, got {shown(ids[refused[0]])} at row "
                f"{refused[0]}: these stand for padding and for missing recommendations. Use "
                "other ids."
            )
        if space_id is not None and not isinstance(space_id, str):
            raise ValueError(f"space_id must be a string or None, got {space_id!r}.")
        self._set(vectors, Vocabulary(ids), space_id)

    def _set(self, vectors: np.ndarray, vocabulary: Vocabulary, space_id: str | None) -> None:
        self.vectors = vectors
        self.vectors.flags.writeable = False
        self.vocabulary = vocabulary
        self._space_id = space_id
        self._catalog_id: str | None = None
        self._shared_as: str | None = None
        self._rows_by_vocabulary: Any = weakref.WeakKeyDictionary()

    @classmethod
    def from_keyed_vectors(
        cls, keyed_vectors: Any, *, space_id: str | None = None
    ) -> ItemEmbeddings:
        """Take vectors and ids from an object with ``vectors`` and ``index_to_key``, as gensim's.

        Parameters
        ----------
        keyed_vectors : object
        space_id : str, default=None

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
    def ids(self) -> np.ndarray:
        return self.vocabulary.ids

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

    def lookup(self, ids: Any) -> np.ndarray:
        """Return the row of each id, -1 where it is unknown.

        Parameters
        ----------
        ids : array-like of shape (n_ids,)

        Returns
        -------
        rows : ndarray of shape (n_ids,), int32
        """
        return self.vocabulary.lookup(ids)

    def rows_of(self, histories: Histories) -> np.ndarray:
        """Return the row of every event's item, -1 where it is unknown.

        The map from the batch's ``item_ids`` is kept, so that slices of one batch look them up
        once.

        Parameters
        ----------
        histories : Histories

        Returns
        -------
        rows : ndarray of shape (n_events,), int32
        """
        rows, _ = self._row_map(histories.vocabulary)
        return histories.codes if rows is None else rows[histories.codes]

    def _row_map(self, vocabulary: Vocabulary) -> tuple[np.ndarray | None, bool]:
        """Return the row of each id of a vocabulary, and whether all are known.

        None stands for the rows 0, 1, ... themselves.
        """
        if vocabulary is self.vocabulary:
            return None, True
        known = self._rows_by_vocabulary.get(vocabulary)
        if known is None:
            rows = self.lookup(vocabulary.ids)
            n_ids = len(rows)
            # The last one first: a look that most other maps fail, and that costs nothing.
            same = n_ids and rows[-1] == n_ids - 1 and np.array_equal(rows, np.arange(n_ids))
            known = (None if same else rows), not n_ids or bool(rows.min() >= 0)
            self._rows_by_vocabulary[vocabulary] = known
        return known

    def similar_items(self, ids: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Return the k items nearest to each of some items.

        Parameters
        ----------
        ids : array-like of shape (n_ids,)
        k : int, default=10

        Returns
        -------
        similar_ids : ndarray of shape (n_ids, k)
            Nearest first, without the item itself. Where there are fewer than k others: -1, or
            "" for string ids.
        scores : ndarray of shape (n_ids, k), float32
            Cosines; ``-inf`` where no item is left.

        Raises
        ------
        ValueError
            For ids that no item has, naming the first few.

        Examples
        --------
        >>> from skue import ItemEmbeddings
        >>> items = ItemEmbeddings([[1, 0], [0, 1], [1, 1]], ids=["tea", "cup", "pot"])
        >>> ids, scores = items.similar_items(["tea"], k=2)
        >>> ids.tolist(), scores.round(2).tolist()
        ([['pot', 'cup']], [[0.7099999785423279, 0.0]])
        """
        return similar_items(self, ids, k)

    def extend(self, vectors: Any, ids: Any) -> ItemEmbeddings:
        """Return a larger catalogue of the same space.

        Parameters
        ----------
        vectors : array-like of shape (n_new, n_dims)
        ids : array-like of shape (n_new,)

        Returns
        -------
        items : ItemEmbeddings
            Same ``space_id``, another ``catalog_id``.

        Raises
        ------
        ValueError
            For vectors of another width and ids that are there already.

        Examples
        --------
        >>> from skue import ItemEmbeddings
        >>> items = ItemEmbeddings([[1, 0]], ids=["tea"], space_id="shop-1")
        >>> items.extend([[0, 1]], ["cup"])
        ItemEmbeddings(n_items=2, n_dims=2, space_id='shop-1')
        """
        vectors = _unit_rows(vectors)
        ids = as_ids(ids, "ids")
        if vectors.shape[1] != self.n_dims:
            raise ValueError(
                f"vectors must have the {self.n_dims} dimensions of the space, got "
                f"{vectors.shape[1]}."
            )
        if is_text(ids) != is_text(self.ids) and len(self) and len(ids):
            raise ValueError(
                f"ids must be of one type, got {shown(ids[0])}, but the catalogue has "
                f"{shown(self.ids[0])}. Turn all ids into integers, or all into strings."
            )
        return ItemEmbeddings(
            np.concatenate([self.vectors, vectors]),
            np.concatenate([self.ids, ids]),
            space_id=self.space_id,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vectors and ids to an ``.npz`` file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Written as named; an existing file is replaced.
        """
        write_arrays(
            path,
            {
                "schema": np.array(_SCHEMA),
                "vectors": self.vectors,
                "ids": self.ids,
                "space_id": np.array(self.space_id),
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> ItemEmbeddings:
        """Read what :meth:`save` wrote. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
        mmap : bool, default=False
            Leave the vectors on disk, to be read where they are used; processes share them. Do
            not change the file as long as the items live.

        Returns
        -------
        items : ItemEmbeddings

        Raises
        ------
        ValueError
            For a file that is damaged, of another kind or of a newer schema.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import ItemEmbeddings
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.npz"
        >>> ItemEmbeddings([[1, 0]], ids=["tea"]).save(path)
        >>> len(ItemEmbeddings.load(path))
        1
        """
        parts = read_arrays(path, mmap=mmap)
        missing = {"schema", "vectors", "ids", "space_id"} - set(parts)
        if missing:
            raise ValueError(f"{path} lacks {sorted(missing)}; save it with ItemEmbeddings.save.")
        if int(parts["schema"]) > _SCHEMA:
            raise ValueError(
                f"{path} has schema {int(parts['schema'])}, this skue reads up to {_SCHEMA}. "
                "Upgrade skue."
            )
        return cls(parts["vectors"], parts["ids"], space_id=str(parts["space_id"]))

    def __len__(self) -> int:
        return len(self.vectors)

    def __sklearn_clone__(self) -> ItemEmbeddings:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._shared_as is not None:
            return _shared, (self._shared_as,)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "vectors": self.vectors,
            "vocabulary": self.vocabulary,
            "space_id": self._space_id,
            "catalog_id": self._catalog_id,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state["vectors"], state["vocabulary"], state["space_id"])
        self._catalog_id = state["catalog_id"]

    def __repr__(self) -> str:
        space = "" if self._space_id is None else f", space_id={self._space_id!r}"
        return f"ItemEmbeddings(n_items={len(self)}, n_dims={self.n_dims}{space})"


def _shared(name: str) -> ItemEmbeddings:
    if name not in shared_items:
        raise RuntimeError(
            f"The shared items {name!r} are not in this process. Unpickle inside the share_items "
            "block, and pickle what is to be kept outside of it."
        )
    return shared_items[name]


def _unit_rows(vectors: Any) -> np.ndarray:
    """Return C-contiguous float32 rows of length 1, or say which row has none."""
    given = np.asarray(vectors)
    if given.ndim != 2 or not given.shape[1]:
        raise ValueError(
            f"vectors must have shape (n_items, n_dims), got shape {given.shape}. Pass one row an "
            "item."
        )
    if given.dtype.kind not in "iuf":
        raise ValueError(f"vectors must be numbers, got dtype {given.dtype}.")
    norms = np.sqrt(np.einsum("ij,ij->i", given, given, dtype=np.float64))
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
    unit = _aligned_rows(given.shape)
    np.divide(given, norms[:, None], out=unit, casting="same_kind")
    return unit


def _aligned_rows(shape: tuple[int, ...]) -> np.ndarray:
    """Return room for float32 rows from the start of a cache line on: each touches fewer lines."""
    n_bytes = 4 * int(np.prod(shape))
    room = np.empty(n_bytes + _CACHE_LINE, dtype=np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + n_bytes].view(np.float32).reshape(shape)
