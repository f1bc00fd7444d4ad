"""Opening text, compressed or not, and saying what is wrong with it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def opened(path: Path) -> Any:
    """Open a file for reading bytes, unpacking ``.gz``."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")


@contextmanager
def damage_said(path: Path) -> Iterator[None]:
    """Turn what reading raises about a file's bytes into an error that names the file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}. Save it as UTF-8."
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged or cut short: {error}. Copy or download it again."
        ) from None
