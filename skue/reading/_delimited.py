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

import numpy as np

from skue._estimator import import_optional
from skue.reading._column_names import guess_column, looks_like_a_log
from skue.reading._ids import shown

DELIMITERS = (",", "\t", ";", "|", "::")
# Bytes that are decoded, and that are checked, at once.
_PIECE = 2**24
# Bytes that pyarrow parses at once. A row must not be longer.
_BLOCK = 2**26
# Lines that are used to choose between several possible delimiters.
_N_LINES = 100
_N_FIRST_ROWS = 1000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Replaces the delimiter "::", because pyarrow needs a single character.
_UNIT_SEPARATOR = "\x1f"
_QUOTE = ord('"')
_BLANKS = " \t\n\r\x0b\x0c"
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
        spans = _first_records(_letters(self._text), quotes)
        if not spans:
            raise ValueError(f"{path} is empty; a header line is expected.")
        lines = [_letters(self._text)[slice(*span)].tobytes().decode() for span in spans]
        self._mark = delimiter or guess_delimiter(lines, given, quotes, str(path))
        self._delimiter = self._mark
        if self._mark == "::":  # as in MovieLens, whose titles have quote marks
            self._delimiter, self._quotes = _UNIT_SEPARATOR, False
            self._text = self._without_colons()
        self._has_line_breaks = self._check_with_escapes()
        self.names: list[Any] = list(range(len(self.first_line)))
        self._start = 0
        if self.has_header:
            self.names = [name.strip() for name in self.first_line]
            self._start = _first_records(_letters(self._text), self._quotes)[0][1]
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
        # The numbers of the lines of blanks, among the lines that are not empty.
        self._skipped: list[int] = []

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
        spans = _first_records(_letters(self._text)[self._start :], self._quotes, _N_FIRST_ROWS)
        body = self._text.slice(self._start, spans[-1][1] if spans else 0)
        table = self._parsed(body, dict.fromkeys(range(len(self.names)), text))
        return {name: table[str(at)] for at, name in enumerate(self.names)}

    def place(self, row: int) -> str:
        """Return the line of a row, for errors."""
        lines = np.delete(self._lines(), [number - 1 for number in self._skipped])
        return f"line {lines[row]}"

    def _lines(self) -> np.ndarray:
        """Return the line of the file on which each record after the header starts."""
        letters = _letters(self._text)
        _, _, lines = _records(letters[self._start :], self._quotes)
        return _count_ends(letters[: self._start]) + lines + 1

    def _parsed(self, text: Any, kinds: dict[int, Any]) -> Any:
        """Return columns of given types, named "0", "1" and so on, and check all rows."""
        arrow, csv = import_optional("pyarrow", "io"), import_optional("pyarrow.csv", "io")
        ragged: list[Any] = []
        self._skipped = []
        if not _first_records(_letters(text), self._quotes):
            return arrow.table({str(position): [] for position in kinds})

        def on_invalid(row: Any) -> str:
            is_blank = not row.text.strip(_BLANKS)
            (self._skipped if is_blank else ragged).append(row.number if is_blank else row)
            return "skip" if is_blank else "error"

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
        return self._error(
            self._lines()[row.number - 1],
            f"there are {row.actual_columns} fields, but the {like} {row.expected_columns}: "
            f"{shown(held)}. Quote fields that contain the delimiter {self._mark!r}, or set "
            "another delimiter=.",
        )

    def _error(self, line: int, what: str) -> ValueError:
        return ValueError(f"{self.source}, line {line}: {what}")

    def _error_at(self, at: int, what: str) -> ValueError:
        return self._error(_count_ends(_letters(self._text)[:at]) + 1, what)

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

    def _check_with_escapes(self) -> bool:
        """Check the text; if that fails, with quote marks that are escaped as ``\\"``."""
        text = self._text
        try:
            return self._check()
        except ValueError as error:
            written = text.to_pybytes()
            if b'\\"' not in written or b"\\\\" in written:
                raise
            self._text = _buffer([written.replace(b'\\"', b'""')])
            try:
                return self._check()
            except ValueError:
                raise error from None

    def _check(self) -> bool:
        """Raise for NUL bytes and misplaced marks; tell whether fields have line breaks."""
        letters = _letters(self._text)
        for at in _positions(letters, 0):
            raise self._error_at(int(at), NUL_BYTE)
        at = _inner_byte_order_mark(letters)
        if at is not None:
            raise self._error_at(at, INNER_MARK)
        spans = _first_records(letters, self._quotes)
        lines = [letters[slice(*span)].tobytes().decode() for span in (spans[0], spans[:2][-1])]
        self.first_line, self._first_values = (
            fields_of(line, self._delimiter, self._quotes) for line in lines
        )
        if not self._quotes or not len(_positions(letters, _QUOTE)):
            return False
        has_line_breaks = False
        for start, stop in _stretches(letters):
            part = letters[start:stop]
            self._refuse_misplaced_quotes(part, start)
            goes_on, ambiguous = self._line_breaks(part)
            if ambiguous is not None:
                raise self._error_at(
                    start + ambiguous,
                    "a quoted field continues on the next line, but without quoting each of these "
                    "lines would be a whole row. If the file does not quote fields, set "
                    "quotes=False; otherwise remove the line break.",
                )
            has_line_breaks |= goes_on
        return has_line_breaks

    def _refuse_misplaced_quotes(self, letters: np.ndarray, start: int) -> None:
        """Raise for a quote mark that neither opens nor closes a field, nor is doubled in one."""
        at = np.flatnonzero(letters == _QUOTE)
        if not len(at):
            return
        allowed = np.zeros(256, dtype=bool)
        allowed[[ord(self._delimiter), ord("\n"), ord("\r"), _QUOTE]] = True
        # Odd marks open a field and even marks close it. A doubled mark closes the field and opens
        # it again.
        opens, closes = at[::2], at[1::2]
        wrong = np.zeros(len(at), dtype=bool)
        wrong[::2] = ~allowed[letters[opens - 1]] & (opens > 0)
        after = letters[np.minimum(closes + 1, len(letters) - 1)]
        wrong[1::2] = ~allowed[after] & (closes + 1 < len(letters))

        if len(at) % 2:
            wrong[-1] = True  # its field is not closed
        if not wrong.any():
            return
        mark = int(wrong.argmax())
        position, opened = int(at[mark]), int(at[mark - mark % 2])
        around = letters[max(0, position - 15) : position + 10].tobytes().decode("utf-8", "replace")
        is_escaped = letters[position - 1] == ord("\\")
        hint = 'Write a quote mark in a field twice (""), not as \\".' if is_escaped else _NO_QUOTES
        raise self._error_at(
            start + opened,
            f"a quote mark is out of place, or its field is not closed, at {around!r}. {hint}",
        )

    def _line_breaks(self, letters: np.ndarray) -> tuple[bool, int | None]:
        """Tell whether fields have line breaks, and where a record starts that is ambiguous.

        The lines of an ambiguous record would all be whole rows without quoting.
        """
        ends = _line_ends(letters)
        goes_on = np.searchsorted(np.flatnonzero(letters == _QUOTE), ends) % 2 == 1
        if not goes_on.any():
            return False, None
        starts, stops = np.append(0, ends + 1), np.append(ends, len(letters))
        marks = np.flatnonzero(letters == ord(self._delimiter))
        n_marks = np.searchsorted(marks, stops) - np.searchsorted(marks, starts)
        half_ends = (stops > starts) & (letters[stops - 1] == ord("\r"))
        fits = (n_marks == len(self.first_line) - 1) | (stops - half_ends <= starts)
        first_lines = np.flatnonzero(np.append(True, ~goes_on))
        n_lines = np.diff(np.append(first_lines, len(starts)))
        several = np.logical_and.reduceat(fits, first_lines) & (n_lines > 1)
        return True, int(starts[first_lines[several][0]]) if several.any() else None


