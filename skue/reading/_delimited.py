"""Delimited text (CSV, TSV and the like), read strictly by pyarrow.

The text is read in blocks of whole records. Each block is checked before pyarrow parses it. Only a
block with a fault is searched line by line, to name the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from skue._estimator import import_optional
from skue.reading._column_names import guess_column
from skue.reading._ids import shown
from skue.reading._records import (
    blocks_of_records,
    fields_of,
    first_in_quotes,
    first_records,
    is_blank,
    lines_in_quotes,
    quote_fault,
    records,
)
from skue.reading._text_files import LINE_END, LineCounter, count_ends, utf8_chunks

_PARSED_AT_ONCE = 2**21
# Bytes that are read to find the delimiter and the header.
_HEAD = 2**16
DELIMITERS = (",", "\t", ";", "|", "::")
# Lines used to choose between several possible delimiters.
_N_LINES = 100
# Replaces the delimiter "::", because pyarrow needs a single character.
_UNIT_SEPARATOR = "\x1f"
_UNCLEAR_DOUBLE = re.compile(rb"(?<!:)(?:::)*:::(?!:)|\x1f")
_NO_QUOTES = (
    "If the file does not quote fields, set quotes=False (--no-quotes on the command line). "
    'Otherwise quote the field, and double each quote mark inside it ("").'
)


class _Start(NamedTuple):
    """The number of rows and of line ends before a block."""

    n_rows: int
    n_lines: int


class DelimitedFile:
    """A table in delimited text, of which some columns are read.

    Parameters
    ----------
    path : Path
    given : dict of role to str, int or None
        The columns that the caller named. Positions mean that there is no header line.
    encoding : str
    delimiter : str or None
        None infers it from the first lines.
    quotes : bool
        Whether fields may be quoted.

    Attributes
    ----------
    names : list of str, or of int
        The columns: their names in the header, or their positions without a header.
    first_line : list of str
        The fields of the first line.
    n_rows : int
        Number of rows read so far.

    Raises
    ------
    ValueError
        For an empty file, and for a delimiter that is not clear.
    """

    def __init__(
        self,
        path: Path,
        given: dict[str, str | int | None],
        *,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool = True,
    ) -> None:
        self.path, self.encoding, self.quotes = path, encoding, quotes
        self.has_header = not any(isinstance(name, int) for name in given.values())
        head = _first_lines(blocks_of_records(utf8_chunks(path, encoding, _HEAD), quotes))
        spans = first_records(head, quotes, _N_LINES)
        if not spans:
            raise ValueError(f"{path} is empty; a header line is expected.")
        if delimiter is None:
            lines = [head[start:stop].decode() for _, start, stop in spans]
            delimiter = guess_delimiter(lines, given, quotes, path)
        self._is_double = delimiter == "::"
        self.delimiter = _UNIT_SEPARATOR if self._is_double else delimiter
        self.n_rows = 0
        self._starts: list[_Start] = []
        line, start, stop = spans[0]
        first = self._one_letter(head[start:stop], line)
        self._refuse_misplaced_quotes(first, line)
        self.first_line = fields = fields_of(first.decode(), self.delimiter, quotes)
        self.n_fields = len(fields)
        self.names: list[Any] = list(range(len(fields)))
        self._length_of_header = 0
        if self.has_header:
            self.names = [name.strip() for name in fields]
            end = LINE_END.search(head, stop)
            self._length_of_header = len(head) if end is None else end.end()

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number of lines before each block of whole records, and the block."""
        lines = LineCounter()
        n_header = self._length_of_header
        for block in blocks_of_records(utf8_chunks(self.path, self.encoding), self.quotes):
            n_lines = lines.n_ends
            lines.count(block)
            if n_header:
                header, block = block[:n_header], block[n_header:]
                n_header -= len(header)
                n_lines += count_ends(header)
            if block:
                yield n_lines, self._one_letter(block, n_lines)

    def tables(self, types: Callable[[], dict[int, Any]]) -> Iterator[Any]:
        """Yield pyarrow tables with some columns, named by position: "0", "1" and so on.

        Parameters
        ----------
        types : callable
            Returns the pyarrow types of the columns of the next table, by position.
        """
        self.n_rows, self._starts = 0, []
        for n_lines, block in self._blocks():
            self._starts.append(_Start(self.n_rows, n_lines))
            table = self._parsed(block, n_lines, types())
            self.n_rows += len(table)
            if len(table):
                yield table

    def place(self, row: int) -> str:
        """Return the line of a row, for error messages."""
        before = [start for start in self._starts if start.n_rows <= row]
        n_lines, block = next(islice(self._blocks(), len(before) - 1, None))
        rows = (line for line, record in self._rows(block))
        line = next(islice(rows, row - before[-1].n_rows, None))
        return f"line {n_lines + line + 1}"

    def _rows(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the records that are rows, and the line of the block on which each starts."""
        for line, start, stop in records(block, self.quotes):
            record = block[start:stop]
            if not is_blank(record, self.delimiter, self.n_fields):
                yield line, record

    def _parsed(self, block: bytes, n_lines: int, columns: dict[int, Any]) -> Any:
        arrow = import_optional("pyarrow", "io")
        goes_on = self._refuse_faults(block, n_lines)
        # At the start of its input, pyarrow would drop the character U+FEFF as a byte order mark.
        text = b"\n" + block if block.startswith(b"\xef\xbb\xbf") else block
        try:
            # At the border of two blocks, pyarrow may lose a line break inside a field.
            at_once = len(text) + 1 if goes_on else _PARSED_AT_ONCE
            return self._parse(text, columns, goes_on, at_once)
        except arrow.ArrowInvalid:
            # Either there are blank lines, or a record is longer than the parser's block.
            text = b"\n".join([b"", *(record for _, record in self._rows(block)), b""])
        if not text.strip(b"\n"):
            return arrow.table({str(position): [] for position in columns})
        try:
            return self._parse(text, columns, goes_on, len(text) + 1)
        except arrow.ArrowInvalid as error:
            raise self._ragged(block, n_lines, error) from None

    def _parse(self, text: bytes, columns: dict[int, Any], goes_on: bool, at_once: int) -> Any:
        arrow = import_optional("pyarrow", "io")
        csv = import_optional("pyarrow.csv", "io")
        # A thread of pyarrow that releases a Python object while Python exits aborts the process.
        # So pyarrow gets its own copy.
        own = arrow.BufferOutputStream()
        own.write(text)
        return csv.read_csv(
            arrow.BufferReader(own.getvalue()),
            csv.ReadOptions(
                column_names=[str(position) for position in range(self.n_fields)],
                block_size=at_once,
            ),
            csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quotes else False,
                newlines_in_values=goes_on,
            ),
            csv.ConvertOptions(
                column_types={str(position): kind for position, kind in columns.items()},
                include_columns=[str(position) for position in columns],
            ),
        )

    def _refuse_faults(self, block: bytes, n_lines: int) -> bool:
        """Raise for NUL bytes and misplaced quote marks; tell whether fields have line breaks."""
        at = block.find(b"\0")
        if at >= 0:
            raise ValueError(
                f"{self.path}, line {n_lines + count_ends(block[:at]) + 1}: there is a NUL byte. "
                "Remove it, or give the encoding of the file, for example encoding='utf-16' "
                "(--encoding on the command line)."
            )
        if not self.quotes:
            return False
        self._refuse_misplaced_quotes(block, n_lines)
        goes_on, at_record = lines_in_quotes(block, self.delimiter, self.n_fields)
        if at_record is not None:
            raise ValueError(
                f"{self.path}, line {n_lines + count_ends(block[:at_record]) + 1}: a quoted field "
                "continues on the next line, but without quoting each of these lines would be a "
                "whole row. If the file does not quote fields, set quotes=False (--no-quotes on "
                "the command line); otherwise remove the line break."
            )
        return goes_on

    def _refuse_misplaced_quotes(self, block: bytes, n_lines: int) -> None:
        fault = quote_fault(block, self.delimiter, n_lines) if self.quotes else None
        if fault is not None:
            line, what = fault
            raise ValueError(f"{self.path}, line {line}: {what}. {_NO_QUOTES}")

    def _ragged(self, block: bytes, n_lines: int, error: Exception) -> ValueError:
        """Return the error for the first record with too many or too few fields."""
        for line, record in self._rows(block):
            fields = fields_of(record.decode("utf-8"), self.delimiter, self.quotes)
            if len(fields) != self.n_fields:
                mark = "::" if self._is_double else self.delimiter
                like = "header has" if self.has_header else "first line has"
                return ValueError(
                    f"{self.path}, line {n_lines + line + 1}: there are {len(fields)} fields, but "
                    f"the {like} {self.n_fields}: {shown(mark.join(fields))}. Quote fields that "
                    f"contain the delimiter {mark!r}, or set another delimiter= (--delimiter on "
                    "the command line)."
                )
        return ValueError(f"{self.path} cannot be read as a table: {error}.")

    def _one_letter(self, block: bytes, n_lines: int) -> bytes:
        """Replace the delimiter "::" by a single character."""
        if not self._is_double:
            return block
        unclear = _UNCLEAR_DOUBLE.search(block)
        if unclear is not None:
            line = n_lines + count_ends(block[: unclear.start()]) + 1
            raise ValueError(
                f"{self.path}, line {line}: it is not clear where fields end at "
                f"{unclear.group().decode()!r}. Write the file with another delimiter."
            )
        replaced = block.replace(b"::", _UNIT_SEPARATOR.encode())
        quoted = first_in_quotes(replaced, _UNIT_SEPARATOR) if self.quotes else None
        if quoted is not None:
            line = n_lines + count_ends(replaced[:quoted]) + 1
            raise ValueError(
                f"{self.path}, line {line}: a quoted field contains '::', the delimiter. Write the "
                "file with another delimiter."
            )
        return replaced


def first_line(path: Path, encoding: str) -> str:
    """Return the first line that is not blank, or empty text."""
    head = _first_lines(blocks_of_records(utf8_chunks(path, encoding, _HEAD), quotes=False))
    lines = (head[start:stop].decode() for _, start, stop in records(head, quotes=False))
    return next(filter(str.strip, lines), "")


def _first_lines(blocks: Iterator[bytes]) -> bytes:
    """Return the first blocks, up to one that is not blank."""
    head = b""
    for block in blocks:
        head += block
        if block.strip():
            break
    return head


def guess_delimiter(
    lines: list[str], given: dict[str, str | int | None], quotes: bool, path: Path
) -> str:
    """Return the delimiter.

    If the first line contains several usual ones, the delimiter is the only one that gives a user
    and an item column, or the only one that gives all lines the same number of fields.

    Raises
    ------
    ValueError
        For several possible delimiters, naming the option ``delimiter``.
    """
    marks = [mark for mark in DELIMITERS if mark in lines[0]]
    if not marks:
        return " " if " " in lines[0].strip() else ","
    if len(marks) == 1:
        return marks[0]
    for fits in (_has_roles, _is_even):
        fitting = [mark for mark in marks if fits(lines, mark, given, quotes)]
        if len(fitting) == 1:
            return fitting[0]
        marks = fitting or marks
    read = "; ".join(f"{mark!r} gives {fields_of(lines[0], mark, quotes)}" for mark in marks)
    raise ValueError(
        f"{path}: the delimiter is not clear: {read}. Set delimiter={marks[0]!r} (--delimiter on "
        "the command line) or another one."
    )


def _has_roles(
    lines: list[str], mark: str, given: dict[str, str | int | None], quotes: bool
) -> bool:
    """Tell whether the first line has all of the required columns."""
    names: list[Any] = [name.strip() for name in fields_of(lines[0], mark, quotes)]
    if any(isinstance(name, int) for name in given.values()):
        names = list(range(len(names)))
    chosen = [guess_column(names, role) for role in ("user", "item") if given[role] is None]
    return None not in chosen and all(name in names for name in given.values() if name is not None)


def _is_even(lines: list[str], mark: str, given: dict[str, str | int | None], quotes: bool) -> bool:
    """Tell whether all lines have the same number of fields."""
    return len({len(fields_of(line, mark, quotes)) for line in lines}) == 1
