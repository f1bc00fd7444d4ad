"""Item embeddings: unit vectors with their ids."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from skue.histories._vocabulary import Vocabulary
from skue.items._answers import similar_items
from skue.items._catalogue import Catalogue
from skue.items._checks import as_item_ids, as_more_items, as_unit_rows, check_space, ids_or_index
from skue.items._files import SPACE, SavedInFiles
from skue.items._shared import shared
from skue.reading._ids import is_text, pack_text


class ItemEmbeddings(Catalogue, SavedInFiles):
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
    ids : ndarray of shape (n_items,), int64 or str
    space_id, aligned_with, agreement : as given
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
        ids = ids_or_index(ids, vectors)
        vectors = as_unit_rows(vectors)
        ids = as_item_ids(ids, len(vectors))
        check_space(space_id, aligned_with, agreement)
        self._set(vectors, Vocabulary(ids), space_id, aligned_with, agreement)

    def _set(
        self,
        vectors: np.ndarray,
        vocabulary: Vocabulary,
        space_id: str | None,
        aligned_with: str | None,
        agreement: float | None,
    ) -> None:
        self.vectors = vectors
        self.vectors.flags.writeable = False
        self.vocabulary = vocabulary
        self._space_id = space_id
        self.aligned_with = aligned_with
        self.agreement = None if agreement is None else float(agreement)
        self._catalog_id: str | None = None
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
        k : int, default=10

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
        return similar_items(self.vectors, self.vocabulary, ids, k)

    def extend(self, vectors: Any, ids: Any) -> ItemEmbeddings:
        """Return a larger catalogue of the same space.

        Parameters
        ----------
        vectors : array-like of shape (n_new, n_dims)
        ids : array-like of shape (n_new,)

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
        vectors, ids = as_more_items(vectors, ids, self.n_dims, self.ids)
        space = {name: getattr(self, name) for name in SPACE}
        vectors = np.concatenate([self.vectors, vectors])
        items = ItemEmbeddings(vectors, np.concatenate([self.ids, ids]), **space)
        items._learned_events = self._learned_events
        return items

    def __sklearn_clone__(self) -> ItemEmbeddings:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._shared_as is not None:
            return shared, (self._shared_as,)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "vectors": self.vectors,
            "vocabulary": self.vocabulary,
            "space_id": self._space_id,
            "catalog_id": self._catalog_id,
            "alignment": (self.aligned_with, self.agreement),
            "learned_events": self._learned_events,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        alignment = state.get("alignment", (None, None))  # pickles of 0.1 have none
        self._set(state["vectors"], state["vocabulary"], state["space_id"], *alignment)
        self._catalog_id = state["catalog_id"]
        self._learned_events = state.get("learned_events")

    def __repr__(self) -> str:
        space = "" if self._space_id is None else f", space_id={self._space_id!r}"
        return f"ItemEmbeddings(n_items={len(self)}, n_dims={self.n_dims}{space})"
