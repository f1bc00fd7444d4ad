"""The folder of an index: versions side by side, and CURRENT, which names the one in use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
MANIFEST = "manifest.json"
_PARTIAL = ".partial-"
_NAME = re.compile(r"\d{8}-[0-9a-f]{8}")
# Longer than any export takes: what a killed one left behind may then be removed.
_ABANDONED_SECONDS = 3600.0


def write_version(folder: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> str:
    """Write arrays and manifest as a new version, make it the current one, return its name."""
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    partial = versions / f"{_PARTIAL}{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        files = {name: _write_array(partial / name, array) for name, array in arrays.items()}
        manifest = {"schema": SCHEMA, **facts, "files": files}
        manifest["checksum"] = _manifest_checksum(manifest)
        _write_synced(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        _sync_folder(partial)
        # In one go: prune must not take away a version on its way to be the current one.
        with one_writer(folder):
            # Numbered, so that the order of versions does not hang on clocks.
            newest = list_versions(folder)[-1:]
            number = int(newest[0].partition("-")[0]) + 1 if newest else 1
            name = f"{number:08d}-{uuid.uuid4().hex[:8]}"
            os.rename(partial, versions / name)
            _sync_folder(versions)
            write_current(folder, name)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return name


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Let others who change what versions there are wait; the lock of a killed process is free."""
    if os.name != "posix":
        yield
        return
    import fcntl

    with open(folder / ".lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def list_versions(folder: Path) -> list[str]:
    """Return the names of the whole versions, oldest first."""
    versions = folder / "versions"
    if not versions.is_dir():
        return []
    return sorted(path.name for path in versions.iterdir() if _NAME.fullmatch(path.name))


def read_current(folder: Path) -> str:
    """Return the name of the version in use."""
    versions = list_versions(folder)
    way_out = f"Call rollback(folder, version) with one of {versions}" if versions else ""
    try:
        name = (folder / "CURRENT").read_bytes().decode(errors="replace").strip()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder} is no index: it has no file CURRENT. "
            f"{way_out or 'Write one with export_index'}."
        ) from None
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{folder / 'CURRENT'} holds {name[:60]!r}, which is no version's name. "
            f"{way_out or 'Export the index again'}."
        )
    return name


def write_current(folder: Path, version: str) -> None:
    """Make a version the one that readers open, in one step."""
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".CURRENT-")
    os.close(handle)
    try:
        _write_synced(Path(temporary), f"{version}\n".encode())
        os.chmod(temporary, 0o644)
        os.replace(temporary, folder / "CURRENT")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def read_manifest(folder: Path, version: str) -> dict[str, Any]:
    """Return the manifest of a version, or say what is wrong with it."""
    path = folder / "versions" / version / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        schema = manifest["schema"]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error!r}. {_WAY_OUT}") from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ValueError(
            f"{path} has schema {schema!r}, this skue reads up to {SCHEMA}. Upgrade skue, or call "
            "rollback for a version that it reads."
        )
    found = manifest.get("checksum")
    expected = _manifest_checksum(manifest)
    if found != expected:
        raise ValueError(
            f"{path} was altered after it was written: its checksum says {found}, its content "
            f"gives {expected}. {_WAY_OUT}"
        )
    return manifest


def read_array(folder: Path, version: str, name: str, manifest: dict[str, Any]) -> np.ndarray:
    """Return an array of a version, memory-mapped, after a look at its length and checksum."""
    path = folder / "versions" / version / name
    expected = manifest["files"][name]
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != expected["bytes"]:
            raise ValueError(
                f"{path} has {size} bytes, its manifest says {expected['bytes']}. {_WAY_OUT}"
            )
        digest = hashlib.file_digest(file, _digest).hexdigest()
        if digest != expected["blake2b"]:
            raise ValueError(
                f"{path} was altered or is damaged: its checksum is {digest}, its manifest says "
                f"{expected['blake2b']}. {_WAY_OUT}"
            )
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def prune(folder: str | os.PathLike[str], *, keep: int = 2) -> list[str]:
    """Remove all but the newest versions of an index.

    The version in use always stays. On POSIX systems whoever has a version open keeps it.

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
    versions = folder / "versions"
    with one_writer(folder):
        current, whole = read_current(folder), list_versions(folder)
        if current not in whole:
            raise ValueError(
                f"{folder} is damaged: CURRENT names version {current!r}, which is not among "
                f"{whole}; nothing is removed. Call rollback, or export the index again."
            )
        others = [name for name in whole if name != current]
        removed = others[: max(len(others) - (keep - 1), 0)]
        for name in removed:
            # Renamed first: a reader then finds the version whole or not at all.
            os.rename(versions / name, versions / f"{_PARTIAL}{name}")
    for name in removed:
        shutil.rmtree(versions / f"{_PARTIAL}{name}", ignore_errors=True)
    for path in versions.glob(f"{_PARTIAL}*"):
        # It may be gone by now: others prune too.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
    return removed


def _write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Write an array; return length and checksum of what was meant to be written."""
    with open(path, "wb") as file:
        writer = _HashingWriter(file)
        np.lib.format.write_array(writer, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": writer.n_bytes, "blake2b": writer.digest.hexdigest()}


class _HashingWriter:
    """Passes bytes on to a file and hashes them."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest, self.n_bytes = file, _digest(), 0

    def write(self, data: Any) -> None:
        self.digest.update(data)
        self.n_bytes += len(data)
        self.file.write(data)


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def _manifest_checksum(manifest: dict[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "checksum"}
    digest = _digest()
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_WAY_OUT = "Call rollback for the version before it, or export the index again."
