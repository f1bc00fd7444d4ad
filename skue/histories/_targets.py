"""Held-out items y: as flat ids, as item rows, or appended to the histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skue.histories._alignment import in_order_of_users
from skue.histories._columns import flatten, ids_of_table, place_in_lists
from skue.histories._histories import Histories
from skue.histories._splits import liked
from skue.histories._vocabulary import Vocabulary, check_same_type
from skue.kernels._arrays import offsets_of, owners
from skue.reading._ids import as_ids, refuse_as_items


def flat_targets(y: Any, user_ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the held-out items as a flat array, and their offsets.

    Parameters
    ----------
    y : array-like of shape (n_users,), Histories, or 2-D array
        One id or one array of ids per user; a frame of one column is that column. In a 2-D array,
        negative integers and empty text are padding. Of Histories, events with a weight of zero or
        less are no held-out items.
    user_ids : ndarray of shape (n_users,), default=None
        The users of X. If y carries user ids, it is brought into their order.
    """
    if hasattr(y, "columns"):
        if len(y.columns) != 1:
            raise ValueError(
                f"y must be one column, got the columns {list(y.columns)}. Pass one of them."
            )
        y = y[y.columns[0]]
    y = in_order_of_users(user_ids, y, "y")
    if isinstance(y, Histories):
        y = liked(y)
        return y.item_ids[y.codes], y.offsets
    if isinstance(y, np.ndarray) and y.ndim == 2:
        return ids_of_table(y, "y")
    values = y if isinstance(y, np.ndarray) and y.dtype.kind != "O" else _listed(y)
    if isinstance(values, list) and any(isinstance(v, (list, tuple, np.ndarray)) for v in values):
        flat, offsets = flatten(values, "y")
        place = place_in_lists(offsets)
        ids = as_ids(flat, "y", place)
        refuse_as_items(ids, "y", place)
        return ids, offsets
    ids = as_ids(values, "y")
    refuse_as_items(ids, "y")
    return ids, np.arange(len(ids) + 1)


def _listed(y: Any) -> list[Any]:
    for plain in ("to_list", "to_pylist"):  # pandas and polars, Arrow
        if hasattr(y, plain):
            return getattr(y, plain)()
    return list(y)


def target_rows(
    y: Any,
    n_users: int,
    lookup: Callable[[np.ndarray], np.ndarray],
    user_ids: np.ndarray | None = None,
    item_ids: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the item rows of the held-out items, without duplicates within a user.

    Parameters
    ----------
    y : as for :func:`flat_targets`
    n_users : int
        Required length of y.
    lookup : callable
        Returns the rows of ids, -1 for unknown ones.
    user_ids : ndarray of shape (n_users,), default=None
        The users of X.
    item_ids : ndarray of shape (n_items,), default=None
        The known items. The ids of y must be of the same type.

    Returns
    -------
    rows : ndarray of shape (n_targets,)
    offsets : ndarray of shape (n_users + 1,)

    Raises
    ------
    ValueError
        If y has another length or ids of another type, or a user has no held-out item.
    """
    ids, offsets = flat_targets(y, user_ids)
    if item_ids is not None:
        check_same_type(ids, item_ids, "The item ids of y", "the known items have")
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


def append_targets(histories: Histories, y: Any) -> tuple[Histories, np.ndarray]:
    """Append the items of y to each history, at one instant after all other events.

    Returns
    -------
    histories : Histories
    appended : ndarray of shape (n_events,), bool
        Marks the events from y.
    """
    ids, offsets = flat_targets(y, histories.user_ids)
    check_same_type(ids, histories.item_ids, "The item ids of y", "X has")
    item_ids = np.unique(np.concatenate([histories.item_ids, ids]))
    vocabulary = Vocabulary._trusted(item_ids)
    n_events, n_targets = len(histories.codes), len(ids)
    users = np.concatenate([owners(histories.offsets), owners(offsets)])
    order = np.argsort(users, kind="stable")
    codes = np.concatenate(
        [vocabulary.lookup(histories.item_ids)[histories.codes], vocabulary.lookup(ids)]
    )
    timestamps = weights = None
    if histories.timestamps is not None:
        times = histories.timestamps
        second: Any = np.timedelta64(1, "s") if times.dtype.kind == "M" else 1.0
        newest = np.zeros(len(histories), dtype=times.dtype)
        filled = histories.lengths > 0
        newest[filled] = times[histories.offsets[1:][filled] - 1] + second
        timestamps = np.concatenate([times, newest[owners(offsets)]])[order]
    if histories.weights is not None:
        weights = np.concatenate([histories.weights, np.ones(n_targets)])[order]
    extended = histories._replace(
        codes=codes[order],
        offsets=histories.offsets + offsets,
        vocabulary=vocabulary,
        timestamps=timestamps,
        weights=weights,
    )
    return extended, (np.arange(n_events + n_targets) >= n_events)[order]
