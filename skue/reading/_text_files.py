"""Text files as UTF-8 bytes, unpacked and decoded, one chunk after another."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CHUNK = 2**24
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\n|\r")


def utf8_chunks(path: Path, encoding: str) -> Iterator[bytes]:
    """Yield the text of a file as UTF-8, without a byte order mark.

    Raises
    ------
    ValueError
        For bytes that are not of the encoding, naming the line, and for a damaged ``.gz``.
    """
    name = checked_encoding(encoding)
    decoder = codecs.getincrementaldecoder(name)(errors="strict")
    # Text that is UTF-8 already is checked, not converted.
    decode = _checked if name == "utf-8" else _converted
    lines = LineCounter()
    start = True
    for raw in _raw_chunks(path):
        try:
            chunk = decode(decoder, raw, not raw)
        except UnicodeError as error:
            raise _wrong_encoding(path, encoding, error, lines.n_ends) from None
        if start and (chunk or not raw):
            chunk, start = chunk.removeprefix(_BYTE_ORDER_MARK), False
        lines.count(chunk)
        if chunk:
            yield chunk


def checked_encoding(encoding: str) -> str:
    """Return Python's own name of an encoding of text."""
    try:
        info = codecs.lookup(encoding)
        codecs.getincrementaldecoder(info.name)
        "".encode(info.name)
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f"encoding={encoding!r} is no encoding of text that Python knows. Usual ones are "
            "'utf-8', 'cp1252' and 'utf-16'."
        ) from None
    return "utf-8" if info.name == "utf-8-sig" else info.name


class LineCounter:
    """Counts the ends of lines (``\\n``, ``\\r\\n`` or ``\\r``) of text that comes in chunks."""

    def __init__(self) -> None:
        self.n_ends = 0
        self._after_return = False

    def count(self, chunk: bytes) -> None:
        if not chunk:
            return
        self.n_ends += count_ends(chunk) - (self._after_return and chunk.startswith(b"\n"))
        self._after_return = chunk.endswith(b"\r")


def count_ends(text: bytes) -> int:
    n_returns = text.count(b"\r")
    return text.count(b"\n") + n_returns - (text.count(b"\r\n") if n_returns else 0)


def _raw_chunks(path: Path) -> Iterator[bytes]:
    """Yield the unpacked bytes, and an empty chunk at the end."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{path} is damaged or cut short: {error}. Copy or download it again."
                ) from None
            yield chunk
            if not chunk:
                return


def _checked(decoder: Any, raw: bytes, final: bool) -> bytes:
    # Between characters the decoder holds nothing, so that ASCII can pass it by.
    if final or not raw.isascii() or decoder.getstate()[0]:
        decoder.decode(raw, final)
    return raw


def _converted(decoder: Any, raw: bytes, final: bool) -> bytes:
    return decoder.decode(raw, final).encode("utf-8")


def _wrong_encoding(
    path: Path, encoding: str, error: UnicodeError, n_ends_before: int
) -> ValueError:
    held, line, hint = "a byte", n_ends_before + 1, ""
    if isinstance(error, UnicodeDecodeError):
        raw = bytes(error.object)
        before = raw[: error.start].decode(encoding, errors="ignore").encode("utf-8", "ignore")
        line += count_ends(before)
        held = repr(raw[max(0, error.start - 10) : error.start + 10])
        if n_ends_before == 0 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            hint = " The file starts as UTF-16 does: encoding='utf-16'."
    return ValueError(
        f"{path}, line {line}: {held} is not {encoding}.{hint} Name the encoding of the file, "
        "for example encoding='cp1252' (--encoding on the command line), or save it as UTF-8."
    )
