"""The index of item vectors: search in its own space only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from skue._estimator import check_positive_int
from skue.encoders._pipelines import find_encoder
from skue.items._catalogue import ids_of_rows
from skue.items._id_lists import limits_of_id_lists
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._unit_rows import unit_rows
from skue.serving._backends import Backend, check_backend
from skue.serving._loading import labels_of
from skue.serving._versions import list_versions, read_current, read_version, write_version

# How far from 1 the squared length of a unit vector may be.
_UNIT_TOLERANCE = 2e-6


class SpaceMismatchError(ValueError):
    """User vectors and item vectors are of different spaces.

    Parameters
    ----------
    given : str
        The space of the user vectors.
    expected : str
        The space of the items.
    aligned_with : str, default=None
        The earlier space that the items are aligned with.

    Examples
    --------
    >>> from skue import SpaceMismatchError
    >>> str(SpaceMismatchError("shop-2", "shop-1"))[:57]
    "The user vectors are of space 'shop-2', but the items are"
    """

    def __init__(self, given: str, expected: str, aligned_with: str | None = None) -> None:
        super().__init__(given, expected, aligned_with)
        self.given, self.expected, self.aligned_with = given, expected, aligned_with

    def __str__(self) -> str:
        both = (
            f"The user vectors are of space {self.given!r}, but the items are of space "
            f"{self.expected!r}"
        )
        if self.given == self.aligned_with:
            return (
                f"{both}, which is aligned with it: their cosines are approximate. Set "
                "accept='aligned' to use them until the users are encoded again, or open the "
                "version that belongs to the user vectors."
            )
        return (
            f"{both}: their cosines are meaningless. Export the index from the encoder "
            "of the user vectors, or open the version that belongs to it."
        )


def check_space_of_users(space_id: str, items: ItemEmbeddings, accept: str) -> None:
    """Raise unless the items are of this space, or aligned with it if that is accepted.

    Parameters
    ----------
    space_id : str
        The space of the user vectors.
    items : ItemEmbeddings
    accept : {"same", "aligned"}
    """
    if space_id == items.space_id or (accept == "aligned" and space_id == items.aligned_with):
        return
    raise SpaceMismatchError(space_id, items.space_id, items.aligned_with)


def check_accept(accept: Any) -> None:
    if not isinstance(accept, str) or accept not in ("same", "aligned"):
        raise ValueError(f"accept must be 'same' or 'aligned', got {accept!r}.")


class VectorIndex:
    """An immutable index of item vectors, as :func:`open_index` returns it.

    Parameters
    ----------
    items : ItemEmbeddings
        The items to search.
    backend : {"exact", "faiss", "hnswlib"}, default="exact"
        ``"exact"`` compares every item. The others build an approximate index of that library and
        tune its effort: with faiss the number of cells that are read, with hnswlib the number of
        candidates that are kept. The effort is raised until the index reaches the target recall
        among the 20 nearest items, for averages of 2 and of 8 random items. The result is
        verified on other such averages. If exact search would be as fast, as with few items, it
        is used instead. The same items always give the same index.
    target_recall : float, default=0.95
        The share of the exact 20 nearest items that an approximate index should find, above 0
        and at most 1.
    version : str, default=None
        Name of the version in its folder.
    encoder_id : str, default=None
        The encoder that the index was exported from.
    accept : {"same", "aligned"}, default="same"
        Which user vectors :meth:`search` and :meth:`recommend` take: those of the space of the
        items only, or also those of the earlier space that it is aligned with.

    Attributes
    ----------
    items : ItemEmbeddings
        The given items.
    backend, version, encoder_id, space_id, catalog_id, accept : str
        The parameters, and the ids of the items.
    aligned_with : str or None
        The earlier space that the items are aligned with.
    agreement : float or None
        How well both agree: see :class:`ItemEmbeddings`.
    backend_info : dict
        How the backend searches. ``method`` is ``"exact"``, ``"cells"`` (faiss) or ``"graph"``
        (hnswlib). ``recall`` is the share of the 20 nearest items found for queries that were not
        used for tuning; 1 for exact search. Approximate search adds the effort (``n_cells_read``
        of ``n_cells``, or ``n_candidates``) and ``work``, the estimated share of the work of
        exact search. If an approximate backend searches exactly, ``reason`` tells why.

    Notes
    -----
    For user vectors that are far from every average of items, the recall can be lower than
    ``recall``. Measure it with your own users: see :func:`ann_recall`.

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
        accept: str = "same",
    ) -> None:
        check_backend(backend, target_recall)
        check_accept(accept)
        self.items, self.backend, self.version = items, backend, version
        self.encoder_id, self.space_id = encoder_id, items.space_id
        self.catalog_id = items.catalog_id
        self.aligned_with, self.agreement = items.aligned_with, items.agreement
        self.accept = accept
        self._backend = Backend(backend, items.vectors, float(target_recall))
        self.backend_info = self._backend.info
        # Builds the look-up of ids. Otherwise the first request with limits would wait for it.
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
            Scaled to length 1, so that scores are cosines.
        k : int, default=10
            Number of items per user.
        space_id : str or None
            The space of the user vectors: ``space_id_`` of their encoder. None skips the check.
        exclude : array-like of ids, Histories, or one sequence of ids a user, default=None
            Items to leave out, for all users or for each user. Histories with ``user_ids``, a
            Series of lists and a dict are brought into the order of the users, if the vectors are
            a DataFrame with an index of user ids.
        allow : array-like of ids, Histories, or one sequence of ids a user, default=None
            The only items to return, for all users or for each user, such as those in stock. As
            for ``exclude``.

        Returns
        -------
        ids : ndarray of shape (n_users, k)
            Nearest first. If fewer than k items are left, the rest is -1, or "" for string ids.
        scores : ndarray of shape (n_users, k), float32
            Cosines; ``-inf`` for missing items.

        Raises
        ------
        SpaceMismatchError
            If the user vectors are of another space.
        ValueError
            If they have another number of dimensions or NaN, or if ids have another type than
            those of the items.
        """
        if space_id is not None:
            check_space_of_users(space_id, self.items, self.accept)
        has_limits = exclude is not None or allow is not None
        user_ids = labels_of(user_vectors, "user_vectors") if has_limits else None
        return self._nearest(user_vectors, k, exclude, allow, user_ids)

    def _nearest(
        self, user_vectors: Any, k: int, exclude: Any, allow: Any, user_ids: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search; limits that carry user ids are brought into the order of ``user_ids``."""
        check_positive_int("k", k)
        users = self._checked(user_vectors)
        excluded, allowed = limits_of_id_lists(
            self.items, len(users), exclude=exclude, allow=allow, user_ids=user_ids
        )
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
        """Encode histories and search, if the index takes vectors of the encoder's space.

        Parameters
        ----------
        encoder : fitted encoder, or a Pipeline or ColumnTransformer around one
            Encodes X, in a space that the index accepts.
        X : histories in any form that the encoder accepts
            One history per user.
        k : int, default=10
            Number of items per user.
        exclude, allow : as for :meth:`search`, default=None
            In the order of the users of X if both carry user ids.

        Returns
        -------
        ids, scores : ndarray of shape (n_users, k)
        """
        check_space_of_users(find_encoder(encoder).space_id, self.items, self.accept)
        has_limits = exclude is not None or allow is not None
        user_ids = labels_of(X, "X") if has_limits else None
        return self._nearest(np.asarray(encoder.transform(X)), k, exclude, allow, user_ids)

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
                f"{users.dtype} of shape {users.shape}. Pass a single user as [vector]."
            )
        if users.shape[1] != self.items.n_dims:
            raise ValueError(
                f"user_vectors have {users.shape[1]} dimensions, but the items of this index have "
                f"{self.items.n_dims}."
            )
        wide = users.astype(np.float64)
        if not np.isfinite(wide).all():
            row = int(np.flatnonzero(~np.isfinite(wide).all(axis=1))[0])
            raise ValueError(f"user_vectors must be finite, but row {row} holds NaN or infinity.")
        # Vectors of encoders have this length but for rounding, and stay as they are.
        is_unit = np.abs(np.vecdot(wide, wide) - 1) <= _UNIT_TOLERANCE
        return (users if is_unit.all() else unit_rows(wide)).astype(np.float32, copy=False)


