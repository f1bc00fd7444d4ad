"""Checks of the columns of histories: items, offsets, times, weights and user features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.kernels._arrays import frozen, kept_offsets, offsets_of
from skue.reading._ids import as_ids, is_text, refuse_as_items
from skue.reading._numbers import numbers_of
from skue.reading._times import times_of
from skue.reading._values import Label, row_of_frame

# Events checked at once, which bounds the memory of the checks.
_STRETCH = 2**22


def flatten(lists: Any, name: str) -> tuple[Any, np.ndarray]:
    """Concatenate sequences to a flat list or array, and return it with the offsets."""
    rows = lists.tolist() if isinstance(lists, np.ndarray) else list(lists)
    for index, row in enumerate(rows):
        if isinstance(row, str) or not isinstance(row, (Sequence, np.ndarray)):
            raise ValueError(
                f"{name} must be one sequence per user, got {row!r} at row {index}. "
                "Wrap a single user as [[...]], and write a user without events as []."
            )
    offsets = offsets_of(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)))
    arrays = [row for row in rows if isinstance(row, np.ndarray)]
    if not rows or len(arrays) < len(rows):
        return list(chain.from_iterable(rows)), offsets
    # Joining arrays of different types, or of fixed-width text, would change the values.
    types = {row.dtype for row in arrays if row.size}
    joinable = len(types) <= 1 and all(kind.kind in "biufM" for kind in types)
    if not joinable or any(row.ndim != 1 for row in arrays):
        listed = (row if row.dtype.kind == "M" else row.tolist() for row in arrays)
        return list(chain.from_iterable(listed)), offsets
    return np.concatenate([row for row in arrays if row.size] or arrays[:1]), offsets


def flatten_like(lists: Any, offsets: np.ndarray, name: str) -> Any:
    """Concatenate sequences that must have the lengths of the histories."""
    flat, own = flatten(lists, name)
    if len(own) != len(offsets):
        raise ValueError(
            f"{name} have {len(own) - 1} users, but histories have {len(offsets) - 1}."
        )
    if not np.array_equal(own, offsets):
        row = int(np.flatnonzero(np.diff(own) != np.diff(offsets))[0])
        raise ValueError(
            f"{name} and histories must have the same lengths, got {np.diff(own)[row]} {name} "
            f"for {np.diff(offsets)[row]} items at row {row}. Give one per item."
        )
    return flat


def place_in_lists(offsets: np.ndarray) -> Callable[[int], str]:
    """Return a function that describes a position of flattened lists by row and event."""

    def place(at: int) -> str:
        row = int(np.searchsorted(offsets, at, side="right")) - 1
        return f"row {row}, event {at - offsets[row]}"

    return place


def item_ids_of(flat: Any, offsets: np.ndarray) -> np.ndarray:
    """Return flattened lists of item ids as an array of ids."""
    place = place_in_lists(offsets)
    ids = as_ids(flat, "item ids", place)
    refuse_as_items(ids, "item ids", place)
    return ids


def ids_of_table(table: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of a 2-D array with one row per user, and the offsets, without padding.

    Negative integers and empty text are padding, in every 2-D array of ids.
    """
    n_users, width = table.shape
    ids = as_ids(table.ravel(), name, lambda at: f"row {at // width}, column {at % width}")
    kept = ids != "" if is_text(ids) else ids >= 0
    return ids[kept], kept_offsets(np.arange(n_users + 1, dtype=np.int64) * width, kept)


def without_padding(table: np.ndarray, *columns: Any) -> list[Any]:
    """Return a 2-D array of ids, and other columns of its shape, as lists without the padding."""
    is_item = table != "" if table.dtype.kind in "OUT" else table >= 0
    return [
        [row[kept] for row, kept in zip(np.asarray(column), is_item, strict=True)]
        if np.shape(column) == table.shape
        else column
        for column in (table, *columns)
    ]


def as_times(values: Any, name: str = "timestamps") -> np.ndarray:
    """Return datetimes as datetime64[us] in UTC, and numbers as float64 seconds.

    The result may share memory with ``values``.

    Raises
    ------
    ValueError
        For times that are missing or infinite, or of several types.
    """
    label = Label(f"the {name.removesuffix('s')}", row_of_frame)
    times = np.atleast_1d(np.asarray(values))
    if times.dtype.kind not in "iufM":
        return times_of(times, label)
    times = times.astype("datetime64[us]" if times.dtype.kind == "M" else np.float64, copy=False)
    _refuse_not_finite(times, name, row_of_frame)
    return times


def moments_of(values: Any, times: np.ndarray, name: str, others: str) -> np.ndarray:
    """Return points in time that a caller names, of the same kind as the times of a log."""
    try:
        moments = as_times(values, name)
    except ValueError as error:
        raise ValueError(
            f"{name} must be a time, as {others} are: a date such as '2026-01-31', or a number of "
            f"seconds. Got {values!r}."
        ) from error
    refuse_other_kind(moments, times, name, others)
    return moments


def refuse_other_kind(times: np.ndarray, expected: np.ndarray, name: str, others: str) -> None:
    """Raise for datetimes where numbers are expected, or the other way round."""
    if times.dtype != expected.dtype:
        kinds = {"M": "datetimes", "f": "numbers"}
        raise ValueError(
            f"{name} must be {kinds[expected.dtype.kind]}, as {others} are, got "
            f"{kinds[times.dtype.kind]}: {times[:5].tolist()}."
        )


