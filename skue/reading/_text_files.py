"""Text files as chunks of UTF-8 bytes, decompressed and decoded."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK = 2**24
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\n|\r")


def utf8_chunks(path: Path, encoding: str, n_bytes: int | None = None) -> Iterator[bytes]:
    """Yield the text of a file as UTF-8, without a byte order mark.

    Parameters
    ----------
    path : Path
    encoding : str
    n_bytes : int, default=None
        How much of the file is read at once.

    Raises
    ------
    ValueError
        For bytes that are invalid in the encoding, naming the line, and for a damaged ``.gz``.
    """
    name = checked_encoding(encoding)
    decoder = codecs.getincrementaldecoder(name)(errors="strict")
    # UTF-8 is only checked, because converting it is slower.
    decode = _checked if name == "utf-8" else _converted
    start = True
    for raw in _raw_chunks(path, n_bytes or _CHUNK):
        try:
            chunk = decode(decoder, raw, not raw)
        except UnicodeError as error:
            raise _wrong_encoding(path, encoding, error) from None
        if start and (chunk or not raw):
            chunk, start = chunk.removeprefix(_BYTE_ORDER_MARK), False
        if chunk:
            yield chunk


def checked_encoding(encoding: str) -> str:
    """Return Python's name of a text encoding."""
    try:
        info = codecs.lookup(encoding)
        codecs.getincrementaldecoder(info.name)
        "".encode(info.name)
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f"encoding={encoding!r} is not a text encoding that Python knows. Usual ones are "
            "'utf-8', 'cp1252' and 'utf-16'."
        ) from None
    return "utf-8" if info.name == "utf-8-sig" else info.name


class LineCounter:
    """Counts line ends (``\\n``, ``\\r\\n`` or ``\\r``) over several chunks of text."""

    def __init__(self) -> None:
        self.n_ends = 0
        self._after_return = False

    def count(self, chunk: bytes) -> None:
        if not chunk:
            return
        self.n_ends += count_ends(chunk) - (self._after_return and chunk.startswith(b"\n"))
        self._after_return = chunk.endswith(b"\r")


def count_ends(text: bytes) -> int:
    # numpy counts frequent letters much faster than bytes.count.
    letters = np.frombuffer(text, dtype=np.uint8)
    n_ends = np.count_nonzero(letters == ord("\n"))
    if b"\r" in text:
        n_ends += np.count_nonzero(letters == ord("\r")) - text.count(b"\r\n")
    return int(n_ends)


def _raw_chunks(path: Path, n_bytes: int) -> Iterator[bytes]:
    """Yield the decompressed bytes, and an empty chunk at the end."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
        while True:
            try:
                chunk = file.read(n_bytes)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{path} is damaged or cut short: {error}. Copy or download it again."
                ) from None
            yield chunk
            if not chunk:
                return


def _checked(decoder: Any, raw: bytes, final: bool) -> bytes:
    # ASCII needs no decoding, unless the decoder waits for the rest of a character.
    if final or not raw.isascii() or decoder.getstate()[0]:
        decoder.decode(raw, final)
    return raw


def _converted(decoder: Any, raw: bytes, final: bool) -> bytes:
    return decoder.decode(raw, final).encode("utf-8")


def _wrong_encoding(path: Path, encoding: str, error: UnicodeError) -> ValueError:
    held, hint = "a byte", ""
    if isinstance(error, UnicodeDecodeError):
        held = repr(bytes(error.object)[max(0, error.start - 10) : error.start + 10])
    with open(path, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            hint = " The file starts like UTF-16: try encoding='utf-16'."
    line = _first_line_of_other_encoding(path, encoding)
    return ValueError(
        f"{path}, line {line}: {held} is not {encoding}.{hint} Give the encoding of the file, "
        "for example encoding='cp1252' (--encoding on the command line), or save it as UTF-8."
    )


def _first_line_of_other_encoding(path: Path, encoding: str) -> int:
    """Return the line at which decoding fails. This reads the file again."""
    decoder = codecs.getincrementaldecoder(checked_encoding(encoding))(errors="strict")
    lines = LineCounter()
    for raw in _raw_chunks(path, _CHUNK):
        try:
            lines.count(_converted(decoder, raw, not raw))
        except UnicodeDecodeError as error:
            before = bytes(error.object)[: error.start].decode(encoding, errors="ignore")
            lines.count(before.encode("utf-8", "ignore"))
            break
    return lines.n_ends + 1
