"""An index of item vectors: search in the space it was made for, and in no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skue.encoders._inside import find_encoder
from skue.histories._histories import Histories, flatten
from skue.items._answers import ids_of_rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._segments import kept_offsets
from skue.reading._ids import as_ids, is_text
from skue.serving._backends import BACKENDS, Limits
from skue.serving._ids import refuse_one_id

# Of the square of a length.
_UNIT_TOLERANCE = 2e-6
_LISTS = (Sequence, np.ndarray)


class SpaceMismatchError(ValueError):
    """User vectors met item vectors of another space.

    Parameters
    ----------
    given : str
        The space of the user vectors.
    expected : str
        The space of the items.

    Examples
    --------
    >>> from skue import SpaceMismatchError
    >>> str(SpaceMismatchError("shop-2", "shop-1"))[:57]
    "The user vectors are of space 'shop-2', the items of spac"
    """

    def __init__(self, given: str, expected: str) -> None:
        super().__init__(given, expected)
        self.given, self.expected = given, expected

    def __str__(self) -> str:
        return (
            f"The user vectors are of space {self.given!r}, the items of space {self.expected!r}: "
            "their cosines mean nothing. Export the index from the encoder that makes the "
            "vectors, or open the version that belongs to it."
        )


class VectorIndex:
    """Item vectors to search, as :func:`open_index` reads them. It never changes.

    Parameters
    ----------
    items : ItemEmbeddings
    backend : {"exact", "faiss", "hnswlib"}, default="exact"
    version : str, default=None
        Name of the version in its folder.
    encoder_id : str, default=None
        The encoder that the index was exported from.
    catalog_id : str, default=None
        By default that of the items.

    Attributes
    ----------
    items : ItemEmbeddings
    backend, version, encoder_id, space_id, catalog_id : str

    Examples
    --------
    >>> from skue import ItemEmbeddings
    >>> from skue.serving import VectorIndex
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"], space_id="shop")
    >>> ids, scores = VectorIndex(items).search([[1, 0]], 1, space_id="shop")
    >>> ids.tolist(), scores.tolist()
    ([['tea']], [[1.0]])
    """

    def __init__(
        self,
        items: ItemEmbeddings,
        *,
        backend: str = "exact",
        version: str | None = None,
        encoder_id: str | None = None,
        catalog_id: str | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {sorted(BACKENDS)}, got {backend!r}.")
        self.items, self.backend, self.version = items, backend, version
        self.encoder_id, self.space_id = encoder_id, items.space_id
        self.catalog_id = items.catalog_id if catalog_id is None else catalog_id
        self._backend = BACKENDS[backend](items.vectors)
        # Builds the look-up of ids, for which the first request with limits would wait.
        items.lookup(items.ids[:1])

    def search(
        self,
        user_vectors: Any,
        k: int = 10,
        *,
        space_id: str | None,
        exclude: Any = None,
        allow: Any = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the k nearest items of each user.

        Parameters
        ----------
        user_vectors : array-like of shape (n_users, n_dims)
            Brought to length 1, so that scores are cosines.
        k : int, default=10
        space_id : str or None
            The space of the user vectors: ``space_id_`` of their encoder. None skips the check.
        exclude : array-like of ids, Histories, or one sequence of ids a user, default=None
            Items that nobody, or that each user, must not get.
        allow : array-like of ids, Histories, or one sequence of ids a user, default=None
            The only items that anybody, or that each user, may get: what is in stock, say.

        Returns
        -------
        ids : ndarray of shape (n_users, k)
            Nearest first. Where fewer than k are left: -1, or "" for string ids.
        scores : ndarray of shape (n_users, k), float32
            Cosines; ``-inf`` where no item is left.

        Raises
        ------
        SpaceMismatchError
            For vectors of another space.
        ValueError
            For another number of dimensions, NaN, and ids of another type than the items'.
        """
        if space_id is not None and space_id != self.space_id:
            raise SpaceMismatchError(space_id, self.space_id)
        if not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
        users = self._checked(user_vectors)
        limits = self._limits(len(users), exclude, allow)
        rows, scores = self._backend.search(users, int(k), limits)
        if limits.leave_all and k <= len(self):
            return self.items.ids[rows], scores
        return ids_of_rows(self.items.ids, rows), scores

    def recommend(
        self,
        encoder: Any,
        X: Any,
        k: int = 10,
        *,
        exclude: Any = None,
        allow: Any = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode histories and search, after a look whether encoder and index share a space.

        Parameters
        ----------
        encoder : fitted encoder, or a Pipeline or ColumnTransformer around one
        X : any form that the encoder takes
        k : int, default=10
        exclude, allow : as for :meth:`search`, default=None

        Returns
        -------
        ids, scores : ndarray of shape (n_users, k)
        """
        space_id = find_encoder(encoder).space_id
        if space_id != self.space_id:
            raise SpaceMismatchError(space_id, self.space_id)
        return self.search(
            np.asarray(encoder.transform(X)), k, space_id=space_id, exclude=exclude, allow=allow
        )

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return (
            f"VectorIndex(n_items={len(self)}, n_dims={self.items.n_dims}, "
            f"space_id={self.space_id!r}, backend={self.backend!r})"
        )

    def _checked(self, user_vectors: Any) -> np.ndarray:
        users = np.asarray(user_vectors)
        if users.ndim != 2 or users.dtype.kind not in "iuf":
            raise ValueError(
                "user_vectors must be numbers of shape (n_users, n_dims), got "
                f"{users.dtype} of shape {users.shape}. Write one user as [vector]."
            )
        if users.shape[1] != self.items.n_dims:
            raise ValueError(
                f"user_vectors have {users.shape[1]} dimensions, the items of this index "
                f"{self.items.n_dims}."
            )
        if not (np.abs(np.vecdot(users, users) - 1) <= _UNIT_TOLERANCE).all():
            norms = np.linalg.norm(users.astype(np.float64), axis=1)
            if not np.isfinite(norms).all():
                row = int(np.flatnonzero(~np.isfinite(norms))[0])
                raise ValueError(f"user_vectors must be finite, row {row} holds NaN or infinity.")
            users = users / np.where(norms > 0, norms, 1)[:, None]
        return users.astype(np.float32, copy=False)

    def _limits(self, n_users: int, exclude: Any, allow: Any) -> Limits:
        shared, excluded, allowed = None, None, None
        if allow is not None:
            rows, offsets = self._rows(allow, "allow", n_users)
            if offsets is None:
                shared = np.zeros(len(self), dtype=bool)
                shared[rows] = True
            else:
                allowed = rows, offsets
        if exclude is not None:
            rows, offsets = self._rows(exclude, "exclude", n_users)
            if offsets is not None:
                excluded = rows, offsets
            elif len(rows):
                shared = np.ones(len(self), dtype=bool) if shared is None else shared
                shared[rows] = False
        return Limits(n_users, len(self), excluded, allowed, shared)

    def _rows(self, ids: Any, name: str, n_users: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return item rows, with offsets where there is one list a user."""
        offsets: np.ndarray | None = None
        if not isinstance(ids, Histories):
            refuse_one_id(ids, name)
        if not isinstance(ids, (Histories, list, tuple, np.ndarray)):
            ids = list(ids)
        if isinstance(ids, Histories):
            flat, offsets = ids.item_ids[ids.codes], ids.offsets
        elif len(ids) and not isinstance(ids[0], str) and isinstance(ids[0], _LISTS):
            flat, offsets = flatten(ids, name)
        else:
            flat = ids
        flat = as_ids(flat, name)
        if offsets is not None and len(offsets) - 1 != n_users:
            raise ValueError(
                f"{name} has lists for {len(offsets) - 1} users, user_vectors {n_users} rows."
            )
        if len(flat) and is_text(flat) != is_text(self.items.ids):
            raise ValueError(
                f"{name} holds ids of type {flat.dtype}, the items of this index have ids of type "
                f"{self.items.ids.dtype}."
            )
        rows = self.items.lookup(flat).astype(np.int64)
        known = rows >= 0
        if offsets is not None and not known.all():
            offsets = kept_offsets(offsets, known)
        return rows[known], offsets
