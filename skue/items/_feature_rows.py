"""Feature rows on one scale: rare indicators weigh more, dense columns are centred."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from skue._warn import warn_caller
from skue.histories._histories import Histories
from skue.items._item_features import ItemFeatures, check_same_type
from skue.kernels._rows import unit_rows
from skue.reading._ids import shown


class FeatureScale(NamedTuple):
    """What makes features comparable, learned from all items that have features.

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
        if not sp.issparse(values):
            if self.centre is None:
                return self.rows(sp.csr_array(values))
            return unit_rows((values - self.centre) * self.weights)
        if self.centre is not None:
            return self.rows(values.toarray())
        rows = sp.csr_array(values * self.weights[None, :])
        norms = np.sqrt(rows.multiply(rows).sum(axis=1))
        rows.data /= np.repeat(np.where(norms > 0, norms, 1), np.diff(rows.indptr))
        return rows.astype(np.float32)


def scale_of(features: ItemFeatures) -> FeatureScale:
    r"""Return the scale of features.

    Columns of indicators, and of counts that are mostly zero, are multiplied by
    :math:`\log(n / n_c) / \log n`, with :math:`n` items of which :math:`n_c` have the feature.
    Other columns of a dense table are centred.
    """
    values, n_items = features.values, max(len(features), 2)
    is_sparse = sp.issparse(values)
    table = sp.csc_array(values) if is_sparse else values
    if is_sparse:
        n_with = np.diff(table.indptr)
        owner = np.repeat(np.arange(table.shape[1]), n_with)
        whole = np.bincount(owner, (table.data % 1 == 0) & (table.data > 0), features.n_features)
        largest = np.zeros(features.n_features)
        np.maximum.at(largest, owner, table.data)
        is_whole = whole == n_with
    else:
        n_with = np.count_nonzero(table, axis=0)
        is_whole = ((table % 1 == 0) & (table >= 0)).all(axis=0)
        largest = table.max(axis=0, initial=0)
    is_count = is_whole & ((largest <= 1) | (n_with <= n_items / 2))
    idf = np.log(n_items / np.maximum(n_with, 1)) / np.log(n_items)
    weights = np.where(is_count, idf, 1).astype(np.float32)
    if is_sparse:
        return FeatureScale(weights, None, n_with == 0)
    centre = np.where(is_count, 0, table.mean(axis=0, dtype=np.float64)).astype(np.float32)
    return FeatureScale(weights, centre, n_with == 0)


class ScaledFeatures(NamedTuple):
    """Features of items as rows of one scale."""

    features: ItemFeatures
    scale: FeatureScale

    def of(self, ids: np.ndarray) -> Any:
        """Return the scaled rows of these items, of zeros for items without features."""
        at = self.features.lookup(ids)
        known = (at >= 0).astype(np.float32)
        values = self.features.values[np.maximum(at, 0)]
        rows = self.scale.rows(values)
        return (
            sp.csr_array(sp.diags_array(known) @ rows)
            if sp.issparse(rows)
            else (rows * known[:, None])
        )

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
