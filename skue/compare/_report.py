"""Writing the report folder. Only files of an earlier report are replaced."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import joblib

from skue.compare._contenders import ENCODER_NAMES
from skue.compare._page import page
from skue.compare._run import Comparison
from skue.compare._stopping import Stopping
from skue.compare._text import as_json

MANIFEST = "skue-report.json"
_SCORES, _PAGE = "scores.json", "report.html"
_STAGING = ".skue-report-"
# A manifest with any other file name is invalid.
_OWN_NAMES = re.compile(r"report\.html|scores\.json|[a-z0-9][a-z0-9-]{0,99}\.joblib")
_LARGEST_MANIFEST = 1_000_000

Checksums = dict[str, list[str]]
"""The SHA-256 sums of each file. A file with any of them belongs to the report."""


def check_folder(folder: Path) -> list[str]:
    """Raise if the report cannot be written, before any work is done.

    Returns
    -------
    left_over : list of str
        Folders inside that killed runs left. They are not changed.

    Raises
    ------
    ValueError
        If the folder has files but no report, if a report was changed, or if the folder cannot be
        created or written to.
    """
    exists = folder.is_dir()
    if not exists and os.path.lexists(folder):
        raise ValueError(f"--out {folder} is not a folder. Name a folder.")
    if not exists and not folder.absolute().parent.is_dir():
        parent = folder.absolute().parent
        raise ValueError(f"--out {folder}: the folder {parent} does not exist. Create it first.")
    if exists:
        _own_files(folder, [_SCORES, _PAGE, *map(encoder_file, ENCODER_NAMES)])
    inside = folder if exists else folder.absolute().parent
    probe = inside / f"{_STAGING}{secrets.token_hex(6)}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise ValueError(
            f"--out {folder}: {inside} is not writable ({error.strerror}). Name another folder."
        ) from None
    return sorted(n for n in os.listdir(folder) if n.startswith(_STAGING)) if exists else []


def write_report(comparison: Comparison, folder: Path, stopping: Stopping) -> None:
    """Write ``report.html``, ``scores.json``, each fitted encoder and the manifest.

    All files are written to a hidden folder inside ``folder`` and renamed at the end. Until then
    the earlier report is unchanged.
    """
    is_new = not folder.exists()
    staging = folder / f"{_STAGING}{secrets.token_hex(6)}"

    def clean_up() -> None:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new and folder.is_dir() and not os.listdir(folder):
            folder.rmdir()

    with stopping.undoing(clean_up):
        folder.mkdir(exist_ok=True)
        staging.mkdir()
        files = {name: encoder_file(name) for name in comparison.encoders}
        _write_text(staging / _SCORES, as_json(comparison) + "\n")
        _write_text(staging / _PAGE, page(comparison, files))
        for name, encoder in comparison.encoders.items():
            joblib.dump(encoder, staging / files[name])
            _sync(staging / files[name])
        with stopping.held_back(), _alone_in(folder):
            _put_in_place(staging, folder, [_SCORES, _PAGE, *files.values()])
            stopping.outcome = f"the report in {folder} is complete"


def encoder_file(name: str) -> str:
    """Return the name of the file that holds an encoder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".joblib"


def _put_in_place(staging: Path, folder: Path, names: list[str]) -> None:
    # Checked again, as the folder may have changed while the encoders were fitted.
    earlier = _own_files(folder, names)
    new = {name: [_checksum(staging / name)] for name in names}
    # If the process is killed between two renames, the folder has files of both reports. The
    # manifest then lists both checksums.
    both = {n: [*earlier.get(n, []), *new.get(n, [])] for n in dict.fromkeys([*earlier, *new])}
    for name, files in (("both", both), ("new", new)):
        written = {"written by": "skue compare", "files": files}
        _write_text(staging / name, json.dumps(written, indent=2) + "\n")
    os.replace(staging / "both", folder / MANIFEST)
    for name in names:
        os.replace(staging / name, folder / name)
    for name in earlier.keys() - new.keys():
        (folder / name).unlink(missing_ok=True)
    os.replace(staging / "new", folder / MANIFEST)


def _own_files(folder: Path, to_write: Iterable[str]) -> Checksums:
    """Return the files that an earlier report wrote into the folder.

    Raises
    ------
    ValueError
        If the folder has files but no report, if a file of the report has changed, or if a file
        that is not of the report has a name of ``to_write``.
    """
    present = os.listdir(folder)
    if MANIFEST not in present:
        if all(name.startswith(_STAGING) for name in present):
            return {}
        if _SCORES in present and _PAGE in present:
            raise ValueError(
                f"--out {folder} has a report of skue 0.1 without {MANIFEST}, so it is not known "
                "which files belong to the report. Name a new folder, or move the files of this "
                "one elsewhere."
            )
        raise ValueError(
            f"--out {folder} is not empty and has no earlier report of skue. Name a new or empty "
            "folder."
        )
    recorded = _read_manifest(folder)
    for name, checksums in recorded.items():
        if name in present and not (
            _is_plain(folder / name) and _checksum(folder / name) in checksums
        ):
            raise ValueError(
                f"--out {folder}: {name} has changed since skue wrote it. Move it elsewhere, "
                "delete it, or name another folder."
            )
    # On file systems that ignore case, names that differ in case are the same file.
    taken = {name.lower() for name in to_write}
    for name in present:
        if name.lower() in taken and name not in recorded:
            raise ValueError(
                f"--out {folder}: {name} was not written by skue, and the report would replace "
                "it. Move it elsewhere, or name another folder."
            )
    return recorded


def _read_manifest(folder: Path) -> Checksums:
    path = folder / MANIFEST
    wrong = ValueError(
        f"--out {folder}: {MANIFEST} is not as skue writes it, so it is not known which files "
        "belong to the report. Name a new folder."
    )
    if not _is_plain(path) or path.stat().st_size > _LARGEST_MANIFEST:
        raise wrong
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        recorded = {str(name): list(map(str, checksums)) for name, checksums in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise wrong from None
    if not all(map(_OWN_NAMES.fullmatch, recorded)):
        raise wrong
    return recorded


def _is_plain(path: Path) -> bool:
    """Return whether this is a regular file, not a link or a pipe."""
    return stat.S_ISREG(path.lstat().st_mode)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_text(path: Path, text: str) -> None:
    # File names may have bytes that are not valid text.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs from renaming files in the folder at the same time."""
    fcntl: Any
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # nor have some network file systems
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
