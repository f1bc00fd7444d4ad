"""Find the log that a command names."""

from __future__ import annotations

import os
from pathlib import Path


def log_path(name: str) -> Path:
    """Return the path of a file, or of the file with this name in the folder SKUE_DATA."""
    for path in (Path(name), Path(os.environ.get("SKUE_DATA", ".")) / name):
        if path.exists():
            return path
    raise SystemExit(f"no log {name}: set SKUE_DATA to the folder with the log")
