"""Rows that carry user ids are brought into the order of the users of X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skue.histories._vocabulary import Vocabulary
from skue.reading._ids import as_ids, is_text, shown


def in_order_of_users(user_ids: np.ndarray | None, rows: Any, name: str) -> Any:
    """Return ``rows`` with one row for each user of X, in the order of X.

    Parameters
    ----------
    user_ids : ndarray of shape (n_users,), or None
        The users of X. None means that X carries no user ids.
    rows : Histories, Series or DataFrame of pandas, dict, or anything else
        One row per user: held-out items, lists of items, features. Histories carry ``user_ids``,
        pandas objects their index, and a dict its keys. Anything else carries no user ids.
    name : str
        What the rows are called in error messages.

    Returns
    -------
    rows : object
        Of the same type, but a list for a dict. If either side carries no user ids, the rows are
        returned as they are. See :func:`rows_of_users` for the rules.
    """
    if isinstance(rows, Mapping):
        if user_ids is None:
            raise ValueError(
                f"{name} is given by user, but X has no user_ids. Pass Histories with user_ids as "
                f"X, or {name} as a list in the order of X."
            )
        at = rows_of_users(user_ids, list(rows), name)
        values = list(rows.values())
        return values if at is None else [values[row] for row in at]
    index = index_of(rows)
    labels = getattr(rows, "user_ids", None) if index is None else index
    at = None if labels is None else rows_of_users(user_ids, labels, name)
    if at is None:
        return rows
    return rows[at] if index is None else rows.iloc[at]


def index_of(rows: Any) -> Any:
    """Return the index of a pandas object, or None."""
    index = getattr(rows, "index", None)
    return index if hasattr(index, "to_numpy") else None


def user_ids_of_index(rows: Any) -> np.ndarray | None:
    """Return the index of a pandas object as user ids, if it has a name or holds text.

    Any other index, one that repeats, and one of dates or fractions is none.
    """
    index = index_of(rows)
    if index is None or not index.is_unique or index.nlevels > 1:
        return None
    if index.name is None and not isinstance(next(iter(index), None), str):
        return None
    try:
        return as_ids(np.asarray(index))
    except ValueError:
        return None


def rows_of_users(
    user_ids: np.ndarray | None, labels: Any, name: str, *, may_lack: bool = False
) -> np.ndarray | None:
    """Return the row of each user of X among rows with these labels, or None if they are in order.

    Labels are compared as a whole: a row is never taken by position if another one is taken by
    its label. Rows of users that X does not have are left out. The labels of pandas rows may be
    row numbers rather than user ids. They count as such, and rows as in order, if they are

    - the default index 0, 1, 2, ... of as many rows as X has (an error if these are the users of
      X in another order, because both readings are possible); or
    - integers of which none is the id of a user of X, nor the text of one.

    Parameters
    ----------
    user_ids : ndarray of shape (n_users,), or None
    labels : ndarray, list or pandas Index of shape (n_rows,)
    name : str
        What the rows are called in error messages.
    may_lack : bool, default=False
        Whether rows of some users may be missing. They get -1. If there are rows, but none of a
        user of X, this is an error nevertheless.

    Raises
    ------
    ValueError
        If users are missing or have several rows, naming the first few.
    """
    if user_ids is None:
        return None
    way_out = (
        f"Label the rows of {name} with the ids of the users (in pandas: set_index), or pass an "
        "array (to_numpy) or a list in the order of X."
    )
    ids = as_ids(np.asarray(labels), f"the user ids of {name}")
    if is_text(ids) == is_text(user_ids) and np.array_equal(ids, user_ids):
        return None
    if hasattr(labels, "to_numpy") and not is_text(ids):
        names = ids.astype(str).astype(object) if is_text(user_ids) else ids
        are_users = Vocabulary._trusted(user_ids).lookup(names) >= 0
        is_default = len(ids) == len(user_ids) and np.array_equal(ids, np.arange(len(ids)))
        if is_default and are_users.all():
            raise ValueError(
                f"The index of {name}, 0 to {len(ids) - 1}, may be row numbers or user ids, but X "
                f"has these users in another order. Sort {name} like X, or pass an array or a list "
                "in the order of X."
            )
        if is_default or not are_users.any():
            return None
    if len(ids) and is_text(ids) != is_text(user_ids):
        raise ValueError(
            f"{name} must carry user ids of the same type as X, such as {shown(user_ids[0])}, got "
            f"{shown(ids[0])}. {way_out}"
        )
    rows = Vocabulary(ids, f"the user ids of {name}").lookup(user_ids)
    lacking = user_ids[rows < 0]
    nobody_matches = len(ids) > 0 and len(lacking) == len(user_ids)
    if len(lacking) and (not may_lack or nobody_matches):
        named = ", ".join(map(shown, lacking[:5]))
        raise ValueError(
            f"{name} has no row for {len(lacking)} of the {len(user_ids)} users, such as {named}. "
            f"{way_out}"
        )
    return rows
