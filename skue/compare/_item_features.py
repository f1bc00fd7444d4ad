"""Item features from a file: a column of ids, and columns of text, categories and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skue._estimator import import_optional
from skue.items._item_features import ItemFeatures
from skue.reading._column_names import columns_named, is_number
from skue.reading._delimited import DelimitedTable
from skue.reading._ids import as_ids, is_text, shown
from skue.reading._table import ParquetTable, checked_paths
from skue.reading._values import plain_text

# A text column is of categories if its values have this number of words at most on average, and
# each is used by two items or more on average; otherwise it is free text.
_MOST_WORDS = 3
_FEWEST_USES = 2

Columns = dict[str, np.ndarray]
"""Text (empty where a value is missing), or float64 (NaN where a value is missing)."""


class FeatureFile(NamedTuple):
    """Features, and a sentence on how each column was encoded."""

    features: ItemFeatures
    encoding: str


def read_item_features(
    path: Path,
    item_ids: np.ndarray,
    *,
    item: str | int | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quotes: bool = True,
    decimal: str = ".",
) -> FeatureFile:
    """Read a CSV, TSV or Parquet file with one row per item.

    The column of ids has the name that it has in the log, or a usual name, or is the first one.
    Text is encoded by ``TfidfVectorizer``, categories by ``OneHotEncoder``, numbers by
    ``StandardScaler``. The file is read as strictly as a log: a row with too many or too few fields
    is an error.

    Parameters
    ----------
    path : path
    item_ids : ndarray of shape (n_items,)
        Ids of the log, whose type those of the file get.
    item : str, int or None, default=None
        Column of the item in the log.
    encoding, delimiter : str
        Those of the log. They are tried if the table is not UTF-8, or its delimiter is not clear.
    quotes : bool, default=True
    decimal : {".", ","}, default="."

    Raises
    ------
    ValueError
        If the file does not exist or cannot be read, or has no column beside the ids, or its ids
        cannot be those of the log.
    """
    try:
        if not path.is_file():
            raise ValueError("the file does not exist.")
        if checked_paths(path)[0][1] == ".parquet":
            ids, columns = _read_parquet(path, item_ids, item)
        else:
            table = _open(path, encoding, delimiter, quotes)
            ids, columns = _read_text(table, item_ids, item, decimal)
    except (ValueError, OSError) as error:
        message = str(error).removeprefix(str(path)).lstrip(":, ")
        raise ValueError(f"--item-features {path}: {message}") from error
    kinds = {name: _kind(values) for name, values in columns.items()}
    blocks = [sp.csr_array(_ENCODERS[kinds[name]](values)) for name, values in columns.items()]
    try:
        features = ItemFeatures(sp.hstack(blocks, format="csr"), ids)
    except ValueError as error:
        raise ValueError(f"--item-features {path}: {error}") from error
    told = ", ".join(f"{name} as {kind}" for name, kind in kinds.items())
    n_found = int((features.lookup(item_ids) >= 0).sum())
    return FeatureFile(
        features,
        f"{told} ({features.n_features} columns); {n_found} of {len(item_ids)} items of the log "
        "have features",
    )


def _open(path: Path, encoding: str, delimiter: str | None, quotes: bool) -> DelimitedTable:
    given: dict[str, str | int | None] = {"user": None, "item": None}
    mark = "\t" if ".tsv" in path.suffixes else None
    try:
        return DelimitedTable(path, given, delimiter=mark, quotes=quotes)
    except ValueError:
        return DelimitedTable(
            path, given, encoding=encoding, delimiter=mark or delimiter, quotes=quotes
        )


def _read_text(
    table: DelimitedTable, item_ids: np.ndarray, item: str | int | None, decimal: str
) -> tuple[np.ndarray, Columns]:
    id_column, others = _roles(table.names, item_ids, item)
    columns = {
        name: np.array(plain_text(column).to_pylist(), dtype=object)
        for name, column in table.columns([id_column, *others]).items()
    }
    ids = columns.pop(id_column)
    for row in np.flatnonzero(ids == "")[:1]:
        raise ValueError(f"{table.place(row)}: the id (column {id_column!r}) is missing.")
    return _typed_ids(ids, item_ids, table.place), {
        name: _as_numbers(values, name, table.place, decimal) for name, values in columns.items()
    }


def _read_parquet(
    path: Path, item_ids: np.ndarray, item: str | int | None
) -> tuple[np.ndarray, Columns]:
    arrow = import_optional("pyarrow", "io")
    table = ParquetTable(path)
    id_column, others = _roles(table.names, item_ids, item)
    ids = table.columns([id_column])[id_column]
    ids = ids if isinstance(ids, np.ndarray) else np.array(ids.to_pylist(), dtype=object)
    content = import_optional("pyarrow.parquet", "io").read_table(path, columns=others)
    columns = {}
    for name in others:
        column = content[name]
        if arrow.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if arrow.types.is_integer(column.type) or arrow.types.is_floating(column.type):
            columns[name] = column.cast(arrow.float64(), safe=False).to_numpy()
            continue
        try:
            texts = column.cast(arrow.string()).to_pylist()
        except arrow.ArrowException:
            raise ValueError(f"column {name!r} holds {column.type}. Leave it out.") from None
        columns[name] = np.array([text or "" for text in texts], dtype=object)
    return _typed_ids(ids, item_ids, table.place), columns


def _roles(names: list[str], item_ids: np.ndarray, item: str | int | None) -> tuple[str, list[str]]:
    """Return the column of the ids, and the others."""
    named = [name for name in names if name == item] or columns_named(names, "item")
    if len(named) > 1:
        raise ValueError(
            f"the columns {' and '.join(map(repr, named))} may hold the ids. Give the column of "
            "the ids the name that it has in the log, or rename the other one."
        )
    if not named and (names[0] in set(map(str, item_ids)) or any(map(is_number, names))):
        raise ValueError(f"there seems to be no header line: the first line is {names}. Add one.")
    id_column = named[0] if named else names[0]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are {names.count(name)} columns {name!r}. Rename one of them.")
    others = [name for name in names if name != id_column]
    if not others:
        raise ValueError(f"there is no column beside the ids ({id_column!r}).")
    return id_column, others


def _typed_ids(ids: np.ndarray, item_ids: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """Return ids of the type that the log has."""
    if is_text(item_ids):
        return ids if is_text(ids) else ids.astype(str).astype(object)
    if not is_text(ids):
        return as_ids(ids, "the ids")
    for row, text in enumerate(ids):
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ValueError(
                f"{place(row)}: the id {shown(text)} is text, but the log has {shown(item_ids[0])}."
            )
    return ids.astype(np.int64)


def _as_numbers(
    values: np.ndarray, name: str, place: Callable[[int], str], decimal: str
) -> np.ndarray:
    """Return a column of text as numbers if all are; raise for one text among most numbers."""
    dotted = [text.strip().replace(decimal, ".") for text in values]
    is_filled = np.array([text != "" for text in dotted])
    is_digits = np.array([is_number(text) for text in dotted])
    others = np.flatnonzero(is_filled & ~is_digits)
    if not len(others) and is_digits.any():
        return np.array([float(text) if text else np.nan for text in dotted])
    if 2 * is_digits.sum() > is_filled.sum() and len(set(values[others])) == 1:
        raise ValueError(
            f"{place(others[0])}: column {name!r} holds {shown(values[others[0]])} among numbers. "
            "Leave the field empty if the number is missing."
        )
    return values


def _kind(values: np.ndarray) -> str:
    if values.dtype.kind == "f":
        return "numbers" if len(np.unique(values[~np.isnan(values)])) > 2 else "categories"
    texts = [text for text in values if text]
    n_words = np.mean([len(text.split()) for text in texts]) if texts else 0
    is_category = n_words <= _MOST_WORDS and len(set(texts)) * _FEWEST_USES <= len(texts)
    return "categories" if is_category else "text"


def _encoded_categories(values: np.ndarray) -> Any:
    texts = ["" if value != value else str(value) for value in values]
    return OneHotEncoder().fit_transform(np.array(texts, dtype=object)[:, None])


def _encoded_numbers(values: np.ndarray) -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler()).fit_transform(values[:, None])


def _encoded_text(values: np.ndarray) -> Any:
    return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit_transform(values)


_ENCODERS: dict[str, Callable[[np.ndarray], Any]] = {
    "text": _encoded_text,
    "categories": _encoded_categories,
    "numbers": _encoded_numbers,
}
