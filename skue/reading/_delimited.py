"""Delimited text (CSV, TSV and the like), read strictly by pyarrow.

pyarrow reports rows with too many or too few fields. It is lenient with quote marks that are out of
place, so these are looked for first.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from skue._estimator import import_optional
from skue.reading._column_names import guess_column, looks_like_a_log
from skue.reading._ids import shown

DELIMITERS = (",", "\t", ";", "|", "::")
# Bytes that are decoded at once.
_PIECE = 2**24
# Bytes that pyarrow parses at once. A row must not be longer.
_BLOCK = 2**26
# Lines that are used to choose between several possible delimiters.
_N_LINES = 100
_N_FIRST_ROWS = 1000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Replaces the delimiter "::", because pyarrow needs a single character.
_UNIT_SEPARATOR = "\x1f"
_BLANKS = b" \t\n\r\x0b\x0c"
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Records that are not empty: lines, or several lines if a quoted field has line breaks.
_LINES = re.compile(rb"[^\r\n]++")
_QUOTED_LINES = re.compile(rb'(?:[^"\r\n]++|"[^"]*+(?:"|\Z))++')
_WITHOUT_BREAKS = re.compile(rb'(?:[^"]++|"[^"\r\n]*+")*+')
_DIGIT_FIRST = re.compile("-?[0-9]")
_UNCLEAR_COLONS = re.compile(rb"(?<!:)(?:::)*:::(?!:)|\x1f")
_NO_QUOTES = (
    "If the file does not quote fields, set quotes=False. Otherwise quote the field, and double "
    'each quote mark inside it ("").'
)
NUL_BYTE = (
    "there is a NUL byte. Remove it, or give the encoding of the file, for example "
    "encoding='utf-16'."
)
INNER_MARK = (
    "the line starts with a byte order mark (U+FEFF), as where files were joined. Remove it."
)


class DelimitedTable:
    """A table in delimited text.

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

    Raises
    ------
    ValueError
        For an empty file, for bytes that are not text in the encoding, for quote marks that are out
        of place, and for a delimiter that is not clear.
    """

    is_text = True

    def __init__(
        self,
        path: Path,
        given: dict[str, str | int | None],
        *,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        quotes: bool = True,
    ) -> None:
        self.source, self._quotes = str(path), quotes
        self.has_header = not any(isinstance(name, int) for name in given.values())
        self._text = _buffer(_utf8_pieces(path, encoding))
        lines = [record.group().decode() for record in self._records(0, _N_LINES)]
        if not lines:
            raise ValueError(f"{path} is empty; a header line is expected.")
        self._mark = delimiter or guess_delimiter(lines, given, quotes, str(path))
        self._delimiter = self._mark
        if self._mark == "::":  # as in MovieLens, whose titles have quote marks
            self._delimiter, self._quotes = _UNIT_SEPARATOR, False
            self._text = self._without_colons()
        self._check_with_escapes()
        self.names: list[Any] = list(range(len(self.first_line)))
        self._start = 0
        if self.has_header:
            self.names = [name.strip() for name in self.first_line]
            self._start = self._records(0, 1)[0].end()
            if not self._quotes and all(re.fullmatch('".*"', name) for name in self.names):
                raise ValueError(
                    f"{path}: all fields of the header are in quote marks, {self.names}, which are "
                    "not read with quotes=False or between '::'."
                )
        elif looks_like_a_log(self.first_line):
            raise ValueError(
                f"{path}: columns given by position mean that there is no header line, but the "
                f"first line is {self.first_line}. Give the names of the columns."
            )

    def columns(self, names: list[Any]) -> dict[Any, Any]:
        """Return these columns as pyarrow strings.

        Columns whose first value does not start with a digit, so that they are neither integers nor
        times, are encoded as dictionaries.

        Raises
        ------
        ValueError
            If there are no rows, and for rows with too many or too few fields, naming the line.
        """
        arrow = import_optional("pyarrow", "io")
        text, repeated = arrow.string(), arrow.dictionary(arrow.int32(), arrow.string())
        kinds = {}
        for position in map(self.names.index, names):
            values = self._first_values[position : position + 1]
            kinds[position] = text if values and _DIGIT_FIRST.match(values[0]) else repeated
        table = self._parsed(self._text.slice(self._start), kinds)
        if not len(table):
            raise ValueError(
                f"{self.source} has {'only a header line' if self.has_header else 'no rows'}."
            )
        return {name: table[str(self.names.index(name))] for name in names}

    def first_rows(self) -> dict[Any, Any]:
        """Return the first rows of all columns as pyarrow strings."""
        text = import_optional("pyarrow", "io").string()
        last = [record.end() for record in self._records(self._start, _N_FIRST_ROWS)][-1:]
        body = self._text.slice(self._start, last[0] - self._start if last else 0)
        table = self._parsed(body, dict.fromkeys(range(len(self.names)), text))
        return {name: table[str(at)] for at, name in enumerate(self.names)}

    def place(self, row: int) -> str:
        """Return the line of a row, for errors."""
        mark, n_marks = self._delimiter.encode(), len(self.names) - 1
        rows = (
            record.start()
            for record in self._all_records(self._start)
            if record.group().strip(_BLANKS) or record.group().count(mark) == n_marks
        )
        return f"line {self._line_at(next(islice(rows, row, None)))}"

    def _all_records(self, start: int) -> Iterator[re.Match[bytes]]:
        return (_QUOTED_LINES if self._quotes else _LINES).finditer(self._text, start)

    def _records(self, start: int, n_records: int) -> list[re.Match[bytes]]:
        """Return the first records from a position on that are not blank."""
        filled = (r for r in self._all_records(start) if r.group().strip(_BLANKS))
        return list(islice(filled, n_records))

    def _line_at(self, at: int) -> int:
        return len(_LINE_END.findall(self._text, 0, at)) + 1

    def _parsed(self, text: Any, kinds: dict[int, Any]) -> Any:
        """Return columns of given types, named "0", "1" and so on, and check all rows."""
        arrow, csv = import_optional("pyarrow", "io"), import_optional("pyarrow.csv", "io")
        ragged: list[Any] = []
        if not _LINES.search(text):
            return arrow.table({str(position): [] for position in kinds})

        def on_invalid(row: Any) -> str:
            if not row.text.encode().strip(_BLANKS):
                return "skip"
            ragged.append(row)
            return "error"

        # Without threads, rows have numbers. At the end of a block, pyarrow loses line breaks of
        # fields.
        block = min(text.size + 1, 2**31 - 1) if self._has_line_breaks else _BLOCK
        try:
            return csv.read_csv(
                arrow.BufferReader(text),
                csv.ReadOptions(
                    column_names=[str(position) for position in range(len(self.names))],
                    block_size=block,
                    use_threads=False,
                ),
                csv.ParseOptions(
                    delimiter=self._delimiter,
                    quote_char='"' if self._quotes else False,
                    newlines_in_values=self._has_line_breaks,
                    invalid_row_handler=on_invalid,
                ),
                csv.ConvertOptions(
                    column_types={str(position): kind for position, kind in kinds.items()},
                    include_columns=[str(position) for position in kinds],
                ),
            )
        except arrow.ArrowInvalid as error:
            if ragged:
                raise self._ragged(ragged[0]) from None
            raise ValueError(f"{self.source} cannot be read as a table: {error}.") from None

    def _ragged(self, row: Any) -> ValueError:
        """Return the error for a row with too many or too few fields."""
        like = "header has" if self.has_header else "first line has"
        held = row.text.replace(self._delimiter, self._mark)
        record = next(islice(self._all_records(self._start), row.number - 1, None))
        return self._error_at(
            record.start(),
            f"there are {row.actual_columns} fields, but the {like} {row.expected_columns}: "
            f"{shown(held)}. Quote fields that contain the delimiter {self._mark!r}, or set "
            "another delimiter=.",
        )

    def _error_at(self, at: int, what: str) -> ValueError:
        return ValueError(f"{self.source}, line {self._line_at(at)}: {what}")

    def _without_colons(self) -> Any:
        """Return the text with the delimiter "::" replaced by a single character."""
        text = self._text.to_pybytes()
        unclear = _UNCLEAR_COLONS.search(text)
        if unclear is not None:
            raise self._error_at(
                unclear.start(),
                f"it is not clear where fields end at {unclear.group().decode()!r}. Write the file "
                "with another delimiter.",
            )
        return _buffer([text.replace(b"::", _UNIT_SEPARATOR.encode())])

    def _check_with_escapes(self) -> None:
        """Check the text; if that fails, with quote marks that are escaped as ``\\"``."""
        try:
            self._check()
        except ValueError as error:
            written = self._text.to_pybytes()
            if b'\\"' not in written or b"\\\\" in written:
                raise
            self._text = _buffer([written.replace(b'\\"', b'""')])
            try:
                self._check()
            except ValueError:
                raise error from None

    def _check(self) -> None:
        """Raise for NUL bytes and misplaced marks; find out whether fields have line breaks."""
        for fault, what in ((rb"\0", NUL_BYTE), (rb"\xef\xbb\xbf(?<=[\r\n]...)", INNER_MARK)):
            found = re.search(fault, self._text)
            if found is not None:
                raise self._error_at(found.start(), what)
        has_quotes = self._quotes and re.search(b'"', self._text) is not None
        if has_quotes:
            self._check_quotes()
        lines = [record.group().decode() for record in self._records(0, 2)]
        self.first_line, self._first_values = (
            fields_of(line, self._delimiter, self._quotes) for line in (lines[0], lines[-1])
        )
        self._has_line_breaks = has_quotes and self._goes_on()

    def _check_quotes(self) -> None:
        """Raise for a quote mark that neither opens nor closes a field, nor is doubled in one."""
        mark = re.escape(self._delimiter.encode())
        field = rb'(?<![^%b\r\n])"[^"]*+(?:""[^"]*+)*+"(?![^%b\r\n])' % (mark, mark)
        at = _end_of(re.compile(rb'(?:[^"]++|%b)*+' % field), self._text)
        if at < self._text.size:
            around = self._text[max(0, at - 15) : at + 25].to_pybytes().decode("utf-8", "replace")
            hint = _NO_QUOTES
            if '\\"' in around:
                hint = 'Write a quote mark in a field twice (""), not as \\".'
            raise self._error_at(
                at,
                f"a quote mark is out of place, or its field is not closed, at {around!r}. {hint}",
            )

    def _goes_on(self) -> bool:
        """Tell whether a quoted field goes on in the next line, and raise if that may be wrong."""
        if _end_of(_WITHOUT_BREAKS, self._text) == self._text.size:
            return False
        n_marks = len(self.first_line) - 1
        for record in self._all_records(0):
            lines = _LINE_END.split(record.group())
            n_of_lines = {line.count(self._delimiter.encode()) for line in lines if line}
            if len(lines) > 1 and n_of_lines == {n_marks}:
                raise self._error_at(
                    record.start(),
                    "a quoted field continues on the next line, but without quoting each of these "
                    "lines would be a whole row. If the file does not quote fields, set "
                    "quotes=False; otherwise remove the line break.",
                )
        return True


