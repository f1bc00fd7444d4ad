"""Checks of the columns of histories: lists, times, weights, offsets and codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from skue.kernels._segments import offsets_of
from skue.reading._columns import in_microseconds, of_one_kind, refuse_missing, times_of
from skue.reading._labels import Label, row_of_frame

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
        return list(chain.from_iterable(map(_listed, rows))), offsets
    return np.concatenate([row for row in arrays if row.size] or arrays[:1]), offsets


def _listed(row: np.ndarray) -> Any:
    return row if row.dtype.kind == "M" else row.tolist()


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


def as_times(values: Any, name: str = "timestamps") -> np.ndarray:
    """Return datetimes as datetime64[us] in UTC, and numbers as float64 seconds.

    The result may share memory with ``values``.

    Raises
    ------
    ValueError
        For times that are missing, infinite, text, or of several types.
    """
    label = Label(f"the {name.removesuffix('s')}", row_of_frame)
    times: Any = np.atleast_1d(np.asarray(values))
    if times.dtype.kind == "O" and times.size:
        refuse_missing(times, label)
        times = of_one_kind(times, label)
    if isinstance(times, list) or times.dtype.kind in "UT":
        raise ValueError(
            f"{name} must be datetimes or numbers of seconds, got text. Convert it first, for "
            "example with pandas.to_datetime."
        )
    if times.dtype.kind not in "iufM":
        return times_of(times, label)
    missing: Callable[[np.ndarray], np.ndarray] = np.isnat
    if times.dtype.kind in "iuf":
        times, missing = times.astype(np.float64, copy=False), _is_not_finite
    row = _first(missing, times)
    if row is not None:
        raise ValueError(
            f"{name} must not be missing or infinite, got {times[row]} at row {row}. "
            "Drop this event, or give it a time."
        )
    return in_microseconds(times, label) if times.dtype.kind == "M" else times


def refuse_other_kind(times: np.ndarray, expected: np.ndarray, name: str, others: str) -> None:
    """Raise for datetimes where numbers are expected, or the other way round."""
    if times.dtype != expected.dtype:
        kinds = {"M": "datetimes", "f": "numbers"}
        raise ValueError(
            f"{name} must be {kinds[expected.dtype.kind]}, as {others} are, got "
            f"{kinds[times.dtype.kind]}: {times[:5].tolist()}."
        )


def _first(marks: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> int | None:
    """Return the first marked position, or None."""
    for start in range(0, len(values), _STRETCH):
        marked = marks(values[start : start + _STRETCH])
        if marked.any():
            return start + int(np.flatnonzero(marked)[0])
    return None


def _is_not_finite(values: np.ndarray) -> np.ndarray:
    return ~np.isfinite(values)


def as_weights(
    values: Any, name: str = "weights", place: Callable[[int], str] = row_of_frame
) -> np.ndarray:
    """Return finite weights as float64. The result may share memory with ``values``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers.") from None
    row = _first(_is_not_finite, array)
    if row is not None:
        raise ValueError(
            f"{name} must be finite, got {array[row]} at {place(row)}. "
            "Drop this event, or give it a weight."
        )
    return array


def checked_offsets(offsets: Any) -> np.ndarray:
    offsets = np.asarray(offsets)
    if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu":
        raise ValueError(
            f"offsets must be n_users + 1 integers, got {offsets.dtype} of shape {offsets.shape}."
        )
    offsets = offsets.astype(np.int64)
    if offsets[0] != 0:
        raise ValueError(f"offsets must start at 0, got {offsets[0]}.")
    falls = np.flatnonzero(np.diff(offsets) < 0)
    if len(falls):
        at = int(falls[0])
        raise ValueError(
            f"offsets must not decrease, got {offsets[at]} then {offsets[at + 1]} at user {at}. "
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


def same_length(name: str, values: np.ndarray, other: str, others: np.ndarray) -> None:
    if values.ndim != 1 or len(values) != len(others):
        raise ValueError(
            f"{name} must have one value for each of {len(others)} {other}, got shape "
            f"{values.shape}."
        )


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
