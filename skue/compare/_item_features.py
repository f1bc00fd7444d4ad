"""Item features from a file: a column of ids, and columns of text, categories and numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skue.compare._id_table import TextOptions, read_id_table
from skue.items._item_features import ItemFeatures

# A text column is of categories if its values have this number of words at most on average, and
# each is used by two items or more on average; otherwise it is free text.
_MOST_WORDS = 3
_FEWEST_USES = 2


class FeatureFile(NamedTuple):
    """Features, a sentence on how each column was encoded, and the texts of the first text column.

    The texts are those that the report shows in place of the ids.
    """

    features: ItemFeatures
    encoding: str
    titles: dict[Any, str]


def read_item_features(
    path: Path,
    item_ids: np.ndarray,
    item: str | int | None = None,
    text: TextOptions = TextOptions(),  # noqa: B008
) -> FeatureFile:
    """Read and encode a file with one row per item. See :func:`read_id_table`.

    Text is encoded by ``TfidfVectorizer``, categories by ``OneHotEncoder``, numbers by
    ``StandardScaler``.
    """
    try:
        ids, columns = read_id_table(path, item_ids, "item", item, text)
    except ValueError as error:
        raise ValueError(f"--item-features {error}") from error
    kinds = {name: _kind(values) for name, values in columns.items()}
    blocks = [sp.csr_array(_ENCODERS[kinds[name]](values)) for name, values in columns.items()]
    try:
        features = ItemFeatures(sp.hstack(blocks, format="csr"), ids)
    except ValueError as error:
        raise ValueError(f"--item-features {path}: {error}") from error
    # The first text column; its empty texts are no titles.
    texts = next((columns[name] for name, kind in kinds.items() if kind == "text"), ())
    titles = {item: text for item, text in zip(ids.tolist(), texts, strict=False) if text}
    told = ", ".join(f"{name} as {kind}" for name, kind in kinds.items())
    n_found = int((features.lookup(item_ids) >= 0).sum())
    return FeatureFile(
        features,
        f"{told} ({features.n_features} columns); {n_found} of {len(item_ids)} items of the log "
        "have features",
        titles,
    )


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
