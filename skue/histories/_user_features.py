"""User features: numbers known of the people, one row beside each history."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from skue._warn import warn_caller
from skue.histories._vocabulary import Vocabulary
from skue.kernels._read_only import read_only
from skue.reading._ids import as_ids, is_text, shown


class HasUserFeatures:
    """The method that adds user features to histories."""

    user_ids: np.ndarray | None
    user_features: np.ndarray | None = None

    def with_user_features(self, features: Any) -> Self:
        """Return the histories with numbers known of each user.

        :class:`TwoTowerUserEncoder` learns from them, and gives users without events a vector of
        their own. The other encoders ignore them.

        Parameters
        ----------
        features : array-like, scipy sparse array or DataFrame of shape (n_users, n_features)
            For example the output of a ``ColumnTransformer``. The rows of an array are in the
            order of the histories. A DataFrame is matched by its index if the histories have
            ``user_ids``, and may have further users. A row of NaN means that nothing is known of
            the user.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            If lengths differ, values are not numbers, or a row is only partly known.

        Warns
        -----
        UserWarning
            If a DataFrame lacks some of the users. Nothing is then known of them.

        Examples
        --------
        >>> import pandas as pd
        >>> from skue import Histories
        >>> histories = Histories.from_lists([["tea"], []], user_ids=["ann", "bob"])
        >>> people = pd.DataFrame({"age": [30, 50], "is_new": [1, 0]}, index=["bob", "ann"])
        >>> histories.with_user_features(people).user_features
        array([[50.,  0.],
               [30.,  1.]], dtype=float32)
        """
        if hasattr(features, "columns") and hasattr(features, "index"):
            rows = checked_user_features(features, len(features))
            if self.user_ids is not None:
                rows = _of_users(rows, features.index, self.user_ids)
        else:
            rows = features
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.user_features = read_only(checked_user_features(rows, len(self)))  # type: ignore
        return copy


def checked_user_features(values: Any, n_users: int) -> np.ndarray:
    """Return the features as float32 rows, or raise."""
    if sp.issparse(values):
        values = values.toarray()
    try:
        rows = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"user_features must be numbers: {error}. Encode text and dates first, for example "
            "with a ColumnTransformer."
        ) from error
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(
            f"user_features must have the shape (n_users, n_features), got {rows.shape}. "
            "Write a single feature as a column: features.reshape(-1, 1)."
        )
    if len(rows) != n_users:
        raise ValueError(
            f"user_features must have one row per user, got {len(rows)} rows for {n_users} users."
        )
    missing = np.isnan(rows)
    unsound = np.isinf(rows).any(axis=1) | (missing.any(axis=1) & ~missing.all(axis=1))
    if unsound.any():
        row = int(unsound.argmax())
        raise ValueError(
            f"user_features must be finite, got {rows[row].tolist()} in row {row}. Fill in single "
            "missing values, for example with SimpleImputer, or set the whole row to NaN if "
            "nothing is known of the user."
        )
    return rows


def features_in_order(features: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Return the features of these rows; nothing is known of row -1."""
    if features is None:
        return None
    found = features[np.maximum(rows, 0)].copy()
    found[rows < 0] = np.nan
    return found


def _of_users(rows: np.ndarray, index: Any, user_ids: np.ndarray) -> np.ndarray:
    """Return the rows of a frame in the order of the users."""
    ids = as_ids(index.to_numpy(), "the index of user features")
    if len(ids) and len(user_ids) and is_text(ids) != is_text(user_ids):
        raise ValueError(
            f"The index of user features must hold user ids such as {shown(user_ids[0])}, got "
            f"{shown(ids[0])}. Set it with frame.set_index(...), or pass frame.to_numpy() if the "
            "rows are in the order of the histories."
        )
    places = Vocabulary(ids, "the index of user features").lookup(user_ids)
    n_lacking = int((places < 0).sum())
    if n_lacking == len(user_ids) > 0:
        raise ValueError(
            f"The index of user features has none of the {len(user_ids)} users, such as "
            f"{shown(user_ids[0])}. Set it with frame.set_index(...), or pass frame.to_numpy() if "
            "the rows are in the order of the histories."
        )
    if n_lacking:
        warn_caller(
            f"{n_lacking} of the {len(user_ids)} users have no row of features, such as "
            f"{shown(user_ids[int((places < 0).argmax())])}. Nothing is known of them."
        )
    found = features_in_order(rows, places)
    assert found is not None
    return found