def _buffer(pieces: Iterable[bytes]) -> Any:
    """Return text in memory of pyarrow.

    A thread of pyarrow that releases a Python object while Python exits would abort the process.
    """
    written = import_optional("pyarrow", "io").BufferOutputStream()
    for piece in pieces:
        written.write(piece)
    text = written.getvalue()
    is_marked = text[:3].to_pybytes() == _BYTE_ORDER_MARK
    return text.slice(3 if is_marked else 0)


def _end_of(pattern: re.Pattern[bytes], text: Any) -> int:
    """Return where a pattern stops to match, from the start."""
    match = pattern.match(text)
    return match.end() if match else 0


def fields_of(record: str, delimiter: str, quotes: bool) -> list[str]:
    """Return the fields of a record whose quote marks are in place."""
    if not quotes or '"' not in record:
        return record.split(delimiter)
    mark = re.escape(delimiter)
    fields = re.findall(rf'(?:\A|{mark})("[^"]*(?:""[^"]*)*"|(?:(?!{mark}).)*)', record, re.S)
    return [field[1:-1].replace('""', '"') if field.startswith('"') else field for field in fields]


def first_line(path: Path, encoding: str) -> str:
    """Return the first line that is not blank, or empty text."""
    head = next(_raw_pieces(path, 2**16)).decode(checked_encoding(encoding), "ignore")
    return next(iter(head.lstrip("\ufeff \t\r\n").splitlines()), "")


