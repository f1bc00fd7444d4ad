"""Item features: numbers known of each item, whether or not anybody chose it yet."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.histories._npz import check_schema, read_arrays, write_arrays
from skue.histories._vocabulary import Vocabulary
from skue.items._checks import as_item_ids, ids_or_index
from skue.kernels._read_only import read_only
from skue.reading._ids import as_ids, is_text, shown
from skue.reading._numbers import numbers_of

_SCHEMA = 1
_SPARSE = ("data", "indices", "indptr", "shape")


class ItemFeatures:
    """Immutable features of items, with their ids.

    A row holds what is known of an item: its categories, its brand, the words of its title, its
    price, an embedding of its text or picture. Rows are made by scikit-learn's encoders, such as
    ``OneHotEncoder``, ``TfidfVectorizer`` and ``ColumnTransformer``, or by any model that returns
    an array. ``sklearn.base.clone`` returns the object itself.

    Parameters
    ----------
    values : array-like, scipy sparse array or DataFrame of shape (n_items, n_features)
        Numbers. Sparse values stay sparse.
    ids : array-like of shape (n_items,), default=None
        Distinct non-negative integers or non-empty strings. By default the index of a DataFrame,
        otherwise the row numbers.

    Attributes
    ----------
    values : ndarray or csr_array of shape (n_items, n_features), float32
        Read-only.
    ids : ndarray of shape (n_items,), int64 or str
    vocabulary : Vocabulary
        The ids, with lookup of their rows.

    Raises
    ------
    ValueError
        If values are not numbers, hold NaN or infinity or are not 2-D, if ids are duplicated, or
        if lengths differ.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from skue import ItemFeatures
    >>> titles = {"A1": "blue tea cup", "A2": "tea pot", "B7": "blue paint"}
    >>> words = TfidfVectorizer().fit_transform(titles.values())
    >>> ItemFeatures(words, ids=list(titles))
    ItemFeatures(n_items=3, n_features=5, sparse)
    """

    def __init__(self, values: Any, ids: Any = None) -> None:
        ids = ids_or_index(ids, values)
        values = _as_rows(values)
        self._set(values, Vocabulary(as_item_ids(ids, values.shape[0], "values")))

    def _set(self, values: Any, vocabulary: Vocabulary) -> None:
        if sp.issparse(values):
            for part in (values.data, values.indices, values.indptr):
                part.flags.writeable = False
        else:
            values = read_only(values)
        self.values, self.vocabulary = values, vocabulary

    @property
    def ids(self) -> np.ndarray:
        return self.vocabulary.ids

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.values.shape[1]

    def lookup(self, ids: Any) -> np.ndarray:
        """Return the row of each id, -1 if it is unknown.

        Parameters
        ----------
        ids : array-like of shape (n_ids,)

        Returns
        -------
        rows : ndarray of shape (n_ids,), int32
        """
        return self.vocabulary.lookup(ids)

    def extend(self, values: Any, ids: Any) -> ItemFeatures:
        """Return the features of these and of further items.

        Parameters
        ----------
        values : array-like, scipy sparse array or DataFrame of shape (n_new, n_features)
        ids : array-like of shape (n_new,)

        Returns
        -------
        features : ItemFeatures

        Raises
        ------
        ValueError
            If the number of columns differs, or an id exists already.

        Examples
        --------
        >>> from skue import ItemFeatures
        >>> ItemFeatures([[1, 0]], ids=["tea"]).extend([[0, 1]], ["cup"])
        ItemFeatures(n_items=2, n_features=2)
        """
        new = ItemFeatures(values, as_ids(ids, "ids"))
        if new.n_features != self.n_features:
            raise ValueError(
                f"values must have the {self.n_features} columns of these features, got "
                f"{new.n_features}. Use the same fitted transformers for all items."
            )
        check_same_type(new.ids, self.ids, "ids", "these features have")
        if sp.issparse(self.values):
            rows = sp.vstack([self.values, sp.csr_array(new.values)], format="csr")
        else:
            added = new.values.toarray() if sp.issparse(new.values) else new.values
            rows = np.concatenate([self.values, added])
        return ItemFeatures(rows, np.concatenate([self.ids, new.ids]))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the features to an ``.npz`` file.

        The write is atomic: after a failure, an existing file is unchanged.

        Parameters
        ----------
        path : str or path
            Used as given, without adding a suffix. An existing file is replaced.
        """
        parts = {"features_schema": np.array(_SCHEMA), "ids": self.ids}
        if sp.issparse(self.values):
            parts |= {name: np.asarray(getattr(self.values, name)) for name in _SPARSE}
        else:
            parts["values"] = self.values
        write_arrays(path, parts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ItemFeatures:
        """Read a file written by :meth:`save`. Nothing is unpickled.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        features : ItemFeatures

        Raises
        ------
        ValueError
            If the file is damaged, was not written by ``save`` or has a newer schema.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import ItemFeatures
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "features.npz"
        >>> ItemFeatures([[1, 0]], ids=["tea"]).save(path)
        >>> ItemFeatures.load(path)
        ItemFeatures(n_items=1, n_features=2)
        """
        parts = read_arrays(path)
        held = ("values",) if "values" in parts else _SPARSE
        needed = ("ids", *held)
        check_schema(path, parts, "features_schema", _SCHEMA, needed, "ItemFeatures.save")
        if "values" in parts:
            return cls(parts["values"], parts["ids"])
        arrays = tuple(parts[name] for name in _SPARSE[:-1])
        try:
            values = sp.csr_array(arrays, shape=tuple(parts["shape"].tolist()))
            values.check_format()
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        return cls(values, parts["ids"])

    def __len__(self) -> int:
        return self.values.shape[0]

    def __sklearn_clone__(self) -> ItemFeatures:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values, "vocabulary": self.vocabulary}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state["values"], state["vocabulary"])

    def __repr__(self) -> str:
        kind = ", sparse" if sp.issparse(self.values) else ""
        return f"ItemFeatures(n_items={len(self)}, n_features={self.n_features}{kind})"


def check_same_type(ids: np.ndarray, others: np.ndarray, name: str, whose: str) -> None:
    """Raise if some ids are text and the others integers."""
    if len(ids) and len(others) and is_text(ids) != is_text(others):
        raise ValueError(
            f"{name} must be of one type, got {shown(ids[0])}, but {whose} {shown(others[0])}. "
            "Convert all ids to integers or all to strings."
        )


def _as_rows(values: Any) -> Any:
    """Return float32 rows, sparse if they were; raise if they are not finite numbers."""
    rows = numbers_of(values, "values")
    if sp.issparse(rows):
        rows = sp.csr_array(rows, copy=True)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(
            f"values must have shape (n_items, n_features), got shape {rows.shape}. Pass one row "
            "per item."
        )
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    held = rows.data if sp.issparse(rows) else rows
    if not np.isfinite(held).all():
        refused = np.flatnonzero(~_finite_rows(rows))
        raise ValueError(
            f"values must be finite, but {len(refused)} row(s) hold NaN or infinity: rows "
            f"{refused[:5].tolist()}. Fill in missing values, for example with SimpleImputer."
        )
    if sp.issparse(rows):
        rows.sum_duplicates()
        rows.eliminate_zeros()
    return rows


def _finite_rows(rows: Any) -> np.ndarray:
    if not sp.issparse(rows):
        return np.isfinite(rows).all(axis=1)
    finite = np.ones(rows.shape[0], dtype=bool)
    finite[rows.tocoo().coords[0][~np.isfinite(rows.data)]] = False
    return finite