def ann_recall(index: VectorIndex, queries: Any, k: int = 10) -> float:
    """Return the share of the exact k nearest items that an index finds.

    Items whose cosine is within 1e-6 of the k-th exact one count as found.

    Parameters
    ----------
    index : VectorIndex
        The index to measure.
    queries : array-like of shape (n_users, n_dims)
        User vectors, such as those of a sample of users.
    k : int, default=10
        Number of nearest items per user.

    Returns
    -------
    recall : float

    Examples
    --------
    >>> import tempfile
    >>> from skue import ItemEmbeddings, ann_recall, export_index, open_index
    >>> folder = tempfile.mkdtemp()
    >>> version = export_index(ItemEmbeddings([[1, 0], [0, 1]]), folder)
    >>> ann_recall(open_index(folder), [[3, 4]], k=1)
    1.0
    """
    check_positive_int("k", k)
    k = min(k, len(index))
    exact = VectorIndex(index.items)
    _, best = exact.search(queries, k, space_id=None)
    _, found = index.search(queries, k, space_id=None)
    if not len(best):
        raise ValueError("queries is empty. Pass at least one user vector.")
    return float((found >= best[:, -1:] - 1e-6).mean())


def export_index(encoder: Any, folder: str | os.PathLike[str]) -> str:
    """Write the items of an encoder as a new version of an index, and make it the current one.

    A version is a file of :meth:`ItemEmbeddings.save` and a manifest. They are written and synced
    next to the older versions. Then the file ``CURRENT`` is replaced. If the export is interrupted
    at any point, readers find either the old version or the new one, never a mixture. Needs the
    extra ``serve``, for a lock that keeps other exports out.

    Parameters
    ----------
    encoder : fitted encoder, TwoStageRecommender, Pipeline, ColumnTransformer or search around \
            one, or ItemEmbeddings
        In a pipeline, the item vectors pass through the steps after the encoder, as the user
        vectors do.
    folder : str or path
        Created if it does not exist.

    Returns
    -------
    version : str
        Name of the version.

    See Also
    --------
    open_index, prune, rollback

    Examples
    --------
    >>> import tempfile
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, export_index, open_index
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"], space_id="shop-1")
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea", "cup"]])
    >>> folder = tempfile.mkdtemp()
    >>> version = export_index(encoder, folder)
    >>> open_index(folder)
    VectorIndex(n_items=2, n_dims=2, space_id='shop-1', backend='exact')
    """
    if isinstance(encoder, ItemEmbeddings):
        return write_version(Path(folder), encoder, None)
    found = find_encoder(encoder)
    return write_version(Path(folder), found.items(), found.encoder.encoder_id_)


