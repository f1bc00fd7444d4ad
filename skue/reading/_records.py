"""Records of delimited text: where they end, whether their quote marks make sense, their fields.

A record is a line, unless a field in quote marks goes on in the next line. Inside such a field a
quote mark is written twice. That is all that is allowed: what programs make of a quote mark
elsewhere differs, so it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from skue.reading._text_files import LINE_END

_QUOTE = ord('"')
# A field in quote marks that is longer was hardly meant. It is handed on as it is, and refused.
_LONGEST = 2**28


def blocks_of_records(chunks: Iterable[bytes], quotes: bool) -> Iterator[bytes]:
    """Cut text into blocks that end where a record ends."""
    rest = b""
    for chunk in chunks:
        block = rest + chunk if rest else chunk
        end = _end_of_records(block, quotes)
        if not end and len(block) > _LONGEST and quotes and block.count(b'"') % 2:
            end = len(block)
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest


def _end_of_records(block: bytes, quotes: bool) -> int:
    """Return where the last complete record ends; 0 where none does."""
    # A return at the very end may be half of the end of a line.
    end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, len(block) - 1)) + 1
    while quotes and end and block.count(b'"', 0, end) % 2:
        opening = block.rfind(b'"', 0, end)
        end = max(block.rfind(b"\n", 0, opening), block.rfind(b"\r", 0, opening)) + 1
    return end


def misplaced_quote(block: bytes, delimiter: str) -> tuple[int, int] | None:
    """Return where a quote mark is that makes no sense, and where its field was opened.

    Parameters
    ----------
    block : bytes
        Complete records.
    delimiter : str
        One character.

    Returns
    -------
    places : (at, opened) or None
        Positions in the block; both are the same where the field is not in quote marks, and
        ``at`` is the length of the block where a field is never closed.
    """
    if b'"' not in block:
        return None
    letters = np.frombuffer(block, dtype=np.uint8)
    at = np.flatnonzero(letters == _QUOTE)
    allowed = np.zeros(256, dtype=bool)
    allowed[[ord(delimiter), ord("\n"), ord("\r"), _QUOTE]] = True
    # Every other mark opens, and the one after it closes: a mark that is written twice closes the
    # field and opens it again at once.
    opens, closes = at[::2], at[1::2]
    misplaced_opens = ~allowed[letters[opens - 1]] & (opens > 0)
    after = letters[np.minimum(closes + 1, len(letters) - 1)]
    misplaced_closes = ~allowed[after] & (closes + 1 < len(letters))
    first = min(
        (int(opens[misplaced_opens][0]) if misplaced_opens.any() else len(block)),
        (int(closes[misplaced_closes][0]) if misplaced_closes.any() else len(block)),
    )
    if first == len(block):
        return (len(block), int(at[-1])) if len(at) % 2 else None
    mark = int(np.searchsorted(at, first))
    return (first, first) if mark % 2 == 0 else (first, int(at[mark - 1]))


def _ends_of_lines(letters: np.ndarray) -> np.ndarray:
    """Return where lines end; of the two letters that end one on Windows, the second counts."""
    is_end = letters == ord("\n")
    returns = np.flatnonzero(letters == ord("\r"))
    is_end[returns] = True
    pairs = returns[returns + 1 < len(letters)]
    is_end[pairs[letters[pairs + 1] == ord("\n")]] = False
    return np.flatnonzero(is_end)


def lines_in_quotes(block: bytes, delimiter: str, n_fields: int) -> tuple[bool, int | None]:
    """Tell whether fields go on in another line, and where that could be read in another way.

    Returns
    -------
    any_does : bool
    start : int or None
        Where a record starts of which each line is a whole row when quote marks are letters.
    """
    if b'"' not in block:
        return False, None
    letters = np.frombuffer(block, dtype=np.uint8)
    ends = _ends_of_lines(letters)
    goes_on = np.searchsorted(np.flatnonzero(letters == _QUOTE), ends) % 2 == 1
    if not goes_on.any():
        return False, None
    starts, stops = np.append(0, ends + 1), np.append(ends, len(block))
    delimiters = np.flatnonzero(letters == ord(delimiter))
    n_delimiters = np.searchsorted(delimiters, stops) - np.searchsorted(delimiters, starts)
    half_ends = (stops > starts) & (letters[stops - 1] == ord("\r"))
    fits = (n_delimiters == n_fields - 1) | (stops - half_ends <= starts)
    first_lines = np.flatnonzero(np.append(True, ~goes_on))
    n_lines = np.diff(np.append(first_lines, len(starts)))
    several = np.logical_and.reduceat(fits, first_lines) & (n_lines > 1)
    return True, int(starts[first_lines[several][0]]) if several.any() else None


def records(block: bytes, quotes: bool) -> Iterator[tuple[int, int, int]]:
    """Yield the line of each record in the block, from 0, and where it starts and stops."""
    start, first_line, at, in_quotes = 0, 0, 0, False
    for line, end in enumerate(LINE_END.finditer(block), start=1):
        if quotes:
            in_quotes ^= block.count(b'"', at, end.start()) % 2 == 1
            at = end.end()
        if not in_quotes:
            yield first_line, start, end.start()
            start, first_line = end.end(), line
    if start < len(block):
        yield first_line, start, len(block)


def fields_of(record: str, delimiter: str, quotes: bool) -> list[str]:
    """Return the fields of a record whose quote marks are in place."""
    if not quotes or '"' not in record:
        return record.split(delimiter)
    mark = re.escape(delimiter)
    field = re.compile(rf'(?:"((?:[^"]|"")*)"|([^"{mark}]*))(?:{mark}|\Z)', re.S)
    fields, at = [], 0
    while at <= len(record):
        match = field.match(record, at)
        if match is None:
            break
        quoted, plain = match.groups()
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        if match.end() == len(record) and not match.group().endswith(delimiter):
            break
        at = match.end()
    return fields


def is_blank(record: bytes, delimiter: str, n_fields: int) -> bool:
    """Tell whether a record is no row: it is empty, or blank and too short to be one."""
    return not record or (not record.strip() and record.count(delimiter.encode()) != n_fields - 1)
