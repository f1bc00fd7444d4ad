"""An index of item vectors: search in the space it was made for, and in no other."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.encoders._inside import find_encoder
from skue.items._answers import ids_of_rows
from skue.items._id_lists import limits_of_id_lists
from skue.items._item_embeddings import ItemEmbeddings
from skue.serving.index._backends import check_backend, make_backend

# Of the square of a length.
_UNIT_TOLERANCE = 2e-6


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
        ``"exact"`` compares every item. The others build an approximate index of that library and
        tune it: its effort (with faiss the number of cells that are read, with hnswlib the number
        of candidates that are kept) rises until the index finds the target recall among the 20
        nearest, on averages of 2 and of 8 random items, and then on other such averages. Where
        that takes as much work as exact search, as with small catalogues, search is exact. The
        same items always give the same index.
    target_recall : float, default=0.95
        The share of the exact 20 nearest items that an approximate index is to find, above 0 and
        at most 1.
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
    backend_info : dict
        What the backend does. ``method``: ``"exact"``, ``"cells"`` (faiss) or ``"graph"``
        (hnswlib). ``recall``: the share of the 20 nearest found on queries that tuning did not
        see; 1 where search is exact. Then the effort (``n_cells_read`` of ``n_cells``, or
        ``n_candidates``) and ``work``, the estimated share of the work of exact search; or
        ``reason``, which says why an approximate backend searches exactly.

    Notes
    -----
    Users who look in directions where no average of items lies find less than ``recall`` says:
    measure with your own users, see :func:`ann_recall`.

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
        target_recall: float = 0.95,
        version: str | None = None,
        encoder_id: str | None = None,
        catalog_id: str | None = None,
    ) -> None:
        check_backend(backend, target_recall)
        self.items, self.backend, self.version = items, backend, version
        self.encoder_id, self.space_id = encoder_id, items.space_id
        self.catalog_id = items.catalog_id if catalog_id is None else catalog_id
        self._backend = make_backend(backend, items.vectors, float(target_recall))
        self.backend_info = self._backend.info
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
        excluded, allowed = limits_of_id_lists(self.items, len(users), exclude=exclude, allow=allow)
        rows, scores = self._backend.search(users, int(k), excluded, allowed)
        if excluded is None and allowed is None and k <= len(self):
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
        found = ""
        if self.backend != "exact":
            info = self.backend_info
            found = f", method={info['method']!r}, recall={info['recall']:.3f}"
        return (
            f"VectorIndex(n_items={len(self)}, n_dims={self.items.n_dims}, "
            f"space_id={self.space_id!r}, backend={self.backend!r}{found})"
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
        if users.dtype not in (np.float32, np.float64):
            users = users.astype(np.float64)  # Squares of small types overflow or round.
        with np.errstate(over="ignore", invalid="ignore"):
            is_unit = np.abs(np.vecdot(users, users) - 1) <= _UNIT_TOLERANCE
        return (users if is_unit.all() else _unit_rows(users)).astype(np.float32, copy=False)


def _unit_rows(users: np.ndarray) -> np.ndarray:
    """Return rows of length 1; zero rows stay zero."""
    users = users.astype(np.float64)
    # Divided first, so that no square is too large or too small for a float.
    largest = np.abs(users).max(axis=1, initial=0.0)
    if not np.isfinite(largest).all():
        row = int(np.flatnonzero(~np.isfinite(largest))[0])
        raise ValueError(f"user_vectors must be finite, row {row} holds NaN or infinity.")
    users = users / np.where(largest > 0, largest, 1.0)[:, None]
    norms = np.linalg.norm(users, axis=1)
    return users / np.where(norms > 0, norms, 1.0)[:, None]
