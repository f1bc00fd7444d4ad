"""Parquet files as tables of pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skue._optional import import_optional


def names_of_parquet(path: Path) -> list[str]:
    """Return the names of the columns."""
    arrow = import_optional("pyarrow", "io")
    parquet = import_optional("pyarrow.parquet", "io")
    try:
        return list(parquet.read_schema(path).names)
    except (arrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def read_parquet(path: Path, columns: list[str], n_rows: int | None = None) -> Any:
    """Return these columns as a table, or the first rows of them."""
    parquet = import_optional("pyarrow.parquet", "io")
    arrow = import_optional("pyarrow", "io")
    try:
        # Given the path, pyarrow opens the file itself: its threads must hold no object of Python.
        with parquet.ParquetFile(str(path)) as file:
            if n_rows is None:
                return file.read(columns=columns)
            batches = file.iter_batches(batch_size=n_rows, columns=columns)
            first = next(batches, None)
            return arrow.table({}) if first is None else arrow.Table.from_batches([first])
    except (arrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a readable Parquet file: {error}.")
