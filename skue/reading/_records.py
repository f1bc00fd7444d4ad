"""Records of delimited text: where they end, whether their quote marks are in place, their fields.

A record is a line, or several lines if a quoted field contains line breaks. Inside a quoted field a
quote mark is doubled. Any other quote mark is an error, because programs disagree on its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from skue.reading._text_files import LINE_END, count_ends

_QUOTE = ord('"')
# A longer quoted field is surely a mistake. It is passed on unfinished, which is an error.
_LONGEST = 2**28


def blocks_of_records(chunks: Iterable[bytes], quotes: bool) -> Iterator[bytes]:
    """Cut text into blocks of complete records."""
    waiting: list[bytes] = []
    # An unfinished record is searched again only when its length has doubled.
    n_waiting = searched_at = 0
    for chunk in chunks:
        waiting.append(chunk)
        n_waiting += len(chunk)
        if n_waiting < searched_at:
            continue
        block = b"".join(waiting)
        end = _end_of_records(block, quotes)
        if not end and len(block) > _LONGEST and quotes and block.count(b'"') % 2:
            end = len(block)
        waiting, n_waiting = [block[end:]], len(block) - end
        searched_at = 0 if end else 2 * len(block)
        if end:
            yield block[:end]
    if n_waiting:
        yield b"".join(waiting)


def _end_of_records(block: bytes, quotes: bool) -> int:
    """Return the end of the last complete record, or 0."""
    # A carriage return at the very end may be half of a line end.
    end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, len(block) - 1)) + 1
    if not quotes or block.count(b'"', 0, end) % 2 == 0:
        return end
    letters = np.frombuffer(block, dtype=np.uint8)[:end]
    ends = _ends_of_lines(letters)
    n_quotes = np.searchsorted(np.flatnonzero(letters == _QUOTE), ends)
    outside = ends[n_quotes % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def first_in_quotes(block: bytes, character: str) -> int | None:
    """Return where an ASCII character first stands inside quote marks, or None."""
    if b'"' not in block:
        return None
    letters = np.frombuffer(block, dtype=np.uint8)
    at = np.flatnonzero(letters == ord(character))
    inside = np.searchsorted(np.flatnonzero(letters == _QUOTE), at) % 2 == 1
    return int(at[inside][0]) if inside.any() else None


def quote_fault(block: bytes, delimiter: str, n_lines: int) -> tuple[int, str] | None:
    """Find a quote mark that is out of place.

    Parameters
    ----------
    block : bytes
        Complete records.
    delimiter : str
        One character.
    n_lines : int
        Lines of the file before the block.

    Returns
    -------
    fault : (line, what) or None
        The line of the file, and a description of the fault.
    """
    if b'"' not in block:
        return None
    letters = np.frombuffer(block, dtype=np.uint8)
    at = np.flatnonzero(letters == _QUOTE)
    allowed = np.zeros(256, dtype=bool)
    allowed[[ord(delimiter), ord("\n"), ord("\r"), _QUOTE]] = True
    # Odd marks open a field and even marks close it. A doubled mark closes the field and opens it
    # again.
    opens, closes = at[::2], at[1::2]
    wrong = np.zeros(len(at), dtype=bool)
    wrong[::2] = ~allowed[letters[opens - 1]] & (opens > 0)
    after = letters[np.minimum(closes + 1, len(letters) - 1)]
    wrong[1::2] = ~allowed[after] & (closes + 1 < len(letters))

    def line(position: int) -> int:
        return n_lines + count_ends(block[:position]) + 1

    def around(position: int) -> str:
        return repr(block[max(0, position - 15) : position + 10].decode("utf-8", "replace"))

    if not wrong.any():
        if len(at) % 2 == 0:
            return None
        opened = int(at[-1])
        held = block[opened : opened + 25].decode("utf-8", "replace")
        return line(opened), f"a quote mark opens a field that is not closed, {held!r}"
    mark = int(wrong.argmax())
    position = int(at[mark])
    if mark % 2 == 0:
        return line(position), f"there is a quote mark inside a field, in {around(position)}"
    return line(int(at[mark - 1])), (
        f"a quote mark opens a field, but the next one, on line {line(position)}, does not close "
        f"it: {around(position)}"
    )


def _ends_of_lines(letters: np.ndarray) -> np.ndarray:
    """Return the positions of line ends; for the two letters of Windows, that of the second."""
    is_end = letters == ord("\n")
    returns = np.flatnonzero(letters == ord("\r"))
    is_end[returns] = True
    pairs = returns[returns + 1 < len(letters)]
    is_end[pairs[letters[pairs + 1] == ord("\n")]] = False
    return np.flatnonzero(is_end)


def lines_in_quotes(block: bytes, delimiter: str, n_fields: int) -> tuple[bool, int | None]:
    """Tell whether quoted fields contain line breaks, and find a record that is ambiguous.

    Returns
    -------
    has_line_breaks : bool
    start : int or None
        Start of the first record whose lines would all be complete rows without quoting.
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
    """Yield the line of each record in the block, from 0, and its start and stop."""
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


def first_records(block: bytes, quotes: bool, n_records: int) -> list[tuple[int, int, int]]:
    """Return the line, start and stop of the first records that are not blank."""
    spans = (span for span in records(block, quotes) if block[span[1] : span[2]].strip())
    return list(islice(spans, n_records))


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
    """Tell whether a record is empty, or consists of blanks and has too few fields for a row."""
    return not record or (not record.strip() and record.count(delimiter.encode()) != n_fields - 1)
