"""The report folder: written whole, or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import joblib

from skue.compare._page import page
from skue.compare._run import Comparison
from skue.compare._text import as_json

_MARK = "scores.json"


def check_writable(folder: Path) -> None:
    """Raise before any work is done when the folder could not be written in the end.

    Raises
    ------
    ValueError
        For a folder that holds anything but an earlier report, and for one that cannot be made.
    """
    parent = folder.resolve().parent
    if not parent.is_dir():
        raise ValueError(f"--out {folder}: there is no folder {parent}. Create it first.")
    try:
        os.rmdir(tempfile.mkdtemp(dir=parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise ValueError(
            f"--out {folder}: {parent} cannot be written to ({error.strerror}). "
            "Name another folder."
        ) from None
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).is_file():
        raise ValueError(
            f"--out {folder} exists and holds no earlier report. Name a new or empty folder."
        )


def write_report(comparison: Comparison, folder: Path) -> None:
    """Write ``report.html``, ``scores.json`` and each fitted encoder as ``.joblib``."""
    folder = folder.resolve()
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        (work / _MARK).write_text(as_json(comparison) + "\n", encoding="utf-8")
        files = {name: f"{file_name(name)}.joblib" for name in comparison.encoders}
        (work / "report.html").write_text(page(comparison, files), encoding="utf-8")
        for name, encoder in comparison.encoders.items():
            joblib.dump(encoder, work / files[name])
        work.chmod(0o755)
        _put_in_place(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def file_name(name: str) -> str:
    """Return a contender's name as it is written in file names."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _put_in_place(work: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(work, folder)
        return
    # The earlier report stays until the new one stands in its place.
    earlier = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-earlier-"))
    os.rename(folder, earlier / folder.name)
    try:
        os.rename(work, folder)
    except BaseException:
        os.rename(earlier / folder.name, folder)
        raise
    finally:
        shutil.rmtree(earlier, ignore_errors=True)
