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
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} is not UTF-8{_first_other_line(path)}. Save it as UTF-8."
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged or cut short: {error}. Copy or download it again."
        ) from None


def _first_other_line(path: Path) -> str:
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                held = line[max(0, error.start - 10) : error.start + 10]
                return f": line {number} holds {held!r}"
    return ""
