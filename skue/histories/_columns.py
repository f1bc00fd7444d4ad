"""The columns of a batch of histories, built from given columns, lists, events or a log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from skue._optional import import_optional
from skue.histories._checks import (
    as_times,
    as_weights,
    checked_codes,
    checked_offsets,
    first_decrease,
    flatten,
    flatten_like,
    place_in_lists,
    refuse_decreasing,
    same_length,
)
from skue.histories._user_features import checked_user_features
from skue.histories._vocabulary import Vocabulary
from skue.kernels._read_only import frozen
from skue.kernels._segments import offsets_of, order_by_user, owners
from skue.reading._columns import Log
from skue.reading._frames import times_of_list
from skue.reading._ids import as_ids, factorize, refuse_as_items
from skue.reading._labels import Label

if TYPE_CHECKING:
    import pandas

Column = TypeVar("Column")


class Columns(NamedTuple):
    """The columns of :class:`skue.Histories`, valid and in order."""

    codes: np.ndarray
    offsets: np.ndarray
    vocabulary: Vocabulary
    timestamps: np.ndarray | None = None
    weights: np.ndarray | None = None
    user_ids: np.ndarray | None = None
    user_features: np.ndarray | None = None


def optional(function: Callable[[Any], Column], column: Any) -> Column | None:
    """Apply a function to a column that a batch may lack."""
    return None if column is None else function(column)


def checked_columns(
    codes: Any,
    offsets: Any,
    item_ids: Any,
    timestamps: Any,
    weights: Any,
    user_ids: Any,
    user_features: Any,
) -> Columns:
    """Check the columns that callers pass to :class:`skue.Histories`, and copy them."""
    vocabulary = Vocabulary(item_ids, "item_ids")
    refuse_as_items(vocabulary.ids, "item_ids")
    offsets = checked_offsets(offsets)
    codes = frozen(checked_codes(codes, len(vocabulary)))
    if offsets[-1] != len(codes):
        raise ValueError(f"offsets end at {offsets[-1]}, but there are {len(codes)} codes.")
    timestamps = optional(lambda given: frozen(as_times(given)), timestamps)
    if timestamps is not None:
        same_length("timestamps", timestamps, "codes", codes)
        refuse_decreasing(timestamps, offsets)
    weights = optional(lambda given: frozen(as_weights(given)), weights)
    if weights is not None:
        same_length("weights", weights, "codes", codes)
    user_ids = _checked_user_ids(user_ids, "users", offsets)
    if user_features is not None:
        user_features = checked_user_features(user_features, len(offsets) - 1)
    return Columns(codes, offsets, vocabulary, timestamps, weights, user_ids, user_features)


def columns_of_lists(
    lists: Any,
    timestamps: Any = None,
    weights: Any = None,
    user_ids: Any = None,
    *,
    time_unit: str | None = None,
    dayfirst: bool | None = None,
    vocabulary: Vocabulary | None = None,
) -> Columns:
    """Build from one sequence of item ids a user; see :meth:`skue.Histories.from_lists`.

    A vocabulary that knows all of the items becomes that of the batch.
    """
    flat, offsets = flatten(lists, "histories")
    if vocabulary is not None and timestamps is weights is user_ids is None:
        codes = vocabulary._known_positions(flat)
        if codes is not None:
            return Columns(codes, offsets, vocabulary)
    place = place_in_lists(offsets)
    ids = as_ids(flat, "item ids", place)
    refuse_as_items(ids, "item ids", place)
    if timestamps is not None:
        timestamps = times_of_list(
            flatten_like(timestamps, offsets, "timestamps"),
            Label("the timestamp", place),
            time_unit=time_unit,
            dayfirst=dayfirst,
        )
    if weights is not None:
        weights = as_weights(flatten_like(weights, offsets, "weights"), "weights", place)
    user_ids = _checked_user_ids(user_ids, "histories", offsets)
    return columns_of_events(ids, offsets, timestamps, weights, user_ids, vocabulary)


def _checked_user_ids(user_ids: Any, users: str, offsets: np.ndarray) -> np.ndarray | None:
    if user_ids is not None:
        user_ids = frozen(as_ids(user_ids, "user_ids"))
        same_length("user_ids", user_ids, users, offsets[1:])
    return user_ids


def columns_of_events(
    ids: np.ndarray,
    offsets: np.ndarray,
    timestamps: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    user_ids: np.ndarray | None = None,
    vocabulary: Vocabulary | None = None,
) -> Columns:
    """Build from a flat array of item ids, and sort each user's events by time.

    A vocabulary that knows all of the items becomes that of the batch.
    """
    codes = None if vocabulary is None or not len(ids) else vocabulary.lookup(ids)
    if vocabulary is None or codes is None or codes.min() < 0:
        codes, item_ids = factorize(ids)
        vocabulary = Vocabulary._trusted(item_ids)
    if timestamps is not None and first_decrease(timestamps, offsets) is not None:
        order = np.lexsort((timestamps, owners(offsets)))
        codes, timestamps = codes[order], timestamps[order]
        weights = optional(lambda column: column[order], weights)
    return Columns(codes, offsets, vocabulary, timestamps, weights, user_ids)


def columns_of_log(log: Log) -> Columns:
    """Build from a log: sort it by user, then time. No column is the caller's own array."""
    codes, item_ids = log.items
    owner, user_ids = log.users
    order = order_by_user(owner, len(user_ids), log.timestamps)
    if order is not None:
        codes, owner = codes[order], owner[order]

    def ordered(column: np.ndarray) -> np.ndarray:
        return frozen(column) if order is None else column[order]

    return Columns(
        codes,
        offsets_of(np.bincount(owner, minlength=len(user_ids))),
        Vocabulary._trusted(item_ids),
        optional(ordered, log.timestamps),
        optional(ordered, log.weights),
        user_ids,
    )


def frame_of(histories: Any) -> pandas.DataFrame:
    """Return a batch as a frame; see :meth:`skue.Histories.to_frame`."""
    users = owners(histories.offsets)
    columns = {
        "user": users if histories.user_ids is None else histories.user_ids[users],
        "item": histories.item_ids[histories.codes],
        "time": histories.timestamps,
        "weight": histories.weights,
    }
    pandas = import_optional("pandas", "io")
    # The dtype is given because the text type that pandas infers cannot hold every string.
    return pandas.DataFrame(
        {
            name: pandas.Series(column, dtype=column.dtype)
            for name, column in columns.items()
            if column is not None
        }
    )


def user_index(key: Any, n_users: int) -> int | slice | np.ndarray:
    """Return the users that an index selects: one, a slice of step 1, or an array of positions."""
    if isinstance(key, tuple):
        if len(key) != 2 or (key[1] is not Ellipsis and key[1] != slice(None)):
            raise IndexError(f"Histories have one axis, the users. Got the index {key!r}.")
        key = key[0]
    if isinstance(key, slice):
        start, stop, step = key.indices(n_users)
        return slice(start, max(start, stop)) if step == 1 else np.arange(n_users)[key]
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return range(n_users)[key]
    key = np.asarray(key)
    if key.ndim != 1 or (key.dtype.kind not in "iub" and key.size):
        raise IndexError(
            "Users are selected by an integer, a slice, a list of integers or a mask, got "
            f"{key.dtype} of shape {key.shape}."
        )
    return np.arange(n_users)[key if key.size else key.astype(np.int64)]
