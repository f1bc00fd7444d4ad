"""Changing the folder of an index: one process at a time, and without half-written versions."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from skue.serving.index._manifest import ARRAYS, MANIFEST

# A file that marks a version as never used. It is removed once CURRENT names the version.
UNUSED = ".unused"
VERSION_NAME = re.compile(r"\d{8}-[0-9a-f]{8}")
PARTIAL = ".partial-"
_PARTIAL_NAME = re.compile(rf"{re.escape(PARTIAL)}([0-9a-f]{{32}}|{VERSION_NAME.pattern})")
_TEMPORARY_NAME = re.compile(r"\.CURRENT-[a-z0-9_]{8}")
# How long to wait for another process that changes the folder, which takes milliseconds.
_PATIENCE_SECONDS = 60.0
# Longer than any export takes. Used where folders cannot be locked.
_ABANDONED_SECONDS = 3600.0


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder. If a process is killed, its lock is released."""
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
                    "seconds. End that process, then try again."
                )
            time.sleep(0.005)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Try to lock an open file or folder; return whether it was free."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _locked_folder(path: Path) -> Iterator[bool]:
    """Hold the lock of a folder if it is free; yield whether it was.

    The process that writes a partial version holds the lock of its folder.
    """
    if os.name != "posix":
        yield time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            is_free = _lock(handle)
        except OSError:  # some network file systems can only lock files
            is_free = time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        yield is_free
    finally:
        os.close(handle)


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Create and lock a folder to write a version in. It is removed unless it was renamed."""
    partial = folder / "versions" / f"{PARTIAL}{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        with one_writer(folder):
            partial.mkdir()
            stack.callback(_remove_own_files, partial)
            stack.enter_context(_locked_folder(partial))
        yield partial


def remove_abandoned(folder: Path) -> None:
    """Remove the leftovers of killed exports. The caller holds the lock of the folder."""
    for path in (folder / "versions").iterdir():
        if not _PARTIAL_NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        # A folder that cannot be removed, such as another user's, is not an error.
        with contextlib.suppress(OSError), _locked_folder(path) as is_abandoned:
            if is_abandoned:
                _remove_own_files(path)
    for path in folder.iterdir():
        # Only the holder of the lock writes these files, so no other process uses them.
        if _TEMPORARY_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()


def _remove_own_files(path: Path) -> None:
    """Remove the files that an export writes, and the folder if it is then empty."""
    for name in (MANIFEST, UNUSED, *ARRAYS):
        with contextlib.suppress(OSError):
            (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()
