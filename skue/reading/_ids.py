"""Ids of users and items: whole numbers or text, exactly as they were given."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

_ONE_TYPE = "Use one type for all ids: integers, or strings (str(id))."


def shown(value: Any) -> str:
    """Return a value for error messages: text is quoted, and long values are shortened."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def _position(at: int) -> str:
    return f"position {at}"


def unmasked(values: Any) -> Any:
    """Return a masked array of ids with padding in place of what is masked."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    return values.filled("" if values.dtype.kind in "OTU" else -1)


def as_ids(values: Any, name: str = "ids", place: Callable[[int], str] = _position) -> np.ndarray:
    """Return ids as a flat array of int64 or of str objects.

    Ids are never changed or merged. Text is stored as Python strings, because an array of fixed
    width would need the memory of the longest id for each of them.

    Parameters
    ----------
    values : array-like of shape (n_ids,)
        Integers, whole floats below 2**53 (float32: 2**24), or strings.
    name : str, default="ids"
        Their name in error messages.
    place : callable, optional
        Describes a position in error messages.

    Returns
    -------
    ids : ndarray of shape (n_ids,), int64 or object (str)

    Raises
    ------
    ValueError
        For mixed types, fractions, missing values, integers beyond 64 bits, floats too large to
        be exact, other types, and arrays that are not one-dimensional.
    """
    if not isinstance(values, np.ndarray):
        return _from_objects(values if isinstance(values, list) else list(values), name, place)
    values = unmasked(values)
    if values.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {values.shape}.")
    kind = values.dtype.kind
    if kind in "OTU":
        return _from_objects(values.tolist(), name, place)
    if not len(values):
        return np.empty(0, dtype=np.int64)
    if kind == "f":
        return _from_floats(values, name, place)
    if kind == "u" and values.max() > np.iinfo(np.int64).max:
        row = int(values.argmax())
        raise ValueError(
            f"{name} hold {values[row]} at {place(row)}, beyond 64 bits. Pass such ids as strings."
        )
    if kind not in "iu":
        raise ValueError(f"{name} must be integers or strings, got dtype {values.dtype}.")
    return values.astype(np.int64, copy=False)


def is_text(ids: np.ndarray) -> bool:
    """Tell whether ids from :func:`as_ids` are strings."""
    return ids.dtype.kind == "O"


def refuse_as_items(
    ids: np.ndarray, name: str = "item ids", place: Callable[[int], str] = _position
) -> None:
    """Raise for ids that items cannot have: negative numbers and empty text.

    Negative numbers are the padding of 2-D arrays, and both stand for missing recommendations.
    """
    refused = np.flatnonzero(ids == "" if is_text(ids) else ids < 0)
    if len(refused):
        at = int(refused[0])
        raise ValueError(
            f"{name} must not be negative or empty, got {shown(ids[at])} at {place(at)}. Drop the "
            "event if it has no item; otherwise use other ids, such as strings. Only 2-D arrays "
            "are padded with negative numbers."
        )


def factorize(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and the sorted distinct ids: ``distinct[codes] == ids``."""
    # For few ids a dict is faster than arrays.
    if is_text(ids) or len(ids) < 512:
        listed = ids.tolist()
        distinct = sorted(set(listed))
        position = dict(zip(distinct, range(len(distinct)), strict=True))
        codes = np.fromiter(map(position.__getitem__, listed), dtype=np.int32, count=len(listed))
        return codes, np.array(distinct, dtype=ids.dtype) if distinct else ids[:0]
    if ids.min() >= 0 and ids.max() < 4 * len(ids) + 1024:
        present = np.zeros(int(ids.max()) + 1, dtype=bool)
        present[ids] = True
        position_of = np.cumsum(present, dtype=np.int32) - np.int32(1)
        return position_of[ids], np.flatnonzero(present)
    distinct_ids, positions = np.unique(ids, return_inverse=True)
    return positions.astype(np.int32), distinct_ids


