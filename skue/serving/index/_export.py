"""An index on disk: written whole, opened whole, rolled back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from skue._version import __version__
from skue.encoders._inside import find_encoder
from skue.items._item_embeddings import ItemEmbeddings
from skue.serving.index._backends import check_backend
from skue.serving.index._folder import list_versions, read_current, write_version
from skue.serving.index._index import VectorIndex
from skue.serving.index._versions import arrays_of, read_version

# A reader that loses its version to prune reads CURRENT again; more than once is a busy folder.
_TRIES = 20


def export_index(encoder: Any, folder: str | os.PathLike[str]) -> str:
    """Write the items of an encoder as a new version of an index, and make it the current one.

    Vectors, ids and a manifest with their checksums are written and synced beside the older
    versions; then the file ``CURRENT`` is replaced. Readers find the old version or the new one,
    whole, whenever the export is interrupted.

    Parameters
    ----------
    encoder : fitted encoder, Pipeline or ColumnTransformer around one, or ItemEmbeddings
        Of a pipeline the items pass the steps after the encoder, as the users do.
    folder : str or path
        Made where it is missing.

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
    import sklearn

    encoder_id = None
    if isinstance(encoder, ItemEmbeddings):
        items = encoder
    else:
        model = find_encoder(encoder)
        items, encoder_id = model.items(), model.encoder.encoder_id_
    folder = Path(folder)
    facts = {
        "space_id": items.space_id,
        "catalog_id": items.catalog_id,
        "encoder_id": encoder_id,
        "n_items": len(items),
        "n_dims": items.n_dims,
        "versions": {
            "skue": __version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
    }
    return write_version(folder, arrays_of(items), facts)


def open_index(
    folder: str | os.PathLike[str],
    *,
    backend: str = "exact",
    target_recall: float = 0.95,
    mmap: bool = False,
) -> VectorIndex:
    """Open the current version of an index. Nothing is unpickled.

    The files are read into memory, and their lengths and checksums are compared with the
    manifest. The version stays open, whatever is exported later: open again to see it.

    Parameters
    ----------
    folder : str or path
        What :func:`export_index` wrote.
    backend : {"exact", "faiss", "hnswlib"}, default="exact"
        ``"exact"`` compares every item by matrix products. The others build an approximate index
        in memory (the extras ``faiss`` and ``hnswlib``) and tune it to ``target_recall``; see
        :class:`~skue.serving.VectorIndex`.
    target_recall : float, default=0.95
        For ``"faiss"`` and ``"hnswlib"``: the share of the exact 20 nearest items to find, above 0
        and at most 1.
    mmap : bool, default=False
        Map the vectors instead of reading them, so that the processes of one machine share them.
        Do not change the files as long as the index lives: a process that reads from a mapped
        file which was cut off is killed (SIGBUS). :func:`export_index` and :func:`prune` are
        safe; both leave mapped files as they are.

    Returns
    -------
    index : VectorIndex

    Raises
    ------
    ValueError
        For files that were altered, cut off or written by a newer schema.
    FileNotFoundError
        For a folder that is no index.

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
    version = read_current(folder)
    for _ in range(_TRIES):
        try:
            items, manifest = read_version(folder, version, mmap=mmap)
        except FileNotFoundError as error:
            # Either prune took this version away since, or the folder is damaged.
            current = read_current(folder)
            if current == version:
                raise ValueError(
                    f"{folder} is damaged: CURRENT names version {version!r}, but "
                    f"{error.filename} is missing; whole versions are {list_versions(folder)}. "
                    "Call rollback, or export the index again."
                ) from error
            version = current
        else:
            return VectorIndex(
                items,
                backend=backend,
                target_recall=target_recall,
                version=version,
                encoder_id=manifest["encoder_id"],
                catalog_id=manifest["catalog_id"],
            )
    raise ValueError(f"{folder} changed {_TRIES} times while it was opened. Try again.")


def ann_recall(index: VectorIndex, queries: Any, k: int = 10) -> float:
    """Return the share of the exact k nearest items that an index finds.

    Items whose cosine is within 1e-6 of the k-th exact one count as found.

    Parameters
    ----------
    index : VectorIndex
    queries : array-like of shape (n_users, n_dims)
        User vectors, such as those of a sample of users.
    k : int, default=10

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
    k = min(k, len(index))
    exact = VectorIndex(index.items, catalog_id=index.catalog_id)
    _, best = exact.search(queries, k, space_id=None)
    _, found = index.search(queries, k, space_id=None)
    if not len(best):
        raise ValueError("queries hold no user vector.")
    return float((found >= best[:, -1:] - 1e-6).mean())
