"""Delimited text (CSV, TSV and the like), read strictly by pyarrow.

The text goes through in blocks of whole records. Each is looked at before pyarrow parses it, and
a fault is looked for line by line, to be named, only in the block that has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from skue._optional import import_optional
from skue.reading._delimiters import N_LINES, guess_delimiter
from skue.reading._ids import shown
from skue.reading._records import (
    blocks_of_records,
    fields_of,
    is_blank,
    lines_in_quotes,
    misplaced_quote,
    records,
)
from skue.reading._text_files import LINE_END, LineCounter, count_ends, utf8_chunks

_PARSED_AT_ONCE = 2**21
# Enough for some lines, which are looked at first.
_HEAD = 2**16
# Stands for the delimiter "::" where a single letter is needed.
_UNIT_SEPARATOR = "\x1f"
_UNCLEAR_DOUBLE = re.compile(rb"(?<!:)(?:::)*:::(?!:)|\x1f")
_NO_QUOTES = (
    "If the file does not put fields in quote marks, say quotes=False (--no-quotes on the command "
    'line). Otherwise put the field in quote marks and write each mark inside it twice ("").'
)


class _Start(NamedTuple):
    """Where a block starts: rows and line ends before it."""

    n_rows: int
    n_lines: int


class DelimitedFile:
    """A table of text, of which columns are read.

    Parameters
    ----------
    path : Path
    given : dict of role to str, int or None
        The columns that were asked for; positions mean that there is no header line.
    encoding : str
    delimiter : str or None
        None looks at the first lines.
    quotes : bool
        Whether fields may be in quote marks.

    Attributes
    ----------
    names : list of str, or of int
        The columns, as the header names them; their positions without a header.
    first_line : list of str
        The fields of the first line.
    n_rows : int
        Rows that were read so far.

    Raises
    ------
    ValueError
        For an empty file, and where the delimiter is not clear.
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
        spans = (span for span in records(head, quotes) if head[span[1] : span[2]].strip())
        first_spans = list(islice(spans, N_LINES))
        if not first_spans:
            raise ValueError(f"{path} is empty; a header line is expected.")
        if delimiter is None:
            lines = [head[start:stop].decode() for _, start, stop in first_spans]
            delimiter = guess_delimiter(lines, given, quotes, path)
        self._is_double = delimiter == "::"
        self.delimiter = _UNIT_SEPARATOR if self._is_double else delimiter
        self.n_rows = 0
        self._starts: list[_Start] = []
        line, start, stop = first_spans[0]
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
        """Yield the rows as blocks of whole records, and the number of lines before each."""
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
        """Yield tables of pyarrow with some columns, named "0", "1" and so on by position.

        Parameters
        ----------
        types : callable
            Returns the types of pyarrow as which the columns of the next table are read, by
            position.
        """
        self.n_rows, self._starts = 0, []
        for n_lines, block in self._blocks():
            self._starts.append(_Start(self.n_rows, n_lines))
            table = self._parsed(block, n_lines, types())
            self.n_rows += len(table)
            if len(table):
                yield table

    def place(self, row: int) -> str:
        """Return the words for where a row is: its line, where the header is line 1."""
        before = [start for start in self._starts if start.n_rows <= row]
        n_lines, block = next(islice(self._blocks(), len(before) - 1, None))
        rows = (line for line, record in self._rows(block))
        line = next(islice(rows, row - before[-1].n_rows, None))
        return f"line {n_lines + line + 1}"

    def _rows(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the records that are rows, and the line of the block that each starts on."""
        for line, start, stop in records(block, self.quotes):
            record = block[start:stop]
            if not is_blank(record, self.delimiter, self.n_fields):
                yield line, record

    def _parsed(self, block: bytes, n_lines: int, columns: dict[int, Any]) -> Any:
        arrow = import_optional("pyarrow", "io")
        goes_on = self._refuse_faults(block, n_lines)
        # pyarrow takes the letter U+FEFF at the start of what it reads for a byte order mark.
        text = b"\n" + block if block.startswith(b"\xef\xbb\xbf") else block
        try:
            return self._parse(text, columns, goes_on, _PARSED_AT_ONCE)
        except arrow.ArrowInvalid:
            # Lines of blanks are no rows, and records may be longer than what is parsed at once.
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
        # The threads of pyarrow must hold no object of Python: when they let go of it while
        # Python ends, the process is aborted. So pyarrow gets a copy that is its own.
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
        """Raise for NUL bytes and odd quote marks; tell whether a field goes on in another line."""
        at = block.find(b"\0")
        if at >= 0:
            raise ValueError(
                f"{self.path}, line {n_lines + count_ends(block[:at]) + 1}: there is a NUL byte. "
                "Remove it, or say which encoding the file has, such as encoding='utf-16' "
                "(--encoding on the command line)."
            )
        if not self.quotes:
            return False
        self._refuse_misplaced_quotes(block, n_lines)
        goes_on, at_record = lines_in_quotes(block, self.delimiter, self.n_fields)
        if at_record is not None:
            raise ValueError(
                f"{self.path}, line {n_lines + count_ends(block[:at_record]) + 1}: a field in "
                "quote marks goes on in the next line, but each of these lines is a whole row "
                "when the marks are letters. If they are letters, say quotes=False (--no-quotes "
                "on the command line); otherwise remove the line break."
            )
        return goes_on

    def _refuse_misplaced_quotes(self, block: bytes, n_lines: int) -> None:
        misplaced = misplaced_quote(block, self.delimiter) if self.quotes else None
        if misplaced is not None:
            raise self._quote_error(block, n_lines, *misplaced)

    def _quote_error(self, block: bytes, n_lines: int, at: int, opened: int) -> ValueError:
        line = n_lines + count_ends(block[:opened]) + 1
        held = block[max(0, at - 15) : at + 10].decode("utf-8", "replace")
        if at == len(block):
            held = block[opened : opened + 25].decode("utf-8", "replace")
            what = f"a quote mark opens a field that is not closed, {held!r}"
        elif at == opened:
            what = f"there is a quote mark inside a field, in {held!r}"
        else:
            until = n_lines + count_ends(block[:at]) + 1
            what = (
                f"a quote mark opens a field, but the next one, on line {until}, does not close "
                f"it: {held!r}"
            )
        return ValueError(f"{self.path}, line {line}: {what}. {_NO_QUOTES}")

    def _ragged(self, block: bytes, n_lines: int, error: Exception) -> ValueError:
        """Return the error for the first record that has too many or too few fields."""
        for line, record in self._rows(block):
            fields = fields_of(record.decode("utf-8"), self.delimiter, self.quotes)
            if len(fields) != self.n_fields:
                mark = "::" if self._is_double else self.delimiter
                like = "header has" if self.has_header else "first line has"
                return ValueError(
                    f"{self.path}, line {n_lines + line + 1}: there are {len(fields)} fields, but "
                    f"the {like} {self.n_fields}: {shown(mark.join(fields))}. Put fields that "
                    f"hold the delimiter {mark!r} in quote marks, or name another delimiter= "
                    "(--delimiter on the command line)."
                )
        return ValueError(f"{self.path} cannot be read as a table: {error}.")

    def _one_letter(self, block: bytes, n_lines: int) -> bytes:
        """Return the text with a single letter for the delimiter, where that is "::"."""
        if not self._is_double:
            return block
        unclear = _UNCLEAR_DOUBLE.search(block)
        if unclear is not None:
            line = n_lines + count_ends(block[: unclear.start()]) + 1
            raise ValueError(
                f"{self.path}, line {line}: it is not clear where fields end at "
                f"{unclear.group().decode()!r}. Write the file with another delimiter."
            )
        return block.replace(b"::", _UNIT_SEPARATOR.encode())


def first_line(path: Path, encoding: str) -> str:
    """Return the first line that is not blank; empty text where there is none."""
    head = _first_lines(blocks_of_records(utf8_chunks(path, encoding, _HEAD), quotes=False))
    lines = (head[start:stop].decode() for _, start, stop in records(head, quotes=False))
    return next(filter(str.strip, lines), "")


def _first_lines(blocks: Iterator[bytes]) -> bytes:
    """Return the first blocks, until there is something in them."""
    head = b""
    for block in blocks:
        head += block
        if block.strip():
            break
    return head
