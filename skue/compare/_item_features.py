"""Item features from a file: a column of ids, and columns of text, categories and numbers."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skue._estimator import import_optional
from skue.items._item_features import ItemFeatures
from skue.reading._column_names import guess_column
from skue.reading._delimited import guess_delimiter, records, utf8_text
from skue.reading._ids import as_ids, is_text, shown

# A text column is of categories if its values have this number of words at most on average, and
# each is used by two items or more on average; otherwise it is free text.
_MOST_WORDS = 3
_FEWEST_USES = 2


class FeatureFile(NamedTuple):
    """Features, and a sentence on how each column was encoded."""

    features: ItemFeatures
    encoding: str


def read_item_features(
    path: Path, item_ids: np.ndarray, *, encoding: str = "utf-8", decimal: str = "."
) -> FeatureFile:
    """Read a CSV, TSV or Parquet file with one row per item.

    The column of ids has a usual name, or is the first one. Text is encoded by
    ``TfidfVectorizer``, categories by ``OneHotEncoder``, numbers by ``StandardScaler``.

    Parameters
    ----------
    path : path
    item_ids : ndarray of shape (n_items,)
        Ids of the log, whose type those of the file get.
    encoding : str, default="utf-8"
        Encoding of text that is not UTF-8.
    decimal : {".", ","}, default="."

    Raises
    ------
    ValueError
        If the file does not exist or cannot be read, or has no column beside the ids, or its ids
        cannot be those of the log.
    """
    if not path.is_file():
        raise ValueError(f"--item-features {path}: the file does not exist.")
    try:
        return _read(path, item_ids, encoding, decimal)
    except (ValueError, OSError) as error:
        raise ValueError(f"--item-features {path}: {error}") from error


def _read(path: Path, item_ids: np.ndarray, encoding: str, decimal: str) -> FeatureFile:
    frame = _frame_of(path, encoding, decimal)
    names = [str(name) for name in frame.columns]
    id_column = guess_column(names, "item") or names[0]
    columns = [name for name in names if name != id_column]
    if not columns:
        raise ValueError(f"there is no column beside the ids ({id_column!r}).")
    if not len(frame):
        raise ValueError("there is only a header line.")
    missing = np.flatnonzero(frame[id_column].isna() | (frame[id_column] == ""))
    if len(missing):
        raise ValueError(f"the id in row {missing[0]} is missing.")
    ids = _as_ids(frame[id_column], item_ids)
    kinds = {name: _kind(frame[name]) for name in columns}
    transformers = [
        (name, _ENCODERS[kind](), _selection(name, kind)) for name, kind in kinds.items()
    ]
    cleaned = {
        name: frame[name] if kind == "numbers" else _as_text(frame[name])
        for name, kind in kinds.items()
    }
    encoder = ColumnTransformer(transformers, sparse_threshold=1.0)
    values = encoder.fit_transform(frame.assign(**cleaned)[columns])
    told = ", ".join(f"{name} as {kind}" for name, kind in kinds.items())
    features = ItemFeatures(sp.csr_array(values), ids)
    return FeatureFile(features, f"{told} ({features.n_features} columns)")


def _frame_of(path: Path, encoding: str, decimal: str) -> Any:
    pandas = import_optional("pandas", "io")
    if path.suffix == ".parquet":
        return pandas.read_parquet(path)
    content = _utf8_of(path, encoding)
    mark = _delimiter_of(path, content)
    # The ids stay text: "0012" is another id than "12", and "NA" is not missing.
    frame = pandas.read_csv(BytesIO(content), sep=mark, decimal=decimal)
    names = list(frame.columns)
    id_column = guess_column(names, "item") or names[0]
    ids = pandas.read_csv(
        BytesIO(content), sep=mark, usecols=[id_column], dtype=str, keep_default_na=False
    )
    return frame.assign(**ids)


def _delimiter_of(path: Path, content: bytes) -> str:
    starts, stops, _ = records(np.frombuffer(content, dtype=np.uint8), True)
    spans = zip(starts[:100].tolist(), stops[:100].tolist(), strict=True)
    lines = [
        line for line in (content[start:stop].decode() for start, stop in spans) if line.strip()
    ]
    if ".tsv" in path.suffixes or not lines:
        return "\t"
    try:
        return guess_delimiter(lines, {"user": None, "item": None}, True, str(path))
    except ValueError:
        raise ValueError(
            f"the delimiter is not clear in {shown(lines[0])}. Save the table as .tsv or .parquet."
        ) from None


def _utf8_of(path: Path, encoding: str) -> bytes:
    """Return the content of a text file, which is UTF-8 or else in the given encoding, as UTF-8."""
    try:
        return utf8_text(path, "utf-8")
    except ValueError:
        return utf8_text(path, encoding)


def _as_ids(column: Any, item_ids: np.ndarray) -> np.ndarray:
    if is_text(item_ids):
        return column.astype(str).to_numpy(dtype=object)
    if column.dtype.kind == "f":
        return as_ids(column.to_numpy(), "the ids")
    try:
        return column.astype(np.int64).to_numpy()
    except (ValueError, OverflowError):
        raise ValueError(
            f"the ids are text such as {shown(column.iloc[0])}, but the log has "
            f"{shown(item_ids[0])}."
        ) from None


def _as_text(column: Any) -> Any:
    """Return the values as text, missing ones as empty text, for columns of every dtype."""
    return column.astype(object).where(column.notna(), "").astype(str)


def _kind(column: Any) -> str:
    if column.dtype.kind in "biuf":
        return "numbers" if column.nunique() > 2 else "categories"
    texts = column.dropna().astype(str)
    n_words = texts.str.split().str.len().mean() if len(texts) else 0
    is_category = n_words <= _MOST_WORDS and texts.nunique() * _FEWEST_USES <= len(texts)
    return "categories" if is_category else "text"


def _selection(name: str, kind: str) -> Any:
    return name if kind == "text" else [name]


_ENCODERS: dict[str, Any] = {
    "text": lambda: TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
    "categories": lambda: OneHotEncoder(handle_unknown="ignore"),
    "numbers": lambda: make_pipeline(SimpleImputer(), StandardScaler()),
}