def open_index(
    folder: str | os.PathLike[str],
    *,
    backend: str = "exact",
    target_recall: float = 0.95,
    mmap: bool = False,
    accept: str = "same",
) -> VectorIndex:
    """Open the current version of an index. Nothing is unpickled.

    The file is read into memory and verified. The index keeps this version after later exports.
    Open the folder again to see a newer version.

    Parameters
    ----------
    folder : str or path
        A folder written by :func:`export_index`.
    backend : {"exact", "faiss", "hnswlib"}, default="exact"
        ``"exact"`` compares every item by matrix products. The others build an approximate index
        in memory and tune it to ``target_recall``; see :class:`~skue.serving.VectorIndex`. They
        need the extras ``faiss`` and ``hnswlib``.
    target_recall : float, default=0.95
        For ``"faiss"`` and ``"hnswlib"``: the share of the exact 20 nearest items to find, above 0
        and at most 1.
    mmap : bool, default=False
        Map the vectors into memory instead of reading them, so that all processes of a machine
        share them. Do not change the files while the index is in use: a process that reads from a
        truncated mapped file is killed (SIGBUS). :func:`export_index` and :func:`prune` are safe,
        as they never change mapped files.
    accept : {"same", "aligned"}, default="same"
        ``"aligned"`` also takes user vectors of the earlier space that the items are aligned with,
        after a fit with ``warm_start=True``. They find almost what vectors of the new space find:
        see ``agreement`` of the index.

    Returns
    -------
    index : VectorIndex

    Raises
    ------
    ValueError
        If a file was altered or truncated, or is of another version of skue.
    FileNotFoundError
        If the folder is not an index.

    Examples
    --------
    >>> import tempfile
    >>> from skue import ItemEmbeddings, export_index, open_index
    >>> folder = tempfile.mkdtemp()
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"], space_id="shop-1")
    >>> version = export_index(items, folder)
    >>> ids, scores = open_index(folder).search([[3, 4]], k=1, space_id="shop-1")
    >>> ids
    array([['cup']], dtype=object)
    """
    folder = Path(folder)
    check_backend(backend, target_recall)
    check_accept(accept)
    version = read_current(folder)
    while True:
        try:
            items, manifest = read_version(folder, version, mmap=mmap)
            break
        except FileNotFoundError as error:
            # Either prune has removed this version since, or the folder is damaged.
            current = read_current(folder)
            if current == version:
                raise ValueError(
                    f"{folder} is damaged: CURRENT names version {version!r}, but "
                    f"{error.filename} is missing. The folder has {list_versions(folder)}. "
                    "Call rollback, or export the index again."
                ) from error
            version = current
    return VectorIndex(
        items,
        backend=backend,
        target_recall=target_recall,
        version=version,
        encoder_id=manifest["encoder_id"],
        accept=accept,
    )