def pack_text(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate text as UTF-8, and return it with the offset of each string.

    Returns
    -------
    utf8 : ndarray of shape (n_bytes,), uint8
    offsets : ndarray of shape (n_ids + 1,), int64
    """
    encoded = [text.encode("utf-8", "surrogatepass") for text in ids.tolist()]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), out=offsets[1:])
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


def unpack_text(utf8: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the strings from :func:`pack_text`.

    Raises
    ------
    ValueError
        For offsets that do not fit the bytes, and for bytes that are not UTF-8.
    """
    ends, data = offsets.tolist(), utf8.tobytes()
    if ends[:1] != [0] or ends[-1] != len(data) or ends != sorted(ends):
        raise ValueError("the offsets of the text do not fit its bytes")
    texts = (data[start:stop].decode("utf-8", "surrogatepass") for start, stop in pairwise(ends))
    return np.fromiter(texts, dtype=object, count=len(ends) - 1)


def _from_objects(values: list[Any], name: str, place: Callable[[int], str]) -> np.ndarray:
    if not values:
        return np.empty(0, dtype=np.int64)
    types = set(map(type, values))
    if types == {str}:
        return np.fromiter(values, dtype=object, count=len(values))
    if types == {int}:
        return _from_integers(values, name, place)
    _refuse_types(values, types, name, place)
    if issubclass(next(iter(types)), str):
        return np.fromiter(map(str.__str__, values), dtype=object, count=len(values))
    rows = [row for row, value in enumerate(values) if isinstance(value, (float, np.floating))]
    if rows:
        floats = np.array([values[row] for row in rows])
        _from_floats(floats, name, lambda at: place(rows[at]))
    return _from_integers(list(map(int, values)), name, place)


def _refuse_types(
    values: list[Any], types: set[type], name: str, place: Callable[[int], str]
) -> None:
    """Raise for values that are neither text nor numbers, and for text among numbers."""
    allowed = (str, int, float, np.integer, np.floating)
    odd = {t for t in types if not issubclass(t, allowed) or issubclass(t, bool)}
    if odd:
        at = next(at for at, value in enumerate(values) if type(value) in odd)
        raise ValueError(
            f"{name} must be integers or strings, got {shown(values[at])} at {place(at)}. "
            f"{_ONE_TYPE}"
        )
    is_string = [isinstance(value, str) for value in values] if len(types) > 1 else [True]
    if len(set(is_string)) > 1:
        at = is_string.index(not is_string[0])
        named = ", ".join(sorted(t.__name__ for t in types))
        raise ValueError(
            f"{name} mix types ({named}): {shown(values[0])} at {place(0)}, "
            f"{shown(values[at])} at {place(at)}. {_ONE_TYPE}"
        )


def _from_integers(values: list[int], name: str, place: Callable[[int], str]) -> np.ndarray:
    try:
        return np.fromiter(values, dtype=np.int64, count=len(values))
    except OverflowError:
        at = next(at for at, value in enumerate(values) if not -(2**63) <= value < 2**63)
        raise ValueError(
            f"{name} hold {values[at]} at {place(at)}, beyond 64 bits. Pass such ids as strings."
        ) from None


def _from_floats(values: np.ndarray, name: str, place: Callable[[int], str]) -> np.ndarray:
    whole = np.isfinite(values) & (values == np.floor(values))
    if not whole.all():
        at = int(np.flatnonzero(~whole)[0])
        raise ValueError(
            f"{name} must be whole numbers or strings, got {values[at]} at {place(at)}. "
            "Drop missing ids, and convert other codes to strings."
        )
    # From here on, different integers may be equal as floats of this type.
    n_bits = min(np.finfo(values.dtype).nmant, 52) + 1
    large = np.abs(values) >= 2.0**n_bits
    if large.any():
        at = int(np.flatnonzero(large)[0])
        raise ValueError(
            f"{name} hold the float {values[at]} at {place(at)}. From 2**{n_bits} on, different "
            f"integers may become the same {values.dtype}. Pass these ids as integers or strings."
        )
    return values.astype(np.int64)
