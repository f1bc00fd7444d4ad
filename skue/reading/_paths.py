"""Which file a path names, and of which kind it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

_OTHER_PACKING = (".bz2", ".xz", ".zip", ".zst", ".tar", ".7z")
_OTHER_KINDS = (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".feather", ".pkl", ".npz")


def checked_path(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path of a file that can be read, and its kind: ``".csv"`` of ``log.csv.gz``.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For a URL, a folder, or a kind of file that skue does not read.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(path)):
        raise ValueError(
            f"{os.fspath(path)} is a URL. Download the file first, and give its path on disk."
        )
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Name one file.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is no regular file. Write the data to a file first.")
    packing = path.suffix.lower()
    if packing in _OTHER_PACKING:
        raise ValueError(f"{path} is packed as {packing}. Unpack it, or pack it as .gz.")
    kind = Path(path.stem).suffix.lower() if packing == ".gz" else packing
    if kind in _OTHER_KINDS:
        raise ValueError(
            f"{path} is a {kind} file. Save it as CSV, TSV or Parquet, or read it into a frame and "
            "use Histories.from_frame."
        )
    return path, kind
