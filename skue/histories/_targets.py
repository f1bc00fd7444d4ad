"""Held-out items y: as flat ids, as item rows, or appended to the histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skue.histories._columns import flatten, optional
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.kernels._arrays import offsets_of, owners
from skue.reading._ids import as_ids, is_text, shown


def flat_targets(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the held-out items as a flat array, and their offsets.

    Parameters
    ----------
    y : array-like of shape (n_users,)
        One id or one array of ids per user; a frame of one column is that column.
    """
    if hasattr(y, "columns"):
        if len(y.columns) != 1:
            raise ValueError(
                f"y must be one column, got the columns {list(y.columns)}. Pass one of them."
            )
        y = y[y.columns[0]]
    values = y.to_list() if hasattr(y, "to_list") else y
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        width = values.shape[1] if values.ndim == 2 else 1
        return as_ids(values.ravel(), "y"), np.arange(len(values) + 1) * width
    listed = list(values)
    if any(isinstance(value, (list, tuple, np.ndarray)) for value in listed):
        flat, offsets = flatten(listed, "y")
        return as_ids(flat, "y"), offsets
    return as_ids(listed, "y"), np.arange(len(listed) + 1)


def target_rows(
    y: Any, n_users: int, lookup: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the item rows of the held-out items, without duplicates within a user.

    Parameters
    ----------
    y : array-like of shape (n_users,)
        One id or one array of ids per user.
    n_users : int
        Required length of y.
    lookup : callable
        Returns the rows of ids, -1 for unknown ones.

    Returns
    -------
    rows : ndarray of shape (n_targets,)
    offsets : ndarray of shape (n_users + 1,)

    Raises
    ------
    ValueError
        If y has another length, or a user has no held-out item.
    """
    ids, offsets = flat_targets(y)
    lengths = np.diff(offsets)
    if len(lengths) != n_users:
        raise ValueError(
            f"X and y must have one row per user, got {n_users} rows in X and {len(lengths)} in y."
        )
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        raise ValueError(
            f"y must have at least one item per user, but {len(empty)} rows have none, the first "
            f"of them row {empty[0]}. Drop these users."
        )
    if len(ids) == n_users:
        return lookup(ids), offsets
    distinct, codes = np.unique(ids, return_inverse=True)
    users = np.repeat(np.arange(n_users), lengths)
    keys = np.unique(users * len(distinct) + codes)
    users, codes = np.divmod(keys, len(distinct))
    return lookup(distinct)[codes], offsets_of(np.bincount(users, minlength=n_users))


def refuse_other_type(
    ids: np.ndarray, item_ids: np.ndarray, name: str = "y", others: str = "X"
) -> None:
    """Raise for text ids if those of the items are integers, or the other way round."""
    if is_text(ids) != is_text(item_ids) and len(item_ids) and len(ids):
        way_out = " Pass the items that came next." if name == "y" else ""
        raise ValueError(
            f"{name} must contain item ids of the same type as {others}, such as "
            f"{shown(item_ids[0])}, got {shown(ids[0])}.{way_out}"
        )


def append_targets(histories: Histories, y: Any) -> tuple[Histories, np.ndarray]:
    """Append the items of y to each history, at one instant after all other events.

    Returns
    -------
    histories : Histories
    appended : ndarray of shape (n_events,), bool
        Marks the events from y.
    """
    ids, offsets = flat_targets(y)
    refuse_other_type(ids, histories.item_ids)
    item_ids = np.unique(np.concatenate([histories.item_ids, ids]))
    vocabulary = Vocabulary._trusted(item_ids)
    n_events, n_targets = len(histories.codes), len(ids)
    users = np.concatenate([owners(histories.offsets), owners(offsets)])
    order = np.argsort(users, kind="stable")
    codes = np.concatenate(
        [vocabulary.lookup(histories.item_ids)[histories.codes], vocabulary.lookup(ids)]
    )
    timestamps = None
    if histories.timestamps is not None:
        times = histories.timestamps
        second: Any = np.timedelta64(1, "s") if times.dtype.kind == "M" else 1.0
        newest = np.zeros(len(histories), dtype=times.dtype)
        filled = histories.lengths > 0
        newest[filled] = times[histories.offsets[1:][filled] - 1] + second
        timestamps = np.concatenate([times, newest[owners(offsets)]])[order]
    weights = optional(
        lambda column: np.concatenate([column, np.ones(n_targets)])[order], histories.weights
    )
    extended = Histories._trusted(
        codes[order],
        histories.offsets + offsets,
        vocabulary,
        timestamps,
        weights,
        histories.user_ids,
        histories.user_features,
    )
    return extended, (np.arange(n_events + n_targets) >= n_events)[order]
