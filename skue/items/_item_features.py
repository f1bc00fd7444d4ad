"""Item features: numbers that describe items, whether or not a user has chosen them yet."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from skue._estimator import warn_caller
from skue._files import read_arrays, write_arrays
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary, check_same_type
from skue.items._catalogue import Catalogue, as_item_ids
from skue.kernels._arrays import read_only
from skue.kernels._unit_rows import unit_rows
from skue.reading._ids import as_ids, shown
from skue.reading._numbers import numbers_of

_SPARSE = ("data", "indices", "indptr", "shape")


class ItemFeatures(Catalogue):
    """Immutable features of items, with their ids.

    A row describes an item: its categories, its brand, the words of its title, its price, an
    embedding of its text or picture. Rows are made by scikit-learn's encoders, such as
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
        Id of each row.
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
        rows = _as_rows(values)
        super().__init__(Vocabulary(as_item_ids(ids, values, rows.shape[0], "values")))
        self.values = _read_only(rows)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.values.shape[1]

    def extend(self, values: Any, ids: Any) -> ItemFeatures:
        """Return the features of these and of further items.

        Parameters
        ----------
        values : array-like, scipy sparse array or DataFrame of shape (n_new, n_features)
            Features of the new items, with the same columns.
        ids : array-like of shape (n_new,)
            Ids of the new items.

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
        parts = {"ids": self.ids}
        if sp.issparse(self.values):
            parts |= {name: np.asarray(getattr(self.values, name)) for name in _SPARSE}
        else:
            parts["values"] = self.values
        write_arrays(path, "ItemFeatures", parts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ItemFeatures:
        """Read a file written by :meth:`save`. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        features : ItemFeatures

        Raises
        ------
        ValueError
            If the file is damaged, or was not written by ``save`` of this version of skue.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import ItemFeatures
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "features.npz"
        >>> ItemFeatures([[1, 0]], ids=["tea"]).save(path)
        >>> ItemFeatures.load(path)
        ItemFeatures(n_items=1, n_features=2)
        """
        optional = {"values": 2, **dict.fromkeys(_SPARSE, 1)}
        parts = read_arrays(path, "ItemFeatures", {"ids": 1}, optional)
        try:
            if "values" in parts:
                return cls(parts["values"], parts["ids"])
            data, indices, indptr, shape = (parts[name] for name in _SPARSE)
            values = sp.csr_array((data, indices, indptr), shape=tuple(shape.tolist()))
            values.check_format()
            return cls(values, parts["ids"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def __sklearn_clone__(self) -> ItemFeatures:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.values = _read_only(self.values)  # pickles do not keep this

    def __repr__(self) -> str:
        kind = ", sparse" if sp.issparse(self.values) else ""
        return f"ItemFeatures(n_items={len(self)}, n_features={self.n_features}{kind})"


def _read_only(rows: Any) -> Any:
    if not sp.issparse(rows):
        return read_only(rows)
    for part in (rows.data, rows.indices, rows.indptr):
        part.flags.writeable = False
    return rows


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
    with np.errstate(over="ignore", invalid="ignore"):
        rows = rows.astype(np.float32)
        refused = np.flatnonzero(~np.isfinite(rows.sum(axis=1, dtype=np.float64)))
    if len(refused):
        raise ValueError(
            f"values must be finite, but {len(refused)} row(s) hold NaN or infinity: rows "
            f"{refused[:5].tolist()}. Fill in missing values, for example with SimpleImputer."
        )
    if sp.issparse(rows):
        rows.sum_duplicates()
        rows.eliminate_zeros()
    return rows


class FeatureScale(NamedTuple):
    """Factors that make features comparable, learned from all items that have features.

    Parameters
    ----------
    weights : ndarray of shape (n_features,), float32
        Factor of each column: the inverse document frequency of indicators and counts, 1 for
        other columns.
    centre : ndarray of shape (n_features,), float32, or None
        What is subtracted from each column; None if the features are sparse.
    is_empty : ndarray of shape (n_features,), bool
        Whether all values of a column are zero.
    """

    weights: np.ndarray
    centre: np.ndarray | None
    is_empty: np.ndarray

    def rows(self, values: Any) -> Any:
        """Return the scaled rows at length 1, sparse if they were; rows of zeros stay zero."""
        if self.centre is not None:
            dense = values.toarray() if sp.issparse(values) else values
            return unit_rows((dense - self.centre) * self.weights)
        rows = sp.csr_array(sp.csr_array(values) * self.weights[None, :])
        norms = np.sqrt(rows.multiply(rows).sum(axis=1))
        rows.data /= np.repeat(np.where(norms > 0, norms, 1), np.diff(rows.indptr))
        return rows.astype(np.float32)


def scale_of(features: ItemFeatures) -> FeatureScale:
    r"""Return the scale of features.

    Columns of indicators, and of counts that are mostly zero, are multiplied by
    :math:`\log(n / n_c) / \log n`, with :math:`n` items of which :math:`n_c` have the feature.
    Other columns of a dense table are centred.
    """
    n_items, table = max(len(features), 2), sp.csc_array(features.values)
    n_with, n_columns = np.diff(table.indptr), table.shape[1]
    column = np.repeat(np.arange(n_columns), n_with)
    is_whole = np.bincount(column, (table.data % 1 == 0) & (table.data > 0), n_columns) == n_with
    largest = np.zeros(n_columns)
    np.maximum.at(largest, column, table.data)
    is_count = is_whole & ((largest <= 1) | (n_with <= n_items / 2))
    idf = np.log(n_items / np.maximum(n_with, 1)) / np.log(n_items)
    weights = np.where(is_count, idf, 1).astype(np.float32)
    centre = None
    if not sp.issparse(features.values):
        means = features.values.mean(axis=0, dtype=np.float64)
        centre = np.where(is_count, 0, means).astype(np.float32)
    return FeatureScale(weights, centre, n_with == 0)


class ScaledFeatures(NamedTuple):
    """Features of items as rows of one scale."""

    features: ItemFeatures
    scale: FeatureScale

    def of(self, ids: np.ndarray) -> Any:
        """Return the scaled rows of these items, of zeros for items without features."""
        at = self.features.lookup(ids)
        known = (at >= 0).astype(np.float32)
        rows = self.scale.rows(self.features.values[np.maximum(at, 0)])
        if sp.issparse(rows):
            return sp.csr_array(sp.diags_array(known) @ rows)
        return rows * known[:, None]

    def ids_beside(self, ids: np.ndarray) -> np.ndarray:
        """Return the ids that have features, but are not among these."""
        return np.setdiff1d(self.features.ids, ids)


def scaled_features(
    item_features: ItemFeatures | None, histories: Histories
) -> ScaledFeatures | None:
    """Return the features on one scale, and warn about items that have none.

    Raises
    ------
    ValueError
        If the ids of the features are of another type than those of the histories.
    """
    if item_features is None:
        return None
    ids = histories.item_ids
    check_same_type(item_features.ids, ids, "The ids of item_features", "X has items such as")
    has_events = np.bincount(histories.codes, minlength=len(ids)) > 0
    lacking = has_events & (item_features.lookup(ids) < 0)
    if lacking.any():
        warn_caller(
            f"{int(lacking.sum())} of the {int(has_events.sum())} items of X have no row in "
            f"item_features, such as {shown(ids[lacking.argmax()])}. Their vectors are learned "
            "from their events alone."
        )
    scale = scale_of(item_features)
    n_empty = int(scale.is_empty.sum())
    if n_empty:
        warn_caller(
            f"{n_empty} of the {item_features.n_features} columns of item_features are all zeros, "
            f"such as column {int(scale.is_empty.argmax())}. They have no effect."
        )
    return ScaledFeatures(item_features, scale)
