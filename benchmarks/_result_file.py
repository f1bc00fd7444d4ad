"""Write the figures of a benchmark."""

from __future__ import annotations

import json
from pathlib import Path


def write(path: Path, result: object) -> None:
    """Write the result under a temporary name and rename it, so that no file is half written."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
