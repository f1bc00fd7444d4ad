"""The versions of an index: read and checked, rolled back, pruned."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from skue.items._item_embeddings import ItemEmbeddings
from skue.reading._ids import is_text, pack_text, unpack_text
from skue.serving.index._array_files import read_array
from skue.serving.index._folder import (
    WAY_OUT,
    list_versions,
    one_writer,
    read_current,
    read_manifest,
    remove_versions,
    used_versions,
    write_current,
)

# The vectors were written with lengths within 1e-6 of 1.
_UNIT_TOLERANCE = 2e-6
# Text ids are UTF-8 and where each starts; schema 1 had them in ids.npy, with a fixed width.
_FILES = ({"vectors.npy", "ids.npy"}, {"vectors.npy", "ids_utf8.npy", "ids_offsets.npy"})


def arrays_of(items: ItemEmbeddings) -> dict[str, np.ndarray]:
    """Return what is written of items, by the names of the files."""
    if not is_text(items.ids):
        return {"vectors.npy": items.vectors, "ids.npy": items.ids}
    utf8, offsets = pack_text(items.ids)
    return {"vectors.npy": items.vectors, "ids_utf8.npy": utf8, "ids_offsets.npy": offsets}


def read_version(
    folder: Path, version: str, *, mmap: bool = False
) -> tuple[ItemEmbeddings, dict[str, Any]]:
    """Return the items and the manifest of a version, after checking that they agree."""
    manifest = read_manifest(folder, version)
    path = folder / "versions" / version
    try:
        _check_facts(manifest)
        arrays = {
            name: read_array(path / name, expected, mmap=mmap and name == "vectors.npy")
            for name, expected in manifest["files"].items()
        }
        items = _items_of(arrays, manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error} {WAY_OUT}") from error
    return items, manifest


def _check_facts(manifest: dict[str, Any]) -> None:
    """Raise for a manifest with other fields than an export writes, whatever its checksum says."""
    for name in ("space_id", "catalog_id"):
        if not isinstance(manifest.get(name), str):
            raise ValueError(f"{name} in its manifest is {manifest.get(name)!r}, not a string.")
    if not isinstance(manifest.get("encoder_id"), (str, NoneType)):
        raise ValueError(f"encoder_id in its manifest is {manifest['encoder_id']!r}.")
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) not in _FILES:
        raise ValueError("its manifest does not list the files of an index.")


def _items_of(arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> ItemEmbeddings:
    vectors = arrays["vectors.npy"]
    shape = manifest.get("n_items"), manifest.get("n_dims")
    if vectors.dtype != np.float32 or vectors.shape != shape:
        raise ValueError(
            f"vectors.npy holds {vectors.dtype} of shape {vectors.shape}, its manifest says "
            f"float32 of shape {shape}."
        )
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    odd = np.flatnonzero(~(np.abs(norms - 1) <= _UNIT_TOLERANCE))
    if len(odd):
        raise ValueError(f"row {odd[0]} of vectors.npy has length {norms[odd[0]]:.7g}, not 1.")
    if "ids.npy" in arrays:
        ids = arrays["ids.npy"]
        if ids.dtype.kind not in ("iU" if manifest["schema"] == 1 else "i"):
            raise ValueError(f"ids.npy holds {ids.dtype}, not ids.")
    else:
        ids = unpack_text(arrays["ids_utf8.npy"], arrays["ids_offsets.npy"])
    items = ItemEmbeddings(vectors, ids, space_id=manifest["space_id"])
    # Schema 1 hashed ids in another way.
    if manifest["schema"] > 1 and items.catalog_id != manifest["catalog_id"]:
        raise ValueError(
            f"its vectors and ids hash to {items.catalog_id!r}, its manifest says "
            f"{manifest['catalog_id']!r}."
        )
    return items


def rollback(folder: str | os.PathLike[str], version: str | None = None) -> str:
    """Make an older version of an index the current one, after checking that it is whole.

    Parameters
    ----------
    folder : str or path
    version : str, default=None
        By default the newest whole one before the current version. A version that an interrupted
        export left behind, and that was never the current one, is taken only by name.

    Returns
    -------
    version : str
        The current version from now on. Readers see it when they open the index again.

    Warns
    -----
    UserWarning
        When a newer version had to be left out because it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from skue import ItemEmbeddings, export_index, rollback
    >>> folder = tempfile.mkdtemp()
    >>> first = export_index(ItemEmbeddings([[1, 0]]), folder)
    >>> second = export_index(ItemEmbeddings([[0, 1]]), folder)
    >>> rollback(folder) == first
    True
    """
    folder = Path(folder)
    _candidates(folder, version)  # Else a lock would be left in a folder that is no index.
    with one_writer(folder):
        chosen, problems = _first_whole(folder, _candidates(folder, version))
        write_current(folder, chosen)
    for problem in problems:
        warnings.warn(f"{problem} Rolled back to {chosen!r} instead.", UserWarning, stacklevel=2)
    return chosen


def _candidates(folder: Path, version: str | None) -> list[str]:
    """Return the versions to roll back to, the first choice first."""
    if version is None:
        current = read_current(folder)
        older = [name for name in reversed(used_versions(folder)) if name < current]
        if not older:
            raise ValueError(f"{folder} has no version before {current!r} to roll back to.")
        return older
    if version not in list_versions(folder):
        raise ValueError(f"{folder} has no version {version!r}; it has {list_versions(folder)}.")
    return [version]


def _first_whole(folder: Path, candidates: list[str]) -> tuple[str, list[Exception]]:
    """Return the first whole version, and what is wrong with the ones before it."""
    problems: list[Exception] = []
    for version in candidates:
        try:
            read_version(folder, version)
        except (OSError, ValueError) as problem:
            problems.append(problem)
        else:
            return version, problems
    raise problems[0]


def prune(folder: str | os.PathLike[str], *, keep: int = 2) -> list[str]:
    """Remove old versions of an index.

    The version in use stays, and so do the newest older ones that are whole: those that
    :func:`rollback` would take. Where there are not enough of them, versions that were rolled back
    from fill up the number. Only what an export wrote is removed: a version stays that holds a
    file of another name, or whose manifest cannot be read. On POSIX systems whoever has a version
    open keeps it.

    Parameters
    ----------
    folder : str or path
    keep : int, default=2
        How many versions stay: the one in use and one to roll back to.

    Returns
    -------
    removed : list of str

    Examples
    --------
    >>> import tempfile
    >>> from skue import ItemEmbeddings, export_index, prune
    >>> folder = tempfile.mkdtemp()
    >>> versions = [export_index(ItemEmbeddings([[1, 0]]), folder) for _ in range(3)]
    >>> prune(folder, keep=2) == versions[:1]
    True
    """
    if not isinstance(keep, int) or keep < 1:
        raise ValueError(f"keep must be an integer of at least 1, got {keep!r}.")
    folder = Path(folder)
    read_current(folder)  # Else a lock would be left in a folder that is no index.

    def is_whole(version: str) -> bool:
        try:
            read_version(folder, version)
        except (OSError, ValueError):
            return False
        return True

    return remove_versions(folder, keep, is_whole)
