"""The versions of an index in a folder: how they are written and read, and which is current."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from skue._estimator import check_positive_int, import_optional
from skue._files import sync_folder, written_at_once
from skue._version import __version__
from skue.items._item_embeddings import ItemEmbeddings

ITEMS, MANIFEST, CURRENT = "items.npz", "manifest.json", "CURRENT"
_FORMAT = "skue index 1"
_VERSION_NAME = re.compile(r"\d{8}-[0-9a-f]{8}")
# A version that is being written or removed. Only the holder of the lock has such folders.
_PARTIAL = ".partial-"
# How long to wait for another process that exports, which takes seconds.
_PATIENCE_SECONDS = 300.0
_WAY_OUT = "Call rollback for an older version, or export the index again."


def write_version(folder: Path, items: ItemEmbeddings, encoder_id: str | None) -> str:
    """Write items as a new version, make it the current one, and return its name."""
    import sklearn

    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    items = copy(items)
    items._learned_events = None  # an index holds nothing of what people did
    facts = {
        "format": _FORMAT,
        **_facts_of(items),
        "encoder_id": encoder_id,
        "versions": {
            "skue": __version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
    }
    with _one_writer(folder):
        # Numbered, so that the order of versions does not depend on clocks.
        newest = list_versions(folder)[-1:]
        number = int(newest[0].partition("-")[0]) + 1 if newest else 1
        name = f"{number:08d}-{uuid.uuid4().hex[:8]}"
        partial = versions / f"{_PARTIAL}{name}"
        partial.mkdir()
        try:
            items.save(partial / ITEMS)
            with written_at_once(partial / MANIFEST) as file:
                file.write(json.dumps(facts | {"checksum": _checksum(facts)}, indent=1).encode())
            _read(partial, mmap=True)
            os.rename(partial, versions / name)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(versions)
        _write_current(folder, name)
    return name


def read_version(
    folder: Path, version: str, *, mmap: bool = False
) -> tuple[ItemEmbeddings, dict[str, Any]]:
    """Return the items and the manifest of a version after verifying that they agree."""
    path = folder / "versions" / version
    try:
        return _read(path, mmap=mmap)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error} {_WAY_OUT}") from error


def _read(path: Path, *, mmap: bool) -> tuple[ItemEmbeddings, dict[str, Any]]:
    manifest = _read_manifest(path)
    items = ItemEmbeddings.load(path / ITEMS, mmap=mmap)
    # catalog_id is a hash of the ids and vectors in memory.
    for name, value in _facts_of(items).items():
        if manifest.get(name) != value:
            raise ValueError(
                f"{ITEMS} has {name}={value!r}, but the manifest says {manifest.get(name)!r}."
            )
    return items, manifest


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a version, or raise an error that says what is wrong with it."""
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise ValueError(
            f"{MANIFEST} is not of the format {_FORMAT!r}; another version of skue may have "
            "written it."
        )
    facts = {name: value for name, value in manifest.items() if name != "checksum"}
    if manifest.get("checksum") != _checksum(facts):
        raise ValueError(f"{MANIFEST} was altered after it was written.")
    return manifest


def _facts_of(items: ItemEmbeddings) -> dict[str, Any]:
    names = "space_id", "aligned_with", "agreement", "catalog_id", "n_dims"
    return {"n_items": len(items), **{name: getattr(items, name) for name in names}}


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


