"""The folder of an index: versions side by side, and CURRENT, which names the one in use."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from skue.serving.index._array_files import (
    new_digest,
    read_array,
    read_small,
    sync_folder,
    write_array,
    write_synced,
)

SCHEMA = 2
MANIFEST = "manifest.json"
# Lies in a version until CURRENT names it: an export may die in between.
UNUSED = ".unused"
ARRAYS = ("vectors.npy", "ids.npy", "ids_utf8.npy", "ids_offsets.npy")
WAY_OUT = "Call rollback for an older version, or export the index again."
_PARTIAL = ".partial-"
_NAME = re.compile(r"\d{8}-[0-9a-f]{8}")
_PARTIAL_NAME = re.compile(rf"{re.escape(_PARTIAL)}([0-9a-f]{{32}}|{_NAME.pattern})")
_TEMPORARY_NAME = re.compile(r"\.CURRENT-[a-z0-9_]{8}")
# How long to wait for another process that changes the folder, which takes milliseconds.
_PATIENCE_SECONDS = 60.0
# Where folders cannot be locked: longer than any export takes.
_ABANDONED_SECONDS = 3600.0


def write_version(folder: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> str:
    """Write arrays and manifest as a new version, make it the current one, return its name."""
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    with _partial_folder(folder) as partial:
        files = {name: write_array(partial / name, array) for name, array in arrays.items()}
        manifest = {"schema": SCHEMA, **facts, "files": files}
        manifest["checksum"] = manifest_checksum(manifest)
        write_synced(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        write_synced(partial / UNUSED, b"")
        sync_folder(partial)
        for name, expected in files.items():
            read_array(partial / name, expected, mmap=True)
        # In one go: prune must not take away a version on its way to be the current one.
        with one_writer(folder):
            # Numbered, so that the order of versions does not hang on clocks.
            newest = list_versions(folder)[-1:]
            number = int(newest[0].partition("-")[0]) + 1 if newest else 1
            name = f"{number:08d}-{uuid.uuid4().hex[:8]}"
            os.rename(partial, versions / name)
            try:
                sync_folder(versions)
                write_current(folder, name)
            except BaseException:
                if _current_or_none(folder) != name:
                    os.rename(versions / name, partial)
                raise
            remove_abandoned(folder)
    return name


@contextlib.contextmanager
def _partial_folder(folder: Path) -> Iterator[Path]:
    """Make a folder to write a version in. It is locked, and removed unless it was renamed."""
    partial = folder / "versions" / f"{_PARTIAL}{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        with one_writer(folder):
            partial.mkdir()
            stack.callback(_remove_own_files, partial)
            stack.enter_context(_locked_folder(partial))
        yield partial


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Let others who change what versions there are wait; the lock of a killed process is free."""
    if os.name != "posix":
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(folder / ".lock", flags, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{folder / '.lock'} is not a regular file.")
        until = time.monotonic() + _PATIENCE_SECONDS
        while not _lock(handle):
            if time.monotonic() > until:
                raise TimeoutError(
                    f"Another process has held {folder / '.lock'} for {_PATIENCE_SECONDS:.0f} "
                    "seconds. End it, then try again."
                )
            time.sleep(0.005)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Take the lock of an open file or folder, and tell whether it was free."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _locked_folder(path: Path) -> Iterator[bool]:
    """Hold the lock of a folder, if it is free; the writer of a partial version holds its own."""
    if os.name != "posix":
        yield time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            is_free = _lock(handle)
        except OSError:  # Some network file systems lock files only.
            is_free = time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        yield is_free
    finally:
        os.close(handle)


def list_versions(folder: Path) -> list[str]:
    """Return the names of the whole versions, oldest first."""
    versions = folder / "versions"
    if not versions.is_dir():
        return []
    with os.scandir(versions) as entries:
        found = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    return sorted(name for name in found if _NAME.fullmatch(name))


def read_current(folder: Path) -> str:
    """Return the name of the version in use."""
    versions = list_versions(folder)
    way_out = f"Call rollback(folder, version) with one of {versions}" if versions else ""
    try:
        name = read_small(folder / "CURRENT").decode(errors="replace").strip()
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
    # What CURRENT names has been in use, even where its export died before it could say so.
    previous = _current_or_none(folder)
    if previous is not None:
        _mark_used(folder, previous)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".CURRENT-")
    os.close(handle)
    try:
        write_synced(Path(temporary), f"{version}\n".encode())
        os.chmod(temporary, 0o644)
        os.replace(temporary, folder / "CURRENT")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(folder)
    _mark_used(folder, version)


