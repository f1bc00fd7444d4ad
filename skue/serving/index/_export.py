"""Exporting an index to a folder, and opening it."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from skue._version import __version__
from skue.encoders._inside import find_encoder
from skue.items._item_embeddings import ItemEmbeddings
from skue.serving.index._arrays import read_array, sync_folder, write_array, write_synced
from skue.serving.index._backends import check_backend
from skue.serving.index._folder import UNUSED, one_writer, partial_folder, remove_abandoned
from skue.serving.index._index import VectorIndex, check_accept
from skue.serving.index._manifest import (
    MANIFEST,
    SCHEMA,
    arrays_of,
    manifest_checksum,
    read_version,
)
from skue.serving.index._versions import (
    current_or_none,
    list_versions,
    read_current,
    write_current,
)

# If prune removes the version while it is being opened, CURRENT is read again.
_TRIES = 20


def export_index(encoder: Any, folder: str | os.PathLike[str]) -> str:
    """Write the items of an encoder as a new version of an index, and make it the current one.

    Vectors, ids and a manifest with checksums are written and synced next to the older versions.
    Then the file ``CURRENT`` is replaced. If the export is interrupted at any point, readers find
    either the old version or the new one, never a mixture.

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
        "aligned_with": items.aligned_with,
        "agreement": items.agreement,
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
    return _write_version(folder, arrays_of(items), facts)


def open_index(
    folder: str | os.PathLike[str],
    *,
    backend: str = "exact",
    target_recall: float = 0.95,
    mmap: bool = False,
    accept: str = "same",
) -> VectorIndex:
    """Open the current version of an index. Nothing is unpickled.

    The files are read into memory, and their lengths and checksums are verified. The index keeps
    this version after later exports. Open the folder again to see a newer version.

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
        If a file was altered or truncated, or has a newer schema.
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
    for _ in range(_TRIES):
        try:
            items, manifest = read_version(folder, version, mmap=mmap)
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
        else:
            return VectorIndex(
                items,
                backend=backend,
                target_recall=target_recall,
                version=version,
                encoder_id=manifest["encoder_id"],
                catalog_id=manifest["catalog_id"],
                accept=accept,
            )
    raise ValueError(f"{folder} changed {_TRIES} times while it was opened. Try again.")


def _write_version(folder: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> str:
    """Write arrays and manifest as a new version and make it current; return its name."""
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    with partial_folder(folder) as partial:
        files = {name: write_array(partial / name, array) for name, array in arrays.items()}
        manifest = {"schema": SCHEMA, **facts, "files": files}
        manifest["checksum"] = manifest_checksum(manifest)
        write_synced(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        write_synced(partial / UNUSED, b"")
        sync_folder(partial)
        for name, expected in files.items():
            read_array(partial / name, expected, mmap=True)
        # Under one lock, so that prune does not remove the version before it is current.
        with one_writer(folder):
            # Numbered, so that the order of versions does not depend on clocks.
            newest = list_versions(folder)[-1:]
            number = int(newest[0].partition("-")[0]) + 1 if newest else 1
            name = f"{number:08d}-{uuid.uuid4().hex[:8]}"
            os.rename(partial, versions / name)
            try:
                sync_folder(versions)
                write_current(folder, name)
            except BaseException:
                if current_or_none(folder) != name:
                    os.rename(versions / name, partial)
                raise
            remove_abandoned(folder)
    return name
