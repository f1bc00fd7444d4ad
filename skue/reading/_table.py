"""Tables: every file and every frame becomes named columns of one kind.

A table has the attributes ``names``, ``source`` (the file, or ""), ``is_text`` (whether the columns
are text without types) and the methods ``columns(names)``, which returns arrays or pyarrow columns
of strings without missing values, and ``place(row)``, which describes a row in errors.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import numpy as np

from skue._estimator import import_optional
from skue.reading._column_names import looks_like_a_log
from skue.reading._delimited import (
    DELIMITERS,
    DelimitedTable,
    checked_encoding,
    fields_of,
    first_line,
)
from skue.reading._ids import shown
from skue.reading._values import Label, as_array, invalid, is_arrow, plain_text, row_of_frame

_OTHER_PACKING = (".bz2", ".xz", ".zip", ".zst", ".tar", ".7z")
_OTHER_KINDS = (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".feather", ".pkl", ".npz")
_N_FIRST_ROWS = 1000


class Table(Protocol):
    """What is read of a file or a frame."""

    names: list[Any]
    source: str
    is_text: bool
    has_header: bool
    first_line: list[str]

    def columns(self, names: list[Any]) -> dict[Any, Any]:
        """Return these columns."""

    def first_rows(self) -> dict[Any, Any]:
        """Return the first rows of all columns."""

    def place(self, row: int) -> str:
        """Return where a row is, for errors."""


class FrameTable:
    """A frame, or a dict of arrays.

    Parameters
    ----------
    frame : object
        A dict of arrays; a frame of pandas or dask; or whatever hands over its columns in the
        format of Arrow: polars, lazy or not, pyarrow tables, batches and datasets, relations of
        DuckDB, data sets of Hugging Face.
    """

    source = ""
    is_text = False
    has_header = True

    def __init__(self, frame: Any) -> None:
        self._frame, self.names = _opened(frame)
        self.first_line = self.names

    place = staticmethod(row_of_frame)

    def columns(self, names: list[Any]) -> dict[Any, Any]:
        """Return these columns.

        Raises
        ------
        ValueError
            For missing values and types other than numbers, text and dates.
        """
        frame = _selected(self._frame, names)
        columns = {
            name: _column(frame[name], Label(f"column {name!r}", self.place, self.source))
            for name in names
        }
        for name, column in columns.items():
            if len(column) != len(columns[names[0]]):
                raise ValueError(
                    f"column {name!r} has {len(column)} rows, but column {names[0]!r} has "
                    f"{len(columns[names[0]])}. Columns must have equal lengths."
                )
        return columns

    def first_rows(self) -> dict[Any, Any]:
        """Return the first rows of the columns that pyarrow can hold and whose names are unique."""
        names = [name for name in self.names if self.names.count(name) == 1]
        first = _selected(self._frame, names, _N_FIRST_ROWS)
        columns = {name: _as_arrow(first[name]) for name in names}
        return {name: column for name, column in columns.items() if column is not None}


def _library(frame: Any) -> str:
    return type(frame).__module__.partition(".")[0]


def _opened(frame: Any) -> tuple[Any, list[Any]]:
    """Return a frame and its names; a stream, which may be read only once, becomes a table."""
    if isinstance(frame, dict):
        return frame, list(frame)
    if hasattr(frame, "read_all"):
        frame = frame.read_all()
    if hasattr(frame, "collect_schema"):  # polars
        return frame, list(frame.collect_schema().names())
    if _library(frame) == "pyarrow" and hasattr(frame, "schema"):
        return frame, list(frame.schema.names)
    for names in ("columns", "column_names"):  # pandas, dask, DuckDB; Hugging Face
        if hasattr(frame, names):
            return frame, list(getattr(frame, names))
    if hasattr(frame, "__arrow_c_stream__"):
        arrow = import_optional("pyarrow", "io")
        try:
            table = arrow.table(frame)
            return table, table.column_names
        except arrow.ArrowException:
            pass  # a column, not a table
    raise ValueError(
        f"A log must be a DataFrame, got {type(frame).__name__}. Frames of pandas, polars, dask "
        "and pyarrow, others that hand over Arrow data, and dicts of arrays are read."
    )


def _selected(frame: Any, names: list[Any], n_rows: int | None = None) -> Any:
    """Return these columns, computed if the frame is lazy; with ``n_rows``, their first rows."""
    library = _library(frame)
    if isinstance(frame, dict):
        return frame
    if library.startswith("dask"):
        return (frame[names] if n_rows is None else frame.get_partition(0)).compute()
    if hasattr(frame, "iloc"):  # pandas
        return frame
    if library == "polars":
        frame = frame.lazy().select(names)
        frame = (frame if n_rows is None else frame.head(n_rows)).collect()
    if library == "datasets":  # Hugging Face
        frame = frame.select_columns(names)
        frame = frame if n_rows is None else frame.select(range(min(n_rows, len(frame))))
        return frame.with_format("arrow")[:]
    if library == "pyarrow" and hasattr(frame, "to_table"):  # a dataset
        return frame.to_table(names) if n_rows is None else frame.head(n_rows, columns=names)
    if n_rows is not None and hasattr(frame, "limit"):  # DuckDB
        frame = frame.limit(n_rows)
    arrow = import_optional("pyarrow", "io")
    try:
        frame = frame if hasattr(frame, "__arrow_c_stream__") else arrow.table(frame)
        reader = arrow.RecordBatchReader.from_stream(frame)
        schema = arrow.schema([reader.schema.field(name) for name in names])
        return arrow.Table.from_batches([batch.select(names) for batch in reader], schema)[:n_rows]
    except arrow.ArrowException as error:
        raise ValueError(
            f"pyarrow cannot read one of the columns {names}: {error}. Cast it to integers, text "
            "or dates first."
        ) from None


def _as_arrow(column: Any) -> Any:
    """Return the start of a column as a pyarrow column, or None if pyarrow cannot hold it."""
    arrow = import_optional("pyarrow", "io")
    if isinstance(column, arrow.ChunkedArray):
        return column
    try:
        column = column.iloc if hasattr(column, "iloc") else column
        found = arrow.array(column[:_N_FIRST_ROWS], from_pandas=True)
    except (arrow.ArrowException, TypeError, ValueError):
        return None
    return arrow.chunked_array([found] if isinstance(found, arrow.Array) else found)


def _column(column: Any, label: Label) -> Any:
    """Return a column as an array, or as pyarrow strings."""
    is_arrow = hasattr(column, "__arrow_c_stream__") or hasattr(column, "__arrow_c_array__")
    if hasattr(column, "iloc") and isinstance(column.dtype, np.dtype):  # pandas
        column, is_arrow = column.to_numpy(), False
    if is_arrow or hasattr(column, "iloc"):
        arrow = import_optional("pyarrow", "io")
        if not isinstance(column, arrow.ChunkedArray):
            column = arrow.array(column, from_pandas=True)
        chunks = [column] if isinstance(column, arrow.Array) else column.chunks
        return checked(arrow.chunked_array(chunks, column.type), label)
    array = as_array(column)
    if array.ndim != 1:
        held = shown(column[0]) if len(array) else f"an array of shape {array.shape}"
        raise ValueError(
            f"{label.at(0)} holds {held}. Ids, times and weights must be one value per row."
        )
    return array


def checked(column: Any, label: Label) -> Any:
    """Return a pyarrow column as a numpy array, or as pyarrow strings.

    Raises
    ------
    ValueError
        For nulls, and for types other than numbers, text and dates.
    """
    arrow = import_optional("pyarrow", "io")
    kind = arrow.types
    if kind.is_dictionary(column.type):
        values = [_without_view(chunk.dictionary).take(chunk.indices) for chunk in column.chunks]
        column = arrow.chunked_array(values) if values else arrow.chunked_array([[]])
    column = _without_view(column)
    if column.null_count:
        raise label.empty(column.is_null().index(True).as_py(), column.null_count)
    if kind.is_null(column.type):
        return np.empty(0, dtype=object)
    if kind.is_binary(column.type) or kind.is_large_binary(column.type):
        return _text_of_bytes(column, label)
    if kind.is_string(column.type) or kind.is_large_string(column.type):
        return column
    if kind.is_integer(column.type) or kind.is_floating(column.type):
        return column.to_numpy()
    if kind.is_timestamp(column.type):  # Columns with a time zone store UTC.
        return column.cast(arrow.timestamp(column.type.unit)).to_numpy()
    if kind.is_date(column.type):
        return column.to_numpy()
    if kind.is_decimal(column.type):
        return as_array(column.to_pylist())
    held = f"{label.at(0)} holds {shown(column[0].as_py())}" if len(column) else label.full_name
    raise ValueError(
        f"{held}, of type {column.type}. Ids must be integers or text, times must be dates or "
        "numbers, and weights must be numbers."
    )


def _without_view(column: Any) -> Any:
    """Return strings and bytes in a type for which pyarrow has all functions."""
    arrow = import_optional("pyarrow", "io")
    if arrow.types.is_string_view(column.type):
        return column.cast(arrow.large_string())
    return column.cast(arrow.large_binary()) if arrow.types.is_binary_view(column.type) else column


def _text_of_bytes(column: Any, label: Label) -> Any:
    arrow = import_optional("pyarrow", "io")
    text = arrow.large_string() if arrow.types.is_large_binary(column.type) else arrow.string()
    try:
        return column.cast(text)
    except arrow.ArrowInvalid:
        for row, value in enumerate(column.to_pylist()):
            try:
                value.decode("utf-8")
            except UnicodeDecodeError:
                raise label.not_utf8(row, value) from None
        raise


class ParquetTable(FrameTable):
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        dataset = import_optional("pyarrow.dataset", "io")
        self.source = str(path)
        # From a path, pyarrow opens the file itself, so its threads hold no Python object.
        with self._readable():
            super().__init__(dataset.dataset(self.source, format="parquet"))

    def columns(self, names: list[Any]) -> dict[Any, Any]:
        """Return these columns.

        Raises
        ------
        ValueError
            If there are no rows, and for missing values and types that are not read.
        """
        with self._readable():
            columns = super().columns(names)
        if not len(columns[names[0]]):
            raise ValueError(f"{self.source} has no rows.")
        return columns

    @contextmanager
    def _readable(self) -> Iterator[None]:
        arrow = import_optional("pyarrow", "io")
        try:
            yield
        except (arrow.ArrowException, OSError) as error:
            raise ValueError(f"{self.source} is not a readable Parquet file: {error}.") from None


class PartsTable:
    """Several files that make one table, in the order of their names.

    Columns may also be in the names of folders, as in ``country=de/part-0.parquet``.
    """

    def __init__(self, source: str, tables: list[Table]) -> None:
        self.source, self._tables = source, tables
        first = tables[0]
        self.is_text, self.has_header = first.is_text, first.has_header
        for table in tables:
            if set(table.names) != set(first.names) or table.is_text != first.is_text:
                raise ValueError(
                    f"{table.source} has the columns {table.names}, but {first.source} has "
                    f"{first.names}. All files of a log must have the same columns."
                )
        self._of_folders = [_columns_of_folders(table.source) for table in tables]
        keys = set.intersection(*map(set, self._of_folders)) - set(first.names)
        self.names = [*first.names, *sorted(keys)]
        self.first_line = getattr(first, "first_line", self.names)
        self._starts = [0]

    def columns(self, names: list[Any]) -> dict[Any, Any]:
        """Return these columns of all files.

        Raises
        ------
        ValueError
            For errors in a file, and for columns of different types.
        """
        of_files = [name for name in names if name in self._tables[0].names]
        found = [table.columns(of_files) for table in self._tables]
        lengths = [len(next(iter(columns.values()))) for columns in found]
        self._starts = np.cumsum([0, *lengths]).tolist()
        together = {}
        for name in names:
            if name in of_files:
                together[name] = self._joined(name, [columns[name] for columns in found])
            else:
                values = [folders[name] for folders in self._of_folders]
                is_integer = all(re.fullmatch("0|-?[1-9][0-9]{0,17}", value) for value in values)
                array = np.array(list(map(int, values))) if is_integer else as_array(values)
                together[name] = np.repeat(array, lengths)
        return together

    def _joined(self, name: Any, columns: list[Any]) -> Any:
        kinds = ["text" if is_arrow(column) else column.dtype.kind for column in columns]
        for table, kind in zip(self._tables, kinds, strict=True):
            if kind != kinds[0]:
                raise ValueError(
                    f"{table.source}: column {name!r} has another type than in "
                    f"{self._tables[0].source}. Write all files with the same types."
                )
        if kinds[0] != "text":
            return np.concatenate(columns)
        types = {column.type for column in columns}
        columns = columns if len(types) == 1 else [plain_text(column) for column in columns]
        chunks = [chunk for column in columns for chunk in column.chunks]
        return import_optional("pyarrow", "io").chunked_array(chunks, columns[0].type)

    def first_rows(self) -> dict[Any, Any]:
        """Return the first rows of the columns of the first file."""
        return self._tables[0].first_rows()

    def place(self, row: int) -> str:
        """Return the file and the place in it."""
        part = bisect_right(self._starts, row) - 1
        table = self._tables[part]
        return f"{Path(table.source).name}, {table.place(row - self._starts[part])}"


def _columns_of_folders(source: str) -> dict[str, str]:
    folders = [folder.partition("=") for folder in Path(source).parts[:-1] if "=" in folder]
    return {name: unquote(value) for name, _, value in folders}


def checked_paths(source: Any) -> list[tuple[Path, str]]:
    """Return the paths of readable files, and their kinds: ``".csv"`` for ``log.csv.gz``.

    Parameters
    ----------
    source : str or path, or list of them
        A file, a folder or a pattern such as ``"logs/*.csv"``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a URL, a kind of file that skue does not read, and anything that is not a path.
    """
    if isinstance(source, (list, tuple)) and source:
        return [found for path in source for found in checked_paths(path)]
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            "A log is given by the path of a file or a folder (text), got "
            f"{type(source).__name__}. Read other sources into a frame, for example with "
            "pandas.read_csv, and use Histories.from_frame."
        )
    name = os.fspath(source)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        raise ValueError(f"{name} is a URL. Download the file first, and give its path on disk.")
    path = Path(name)
    if path.is_dir():
        files = [
            file
            for file in sorted(path.rglob("*"))
            if file.is_file() and not re.search(r"(^|/)[._]", str(file.relative_to(path)))
        ]
        if not files:
            raise ValueError(f"{path} is a folder without files.")
        return [_checked_path(file) for file in files]
    if not path.exists() and re.search(r"[*?\[]", name):
        names = sorted(glob(name, recursive=True))
        if not names:
            raise FileNotFoundError(f"There is no file {name}.")
        return [found for file in names for found in checked_paths(Path(file))]
    return [_checked_path(path)]


def _checked_path(path: Path) -> tuple[Path, str]:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file. Write the data to a file first.")
    with open(path, "rb") as file:
        if file.read(4) == b"PAR1":
            return path, ".parquet"
    packing = path.suffix.lower()
    if packing in _OTHER_PACKING:
        raise ValueError(f"{path} is packed as {packing}. Unpack it, or compress it as .gz.")
    kind = Path(path.stem).suffix.lower() if packing == ".gz" else packing
    if kind in _OTHER_KINDS:
        raise ValueError(
            f"{path} is a {kind} file. Save it as CSV, TSV or Parquet, or read it into a frame and "
            "use Histories.from_frame."
        )
    return path, ".parquet" if kind == ".pq" else kind


def check_text_options(encoding: str, delimiter: str | None, quotes: bool, decimal: str) -> None:
    """Raise for invalid options of delimited text."""
    checked_encoding(encoding)
    if delimiter not in (None, "::") and not re.fullmatch(r"[ -~\t]", str(delimiter)):
        raise invalid("delimiter", delimiter, "one ASCII character, or '::'")
    if not isinstance(quotes, bool):
        raise invalid("quotes", quotes, "True or False")
    if decimal not in (".", ","):
        raise invalid("decimal", decimal, "'.' or ','")


def open_table(
    source: Any,
    paths: list[tuple[Path, str]],
    given: dict[str, str | int | None],
    *,
    encoding: str,
    delimiter: str | None,
    quotes: bool,
) -> Table:
    """Open the files of :func:`checked_paths`, with the columns that the caller gave by role."""
    tables: list[Table] = []
    for path, kind in paths:
        if kind == ".parquet":
            tables.append(ParquetTable(path))
            continue
        mark = "\t" if kind == ".tsv" and delimiter is None else delimiter
        tables.append(DelimitedTable(path, given, encoding=encoding, delimiter=mark, quotes=quotes))
    if len(tables) == 1 and not _columns_of_folders(tables[0].source):
        return tables[0]
    name = f"{len(tables)} files" if isinstance(source, (list, tuple)) else str(source)
    return PartsTable(name, tables)


def is_table(path: Path, encoding: str) -> bool:
    """Tell whether a text file starts with a header line that names a user and an item."""
    line = first_line(path, encoding)
    return any(looks_like_a_log(fields_of(line, mark, quotes=False)) for mark in (*DELIMITERS, " "))