def _buffer(pieces: Iterable[bytes]) -> Any:
    """Return text in memory of pyarrow.

    A thread of pyarrow that releases a Python object while Python exits would abort the process.
    """
    written = import_optional("pyarrow", "io").BufferOutputStream()
    for piece in pieces:
        written.write(piece)
    text = written.getvalue()
    is_marked = _letters(text)[:3].tobytes() == _BYTE_ORDER_MARK
    return text.slice(3 if is_marked else 0)


def _letters(text: Any) -> np.ndarray:
    return np.frombuffer(text, dtype=np.uint8)


def _positions(letters: np.ndarray, byte: int) -> np.ndarray:
    starts = range(0, len(letters), _PIECE)
    found = [np.flatnonzero(letters[at : at + _PIECE] == byte) + at for at in starts]
    return np.concatenate([np.empty(0, dtype=np.int64), *found])


def _inner_byte_order_mark(letters: np.ndarray) -> int | None:
    """Return where a line starts with a byte order mark, or None."""
    at = _positions(letters[:-2], _BYTE_ORDER_MARK[0])
    is_mark = (letters[at + 1] == _BYTE_ORDER_MARK[1]) & (letters[at + 2] == _BYTE_ORDER_MARK[2])
    starts = (at == 0) | np.isin(letters[at - 1], [ord("\n"), ord("\r")])
    return int(at[is_mark & starts][0]) if (is_mark & starts).any() else None


