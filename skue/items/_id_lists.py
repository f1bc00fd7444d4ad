"""Lists of item ids to exclude from recommendations or to limit them to, as item rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from skue.histories._alignment import in_order_of_users, index_of
from skue.histories._columns import flatten, ids_of_table, place_in_lists
from skue.histories._histories import Histories
from skue.histories._vocabulary import check_same_type
from skue.items._catalogue import Catalogue
from skue.kernels._arrays import kept_offsets, offsets_of, owners, positions_of_ranges
from skue.reading._ids import as_ids, refuse_as_items, shown

# Rows and offsets of one list per user, or rows of one list for all users (offsets is None).
Rows = tuple[np.ndarray, np.ndarray | None]


def rows_of_id_lists(
    items: Catalogue, lists: Any, n_users: int, name: str, user_ids: np.ndarray | None = None
) -> Rows:
    """Return the item rows of lists of ids, for all users or for each user.

    Parameters
    ----------
    items : Catalogue
    lists : array-like of ids, Histories, or one sequence of ids per user
        Unknown ids are ignored. In a 2-D array, negative integers and empty strings are padding.
        Lists that carry user ids are brought into the order of the users: those of Histories, of
        a Series with an index, and of a dict.
    n_users : int
    name : str
        Name of the lists in error messages.
    user_ids : ndarray of shape (n_users,), default=None
        The users that the lists are for.

    Returns
    -------
    rows : ndarray of shape (n_rows,), int64
    offsets : ndarray of shape (n_users + 1,), int64, or None
        Where the rows of each user start. None for one list for all users.

    Raises
    ------
    ValueError
        If ``lists`` is a single id, the number of lists differs from the number of users or a
        user has none, the ids have another type than those of the items, or an id outside of a
        2-D array is negative or empty.

    Examples
    --------
    >>> from skue import ItemEmbeddings
    >>> from skue.items._id_lists import rows_of_id_lists
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> rows_of_id_lists(items, ["cup", "pot"], 2, "exclude")
    (array([1]), None)
    >>> rows_of_id_lists(items, [["cup"], ["cup", "tea"]], 2, "exclude")
    (array([1, 1, 0]), array([0, 1, 3]))
    """
    if isinstance(lists, Histories):
        lists = in_order_of_users(user_ids, lists, name)
        ids, rows, offsets = lists.item_ids, items.rows_of(lists), lists.offsets
    else:
        ids, offsets = _ids_and_offsets(lists, name, user_ids)
        rows = items.lookup(ids)
    check_same_type(ids, items.ids, f"The ids of {name}", "the items have ids such as")
    if offsets is not None and len(offsets) - 1 != n_users:
        raise ValueError(
            f"{name} has lists for {len(offsets) - 1} users, but there are {n_users}. Pass one "
            "list per user, or a flat list of ids for all users."
        )
    known = rows >= 0
    rows = rows[known].astype(np.int64)
    return rows, None if offsets is None else kept_offsets(offsets, known)


def limits_of_id_lists(
    items: Catalogue,
    n_users: int,
    *,
    exclude: Any = None,
    allow: Any = None,
    seen: tuple[np.ndarray, np.ndarray] | None = None,
    user_ids: np.ndarray | None = None,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, Rows | None]:
    """Convert ``exclude=`` and ``allow=`` to the arguments of :func:`top_k`.

    Parameters
    ----------
    items : Catalogue
    n_users : int
    exclude, allow : as for :func:`rows_of_id_lists`, default=None
    seen : (rows, offsets), default=None
        More rows to exclude for each user.
    user_ids : ndarray of shape (n_users,), default=None

    Returns
    -------
    excluded : (rows, offsets) or None
        Rows to exclude for each user.
    allowed : (rows, offsets), or (rows, None) for all users, or None
        The only rows that each user may get.
    """
    excluded, allowed = seen, None
    if allow is not None:
        allowed = rows_of_id_lists(items, allow, n_users, "allow", user_ids)
    if exclude is None:
        return excluded, allowed
    rows, offsets = rows_of_id_lists(items, exclude, n_users, "exclude", user_ids)
    if offsets is not None:
        own = rows, offsets
        return own if excluded is None else _joined(excluded, own), allowed
    if len(rows):
        left = np.ones(len(items), dtype=bool)
        left[rows] = False
        allowed = only_rows(allowed, left)
    return excluded, allowed


def only_rows(allowed: Rows | None, left: np.ndarray) -> Rows:
    """Return the allowed rows that are also in a mask of the items."""
    if allowed is None:
        return np.flatnonzero(left), None
    rows, offsets = allowed
    kept = left[rows]
    return rows[kept], None if offsets is None else kept_offsets(offsets, kept)


def limits_of_users(limits: Any, users: np.ndarray) -> Any:
    """Return the limits of :func:`limits_of_id_lists` of some users."""
    if limits is None or limits[1] is None:
        return limits
    rows, offsets = limits
    lengths = np.diff(offsets)[users]
    return rows[positions_of_ranges(offsets[:-1][users], lengths)], offsets_of(lengths)


def _joined(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate two lists of rows per user."""
    users = np.concatenate([owners(first[1]), owners(second[1])])
    rows = np.concatenate([first[0], second[0]])[np.argsort(users, kind="stable")]
    return rows, first[1] + second[1]


def _ids_and_offsets(
    lists: Any, name: str, user_ids: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the ids of one list for all users, or of one list per user with their offsets."""
    if isinstance(lists, np.ndarray) and lists.ndim == 2:
        return ids_of_table(lists, name)
    if isinstance(lists, Mapping):
        lists = in_order_of_users(user_ids, lists, name)
    values = _listed(lists, name)
    # The first entry decides whether these are ids or one list of ids per user.
    first = next(iter(values), None)
    if isinstance(first, str) or not isinstance(first, Iterable):
        ids = as_ids(values, name)
        refuse_as_items(ids, name)
        return ids, None
    if index_of(lists) is not None:
        values = in_order_of_users(user_ids, lists, name).tolist()
    if not isinstance(first, (Sequence, np.ndarray)):
        values = list(map(list, values))  # sets, or columns of a frame
    flat, offsets = flatten(values, name)
    place = place_in_lists(offsets)
    ids = as_ids(flat, name, place)
    refuse_as_items(ids, name, place)
    return ids, offsets


def _listed(lists: Any, name: str) -> Any:
    if isinstance(lists, (str, bytes)) or not isinstance(lists, Iterable):
        raise ValueError(
            f"{name} must be a list of ids, got {shown(lists)}. Write one id as [{shown(lists)}]."
        )
    if hasattr(lists, "columns"):
        raise ValueError(
            f"{name} must be a list of ids or one list of ids per user, got a "
            f"{type(lists).__name__}. Pass one column."
        )
    for plain in ("to_pylist", "to_list"):  # pyarrow, polars and pandas
        if hasattr(lists, plain):
            return getattr(lists, plain)()
    return lists if isinstance(lists, (list, tuple, np.ndarray)) else list(lists)