def guess_delimiter(
    lines: list[str], given: dict[str, str | int | None], quotes: bool, source: str
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

    def has_roles(mark: str) -> bool:
        names: list[Any] = [name.strip() for name in fields_of(lines[0], mark, quotes)]
        if any(isinstance(name, int) for name in given.values()):
            names = list(range(len(names)))
        chosen = [guess_column(names, role) for role in ("user", "item") if given[role] is None]
        named = [name for name in given.values() if name is not None]
        return None not in chosen and all(name in names for name in named)

    def is_even(mark: str) -> bool:
        return len({len(fields_of(line, mark, quotes)) for line in lines}) == 1

    for fits in (has_roles, is_even):
        fitting = [mark for mark in marks if fits(mark)]
        if len(fitting) == 1:
            return fitting[0]
        marks = fitting or marks
    read = "; ".join(f"{mark!r} gives {fields_of(lines[0], mark, quotes)}" for mark in marks)
    raise ValueError(
        f"{source}: the delimiter is not clear: {read}. Set delimiter={marks[0]!r} or another one."
    )


def utf8_text(path: Path, encoding: str) -> bytes:
    """Return the text of a file as UTF-8, without a byte order mark."""
    return b"".join(_utf8_pieces(path, encoding)).removeprefix(_BYTE_ORDER_MARK)


def _utf8_pieces(path: Path, encoding: str) -> Iterator[bytes]:
    """Yield the text of a file as UTF-8.

    Raises
    ------
    ValueError
        For bytes that are invalid in the encoding, naming the line, and for a damaged ``.gz``.
    """
    name = checked_encoding(encoding)
    decoder = codecs.getincrementaldecoder(name)()
    for raw in _raw_pieces(path, _PIECE):
        try:
            # ASCII needs no decoding, unless the decoder waits for the rest of a character.
            if name != "utf-8":
                yield decoder.decode(raw, not raw).encode()
                continue
            if not raw.isascii() or decoder.getstate()[0]:
                decoder.decode(raw, not raw)
        except UnicodeError:
            raise _wrong_encoding(path, encoding) from None
        yield raw


def checked_encoding(encoding: str) -> str:
    """Return Python's name of a text encoding."""
    try:
        "".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, TypeError):
        raise ValueError(
            f"encoding={encoding!r} is not a text encoding that Python knows. Usual ones are "
            "'utf-8', 'cp1252' and 'utf-16'."
        ) from None
    return "utf-8" if name == "utf-8-sig" else name


def _raw_pieces(path: Path, n_bytes: int) -> Iterator[bytes]:
    """Yield the decompressed bytes, and empty bytes at the end."""
    with open(path, "rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if is_packed else open(path, "rb") as file:
        while True:
            try:
                piece = file.read(n_bytes)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{path} is damaged or cut short: {error}. Copy or download it again."
                ) from None
            yield piece
            if not piece:
                return


def _wrong_encoding(path: Path, encoding: str) -> ValueError:
    """Return the error for the first bytes that are invalid. This reads the file again."""
    raw = b"".join(_raw_pieces(path, _PIECE))
    at = 0
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start
    before = raw[:at].decode(encoding, errors="ignore")
    line = len(re.findall("\r\n|\n|\r", before)) + 1
    is_utf_16 = raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    hint = " The file starts like UTF-16: try encoding='utf-16'." if is_utf_16 else ""
    return ValueError(
        f"{path}, line {line}: {raw[max(0, at - 10) : at + 10]!r} is not {encoding}.{hint} Give "
        "the encoding of the file, for example encoding='cp1252', or save it as UTF-8."
    )