@contextlib.contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder, and remove what killed processes left there.

    If a process is killed, the system releases its lock.
    """
    filelock = import_optional("filelock", "serve")
    path = folder / ".lock"
    try:
        lock = filelock.FileLock(path, timeout=_PATIENCE_SECONDS, mode=0o666).acquire()
    except filelock.Timeout as error:
        raise TimeoutError(
            f"Another process has held {path} for {_PATIENCE_SECONDS:.0f} seconds. End that "
            "process, then try again."
        ) from error
    with lock:
        _remove_abandoned(folder)
        yield


def _remove_abandoned(folder: Path) -> None:
    for path in (folder / "versions").glob(f"{_PARTIAL}*"):
        if _VERSION_NAME.fullmatch(path.name.removeprefix(_PARTIAL)):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f".{CURRENT}-{'[0-9a-f]' * 12}"):
        path.unlink(missing_ok=True)


def list_versions(folder: Path) -> list[str]:
    """Return the names of all complete versions, oldest first."""
    versions = folder / "versions"
    if not versions.is_dir():
        return []
    with os.scandir(versions) as entries:
        found = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    return sorted(name for name in found if _VERSION_NAME.fullmatch(name))


def read_current(folder: Path) -> str:
    """Return the name of the current version."""
    versions = list_versions(folder)
    way_out = "Write one with export_index."
    if versions:
        way_out = f"Call rollback(folder, version) with one of {versions}."
    try:
        name = (folder / CURRENT).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder} is not an index: it has no file {CURRENT}. {way_out}"
        ) from None
    if not _VERSION_NAME.fullmatch(name):
        raise ValueError(
            f"{folder / CURRENT} holds {name[:60]!r}, which is not the name of a version. {way_out}"
        )
    return name


def _write_current(folder: Path, version: str) -> None:
    """Make a version the current one, in one step."""
    with written_at_once(folder / CURRENT) as file:
        file.write(f"{version}\n".encode())


def rollback(folder: str | os.PathLike[str], version: str | None = None) -> str:
    """Make an older version of an index the current one after verifying it.

    Parameters
    ----------
    folder : str or path
        The folder of the index.
    version : str, default=None
        By default the newest intact version before the current one.

    Returns
    -------
    version : str
        The new current version. Readers see it when they open the index again.

    Warns
    -----
    UserWarning
        If a newer version is damaged and was skipped.

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
    _candidates(folder, version)  # raises before a lock file is created
    problems: list[Exception] = []
    with _one_writer(folder):
        for chosen in _candidates(folder, version):
            try:
                read_version(folder, chosen)
            except (OSError, ValueError) as error:
                problems.append(error)
                continue
            _write_current(folder, chosen)
            break
        else:
            raise problems[0]
    for problem in problems:
        warnings.warn(f"{problem} Rolled back to {chosen!r} instead.", UserWarning, stacklevel=2)
    return chosen


def _candidates(folder: Path, version: str | None) -> list[str]:
    """Return the versions to roll back to, in order of preference."""
    versions = list_versions(folder)
    if version is None:
        current = read_current(folder)
        older = [name for name in reversed(versions) if name < current]
        if not older:
            raise ValueError(f"{folder} has no version before {current!r} to roll back to.")
        return older
    if version not in versions:
        raise ValueError(f"{folder} has no version {version!r}; it has {versions}.")
    return [version]


def prune(folder: str | os.PathLike[str], *, keep: int = 2) -> list[str]:
    """Remove old versions of an index.

    The current version is kept, and so are the newest older versions that are intact:
    :func:`rollback` would choose these. If there are too few of them, versions that were rolled
    back from are kept as well. A version is never removed if it holds a file that no export
    writes, or if its manifest cannot be read. On POSIX systems, a process that has a removed
    version open can go on using it.

    Parameters
    ----------
    folder : str or path
        The folder of the index.
    keep : int, default=2
        How many versions to keep. The default keeps the current one and one to roll back to.

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
    check_positive_int("keep", keep)
    folder = Path(folder)
    read_current(folder)  # raises before a lock file is created

    with _one_writer(folder):
        kept = _versions_to_keep(folder, keep)
        removed = [n for n in list_versions(folder) if n not in kept and _is_own(folder, n)]
        for name in removed:
            # Renamed first, so that a reader finds the version complete or not at all.
            partial = folder / "versions" / f"{_PARTIAL}{name}"
            os.rename(folder / "versions" / name, partial)
            shutil.rmtree(partial, ignore_errors=True)
    return removed


def _versions_to_keep(folder: Path, keep: int) -> set[str]:
    current, names = read_current(folder), list_versions(folder)
    if current not in names:
        raise ValueError(
            f"{folder} is damaged: {CURRENT} names version {current!r}, which is not among "
            f"{names}; nothing is removed. Call rollback, or export the index again."
        )
    older = [name for name in reversed(names) if name < current]
    # Used only if there are too few older ones: the versions that were rolled back from.
    newer = [name for name in reversed(names) if name > current]
    kept = {current}
    for name in older + newer:
        if len(kept) < keep:
            with contextlib.suppress(OSError, ValueError):
                read_version(folder, name)
                kept.add(name)
    return kept


def _is_own(folder: Path, version: str) -> bool:
    """Return whether every file in the folder of a version was written by an export."""
    path = folder / "versions" / version
    try:
        return set(os.listdir(path)) <= {MANIFEST, ITEMS} and bool(_read_manifest(path))
    except (OSError, ValueError):
        return False