def _current_or_none(folder: Path) -> str | None:
    try:
        return read_current(folder)
    except (OSError, ValueError):
        return None


def _mark_used(folder: Path, version: str) -> None:
    (folder / "versions" / version / UNUSED).unlink(missing_ok=True)


def used_versions(folder: Path) -> list[str]:
    """Return the versions that have been the current one, oldest first."""
    current = read_current(folder)
    return [
        name
        for name in list_versions(folder)
        if name == current or not (folder / "versions" / name / UNUSED).exists()
    ]


def read_manifest(folder: Path, version: str) -> dict[str, Any]:
    """Return the manifest of a version, or say what is wrong with it."""
    path = folder / "versions" / version / MANIFEST
    if path.parent.is_symlink():
        raise ValueError(f"{path.parent} is a link, not a folder. {WAY_OUT}")
    try:
        manifest = json.loads(read_small(path))
        schema, found = manifest["schema"], manifest.get("checksum")
        expected = manifest_checksum(manifest)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error!r}. {WAY_OUT}") from error
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise ValueError(
            f"{path} has schema {schema!r}, this skue reads up to {SCHEMA}. Upgrade skue, or call "
            "rollback for a version that it reads."
        )
    if found != expected:
        raise ValueError(
            f"{path} was altered after it was written: its checksum says {found}, its content "
            f"gives {expected}. {WAY_OUT}"
        )
    return manifest


def manifest_checksum(manifest: dict[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "checksum"}
    digest = new_digest()
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()


def remove_versions(folder: Path, keep: int, is_whole: Callable[[str], bool]) -> list[str]:
    """Remove all versions but the current one and those to roll back to."""
    versions = folder / "versions"
    # Looked at before others have to wait; what was looked at once is not looked at again.
    is_whole = functools.cache(is_whole)
    with contextlib.suppress(OSError, ValueError):  # Others may change the folder meanwhile.
        _versions_to_keep(folder, keep, is_whole)
    with one_writer(folder):
        kept = _versions_to_keep(folder, keep, is_whole)
        removed = [n for n in list_versions(folder) if n not in kept and _is_own(folder, n)]
        for name in removed:
            # Renamed first: a reader then finds the version whole or not at all.
            os.rename(versions / name, versions / f"{_PARTIAL}{name}")
        remove_abandoned(folder)
    return removed


def _versions_to_keep(folder: Path, keep: int, is_whole: Callable[[str], bool]) -> set[str]:
    current, names = read_current(folder), list_versions(folder)
    if current not in names:
        raise ValueError(
            f"{folder} is damaged: CURRENT names version {current!r}, which is not among {names}; "
            "nothing is removed. Call rollback, or export the index again."
        )
    used = used_versions(folder)
    older = [name for name in reversed(used) if name < current]
    # Where there are not enough: the ones that were rolled back from.
    newer = [name for name in reversed(used) if name > current]
    kept = {current}
    for name in older + newer:
        if len(kept) < keep and is_whole(name):
            kept.add(name)
    return kept


def remove_abandoned(folder: Path) -> None:
    """Remove what killed exports left behind. Call it as the only writer."""
    for path in (folder / "versions").iterdir():
        if not _PARTIAL_NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        # What cannot be removed, as another person's, is no reason to fail.
        with contextlib.suppress(OSError), _locked_folder(path) as is_abandoned:
            if is_abandoned:
                _remove_own_files(path)
    for path in folder.iterdir():
        # Written only by the one writer, who is here.
        if _TEMPORARY_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()


def _is_own(folder: Path, version: str) -> bool:
    """Tell whether all that a version's folder holds was written by an export."""
    path = folder / "versions" / version
    if not set(os.listdir(path)) <= {MANIFEST, UNUSED, *ARRAYS}:
        return False
    try:
        read_manifest(folder, version)
    except (OSError, ValueError):
        return False
    return True


def _remove_own_files(path: Path) -> None:
    """Remove the files that an export writes, and their folder if that leaves it empty."""
    for name in (MANIFEST, UNUSED, *ARRAYS):
        with contextlib.suppress(OSError):
            (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()