def as_weights(
    values: Any, name: str = "weights", place: Callable[[int], str] = row_of_frame
) -> np.ndarray:
    """Return finite weights as float64. The result may share memory with ``values``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers.") from None
    _refuse_not_finite(array, name, place)
    return array


def _refuse_not_finite(values: np.ndarray, name: str, place: Callable[[int], str]) -> None:
    """Raise for NaN, NaT and infinity, naming the first."""
    for start in range(0, len(values), _STRETCH):
        finite = np.isfinite(values[start : start + _STRETCH])
        if not finite.all():
            at = start + int(finite.argmin())
            raise ValueError(
                f"{name} must be finite, got {values[at]} at {place(at)}. Drop this event, or "
                "correct it."
            )


def checked_offsets(offsets: Any) -> np.ndarray:
    offsets = np.asarray(offsets)
    if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu":
        raise ValueError(
            f"offsets must be n_users + 1 integers, got {offsets.dtype} of shape {offsets.shape}."
        )
    offsets = offsets.astype(np.int64)
    wrong = np.flatnonzero(np.append(offsets[0] != 0, np.diff(offsets) < 0))
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f"offsets must start at 0 and not decrease, got {offsets[at]} at position {at}. "
            "Histories.from_lists and from_frame compute them."
        )
    return offsets


def checked_codes(codes: Any, n_items: int) -> np.ndarray:
    codes = np.asarray(codes)
    if codes.ndim != 1 or (codes.dtype.kind not in "iu" and codes.size):
        raise ValueError(f"codes must be flat integers, got {codes.dtype}, shape {codes.shape}.")
    if len(codes) and (codes.min() < 0 or codes.max() >= n_items):
        row = int(np.flatnonzero((codes < 0) | (codes >= n_items))[0])
        raise ValueError(
            f"codes must be positions in item_ids (0 to {n_items - 1}), got {codes[row]} at "
            f"event {row}."
        )
    return codes.astype(np.int32, copy=False)


def same_length(name: str, values: np.ndarray, others: str, n_others: int) -> None:
    if values.ndim != 1 or len(values) != n_others:
        raise ValueError(
            f"{name} must have one value for each of {n_others} {others}, got shape {values.shape}."
        )


def checked_user_ids(user_ids: Any, users: str, n_users: int) -> np.ndarray:
    user_ids = frozen(as_ids(user_ids, "user_ids"))
    same_length("user_ids", user_ids, users, n_users)
    return user_ids


def first_decrease(timestamps: np.ndarray, offsets: np.ndarray) -> int | None:
    """Return the first event that is earlier than the one before it of the same user."""
    for start in range(1, len(timestamps), _STRETCH):
        stop = min(start + _STRETCH, len(timestamps))
        falls = np.flatnonzero(timestamps[start:stop] < timestamps[start - 1 : stop - 1]) + start
        inside = falls[~np.isin(falls, offsets)] if len(falls) else falls
        if len(inside):
            return int(inside[0])
    return None


def refuse_decreasing(timestamps: np.ndarray, offsets: np.ndarray) -> None:
    event = first_decrease(timestamps, offsets)
    if event is not None:
        user = int(np.searchsorted(offsets, event, side="right")) - 1
        raise ValueError(
            f"timestamps must not decrease within a user, got {timestamps[event - 1]} then "
            f"{timestamps[event]} at user {user}. Histories.from_lists sorts them."
        )


def checked_user_features(values: Any, n_users: int) -> np.ndarray:
    """Return the features as float32 rows, or raise."""
    values = numbers_of(values, "user_features")
    if sp.issparse(values):
        values = values.toarray()
    with np.errstate(over="ignore"):
        rows = np.array(values, dtype=np.float32)
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


def joined(columns: Sequence[np.ndarray | None], lengths: Sequence[int], name: str) -> Any:
    """Return the column of several batches, one batch after another; None if no batch has it.

    Raises
    ------
    ValueError
        If a batch with events lacks a column that another one has.
    """
    filled = [at for at, length in enumerate(lengths) if length]
    have = [at for at in filled if columns[at] is not None]
    if not have:  # without events, one batch is as good as another
        given = [column for column in columns if column is not None]
        return given[0] if given and not filled else None
    lacking = sorted(set(filled) - set(have))
    if lacking:
        raise ValueError(
            f"The batch at position {lacking[0]} has no {name}, but the one at position {have[0]} "
            f"has. Give all of them {name}, or none."
        )
    found = [column for at in have if (column := columns[at]) is not None]
    for at, column in zip(have[1:], found[1:], strict=True):
        refuse_other_kind(column, found[0], f"{name} of the batch at position {at}", "those before")
    return np.concatenate(found)


def joined_features(
    features: Sequence[np.ndarray | None], rows: Sequence[np.ndarray], n_users: int
) -> np.ndarray | None:
    """Return the features of the users of several batches: the last ones that are known."""
    widths = sorted({part.shape[1] for part in features if part is not None})
    if not widths:
        return None
    if len(widths) > 1:
        raise ValueError(
            f"user_features must have the same columns in all batches, got {widths} columns."
        )
    together = np.full((n_users, widths[0]), np.nan, dtype=np.float32)
    for part, of_users in zip(features, rows, strict=True):
        if part is not None:
            known = ~np.isnan(part).any(axis=1)
            together[of_users[known]] = part[known]
    return together


def positions_in(key: Any, n_users: int) -> int | slice | np.ndarray:
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