def _line_ends(letters: np.ndarray) -> np.ndarray:
    """Return the positions of line ends; for the two letters of Windows, that of the second."""
    is_end = letters == ord("\n")
    returns = np.flatnonzero(letters == ord("\r"))
    is_end[returns] = True
    pairs = returns[returns + 1 < len(letters)]
    is_end[pairs[letters[pairs + 1] == ord("\n")]] = False
    return np.flatnonzero(is_end)


def _count_ends(letters: np.ndarray) -> int:
    """Return the number of line ends."""
    starts = range(0, len(letters), _PIECE)
    n_feeds = sum(np.count_nonzero(letters[at : at + _PIECE] == ord("\n")) for at in starts)
    returns = _positions(letters, ord("\r"))
    pairs = returns[returns + 1 < len(letters)]
    return int(n_feeds + len(returns) - np.count_nonzero(letters[pairs + 1] == ord("\n")))


def _records(letters: np.ndarray, quotes: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the start and the stop of each record that is not empty, and the line ends before it.

    A record is a line, or several lines if a quoted field has line breaks.
    """
    if not len(letters):
        return (np.empty(0, dtype=np.int64),) * 3
    ends = _line_ends(letters)
    opens = np.append(True, np.full(len(ends), True))
    if quotes:
        opens[1:] = np.searchsorted(np.flatnonzero(letters == _QUOTE), ends) % 2 == 0
    starts, lines = np.append(0, ends + 1)[opens], np.flatnonzero(opens)
    stops = np.append(ends[opens[1:]], len(letters))
    stops = stops - ((stops > starts) & (letters[stops - 1] == ord("\r")))
    full = stops > starts
    return starts[full], stops[full], lines[full]


def _stretches(letters: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the start and the stop of pieces of whole records."""
    start, size = 0, _PIECE
    while start < len(letters):
        stop = min(start + size, len(letters))
        if stop < len(letters):
            part = letters[start:stop]
            # A return at the end may be half of a line end.
            ends = _line_ends(part[:-1])
            ends = ends[np.searchsorted(np.flatnonzero(part == _QUOTE), ends) % 2 == 0]
            if not len(ends):
                size *= 2
                continue
            stop = start + int(ends[-1]) + 1
        yield start, stop
        start, size = stop, _PIECE


def _first_records(
    letters: np.ndarray, quotes: bool, n_records: int = _N_LINES
) -> list[tuple[int, int]]:
    """Return the start and stop of the first records that are not blank."""
    size = 2**16
    while True:
        starts, stops, _ = _records(letters[:size], quotes)
        is_whole = size >= len(letters)
        spans = list(zip(starts.tolist(), stops.tolist(), strict=True))
        spans = spans if is_whole else spans[:-1]
        filled = (span for span in spans if letters[slice(*span)].tobytes().strip())
        found = list(islice(filled, max(n_records, 2)))
        if is_whole or len(found) > 1:
            return found[:n_records]
        size *= 4


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
