"""The content of one version: its manifest and its items, verified when they are read."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from skue.items._checks import check_space
from skue.items._item_embeddings import ItemEmbeddings
from skue.reading._ids import is_text, pack_text, unpack_text
from skue.serving.index._arrays import new_digest, read_array, read_small

SCHEMA = 2
MANIFEST = "manifest.json"
ARRAYS = ("vectors.npy", "ids.npy", "ids_utf8.npy", "ids_offsets.npy")
# Text ids are stored as UTF-8 with offsets. Schema 1 stored them in ids.npy with a fixed width.
_FILES = ({"vectors.npy", "ids.npy"}, {"vectors.npy", "ids_utf8.npy", "ids_offsets.npy"})
# The vectors were written with lengths within 1e-6 of 1.
_UNIT_TOLERANCE = 2e-6
_WAY_OUT = "Call rollback for an older version, or export the index again."


def arrays_of(items: ItemEmbeddings) -> dict[str, np.ndarray]:
    """Return the arrays to write for these items, by file name."""
    if not is_text(items.ids):
        return {"vectors.npy": items.vectors, "ids.npy": items.ids}
    utf8, offsets = pack_text(items.ids)
    return {"vectors.npy": items.vectors, "ids_utf8.npy": utf8, "ids_offsets.npy": offsets}


def read_version(
    folder: Path, version: str, *, mmap: bool = False
) -> tuple[ItemEmbeddings, dict[str, Any]]:
    """Return the items and the manifest of a version after verifying that they agree."""
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
        raise ValueError(f"{path} is damaged: {error} {_WAY_OUT}") from error
    return items, manifest


def read_manifest(folder: Path, version: str) -> dict[str, Any]:
    """Return the manifest of a version, or raise an error that says what is wrong with it."""
    path = folder / "versions" / version / MANIFEST
    if path.parent.is_symlink():
        raise ValueError(f"{path.parent} is a link, not a folder. {_WAY_OUT}")
    try:
        manifest = json.loads(read_small(path))
        schema, found = manifest["schema"], manifest.get("checksum")
        expected = manifest_checksum(manifest)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error!r}. {_WAY_OUT}") from error
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise ValueError(
            f"{path} has schema {schema!r}, but this version of skue reads schemas 1 to {SCHEMA}. "
            "Upgrade skue, or call rollback for a version that it can read."
        )
    if found != expected:
        raise ValueError(
            f"{path} was altered after it was written: it records the checksum {found}, but its "
            f"content has {expected}. {_WAY_OUT}"
        )
    return manifest


def manifest_checksum(manifest: dict[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "checksum"}
    digest = new_digest()
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


def _check_facts(manifest: dict[str, Any]) -> None:
    """Raise if the fields of a manifest are not those that an export writes."""
    for name in ("space_id", "catalog_id"):
        if not isinstance(manifest.get(name), str):
            raise ValueError(f"{name} in its manifest is {manifest.get(name)!r}, not a string.")
    if not isinstance(manifest.get("encoder_id"), (str, NoneType)):
        raise ValueError(f"encoder_id in its manifest is {manifest['encoder_id']!r}.")
    # Folders of 0.1 have no alignment.
    check_space(None, manifest.get("aligned_with"), manifest.get("agreement"))
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) not in _FILES:
        raise ValueError("its manifest does not list the files of an index.")


def _items_of(arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> ItemEmbeddings:
    vectors = arrays["vectors.npy"]
    shape = manifest.get("n_items"), manifest.get("n_dims")
    if vectors.dtype != np.float32 or vectors.shape != shape:
        raise ValueError(
            f"vectors.npy holds {vectors.dtype} of shape {vectors.shape}, but its manifest says "
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
    items = ItemEmbeddings(
        vectors,
        ids,
        space_id=manifest["space_id"],
        aligned_with=manifest.get("aligned_with"),
        agreement=manifest.get("agreement"),
    )
    # Schema 1 used another hash of the ids.
    if manifest["schema"] > 1 and items.catalog_id != manifest["catalog_id"]:
        raise ValueError(
            f"its vectors and ids hash to {items.catalog_id!r}, but its manifest says "
            f"{manifest['catalog_id']!r}."
        )
    return items
