"""Ids and the positions they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

_WAY_OUT = "Use one type for all ids: integers, or strings (str(id))."


def _position(at: int) -> str:
    return f"position {at}"


def as_ids(values: Any, name: str = "ids", place: Callable[[int], str] = _position) -> np.ndarray:
    """Return ids as one flat int64 or string array, refusing anything that would be guessed.

    Parameters
    ----------
    values : array-like of shape (n_ids,)
        Integers, whole floats or strings; not a mixture.
    name : str, default="ids"
        What the error messages call them.
    place : callable, optional
        From a position to the words for it in error messages.

    Returns
    -------
    ids : ndarray of shape (n_ids,), int64 or str

    Raises
    ------
    ValueError
        For mixed types, fractions, missing values, integers beyond 64 bits, other types, and
        anything that is not one-dimensional.
    """
    array = values if isinstance(values, np.ndarray) else _from_sequence(values, name, place)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}.")
    kind = array.dtype.kind
    if kind == "O" and len(array):
        return as_ids(array.tolist(), name, place)
    if kind == "T":
        return array.astype(str)
    if kind == "f":
        whole = np.isfinite(array) & (array == np.floor(array))
        if not whole.all():
            row = int(np.flatnonzero(~whole)[0])
            raise ValueError(
                f"{name} must be whole numbers or strings, got {array[row]} at {place(row)}. "
                "Drop missing ids, and turn other codes into strings."
            )
    elif kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} hold {array.max()}, beyond 64 bits with a sign. {_WAY_OUT}")
    elif kind not in "iuU" and len(array):
        raise ValueError(f"{name} must be integers or strings, got dtype {array.dtype}.")
    if kind == "U":
        return array
    return array.astype(np.int64, copy=False)


def _from_sequence(values: Iterable[Any], name: str, place: Callable[[int], str]) -> np.ndarray:
    values = values if isinstance(values, list) else list(values)
    types = set(map(type, values))
    has_text = any(issubclass(t, str) for t in types)
    if len(types) > 1 and (has_text and not all(issubclass(t, str) for t in types)):
        named = ", ".join(sorted(t.__name__ for t in types))
        row = next(i for i, v in enumerate(values) if type(v) is not type(values[0]))
        raise ValueError(
            f"{name} mix types ({named}): {values[0]!r} at {place(0)}, {values[row]!r} at "
            f"{place(row)}. {_WAY_OUT}"
        )
    numeric = (int, float, np.integer, np.floating)
    odd = next(
        (t for t in types if not issubclass(t, (str, *numeric)) or issubclass(t, bool)), None
    )
    if odd is not None:
        row = next(i for i, v in enumerate(values) if type(v) is odd)
        raise ValueError(
            f"{name} must be integers or strings, got {values[row]!r} at {place(row)}. {_WAY_OUT}"
        )
    if not values:
        return np.empty(0, dtype=np.int64)
    array = np.asarray(values)
    if array.dtype.kind == "O" or (array.dtype.kind == "f" and types == {int}):
        row = next(i for i, v in enumerate(values) if not -(2**63) <= v < 2**63)
        raise ValueError(f"{name} hold {values[row]} at {place(row)}, beyond 64 bits. {_WAY_OUT}")
    return array


def factorize(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and the sorted distinct ids: ``distinct[codes] == ids``."""
    # For a handful of ids a dict is quicker than any array.
    if ids.dtype.kind == "U" or len(ids) < 512:
        listed = ids.tolist()
        distinct = sorted(set(listed))
        position = dict(zip(distinct, range(len(distinct)), strict=True))
        codes = np.fromiter(map(position.__getitem__, listed), dtype=np.int32, count=len(listed))
        return codes, np.array(distinct, dtype=ids.dtype) if distinct else ids[:0]
    if len(ids) and ids.min() >= 0 and ids.max() < 4 * len(ids) + 1024:
        present = np.zeros(int(ids.max()) + 1, dtype=bool)
        present[ids] = True
        position_of = np.cumsum(present, dtype=np.int32) - np.int32(1)
        return position_of[ids], np.flatnonzero(present)
    distinct_ids, positions = np.unique(ids, return_inverse=True)
    return positions.astype(np.int32), distinct_ids


class Vocabulary:
    """Distinct ids, each at a fixed position; looked up many at a time.

    Parameters
    ----------
    ids : array-like of shape (n_ids,)
        Distinct integers or strings.
    name : str, default="ids"
        What the error messages call them.

    Attributes
    ----------
    ids : ndarray of shape (n_ids,), int64 or str
        Read-only.

    Raises
    ------
    ValueError
        For duplicate ids, naming the first few, and for what :func:`as_ids` refuses.

    Examples
    --------
    >>> from skue.histories._vocabulary import Vocabulary
    >>> Vocabulary(["tea", "cup"]).lookup(["cup", "pot"])
    array([ 1, -1], dtype=int32)
    """

    def __init__(self, ids: Any, name: str = "ids") -> None:
        ids = as_ids(ids, name)
        distinct, first = np.unique(ids, return_index=True)
        if len(distinct) < len(ids):
            repeated = np.setdiff1d(np.arange(len(ids)), first)[:5]
            shown = ", ".join(f"{ids[row]!s} (row {row})" for row in repeated)
            raise ValueError(
                f"{name} must be distinct, but these appear again: {shown}. Keep one row an id."
            )
        self._set(ids)

    @classmethod
    def _trusted(cls, ids: np.ndarray) -> Vocabulary:
        """Wrap ids that are distinct already."""
        vocabulary = cls.__new__(cls)
        vocabulary._set(ids)
        return vocabulary

    def _set(self, ids: np.ndarray) -> None:
        self.ids = ids.view()
        self.ids.flags.writeable = False
        self._index: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {"ids": self.ids}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state["ids"])

    def lookup(self, values: Any) -> np.ndarray:
        """Return the position of each value, -1 where it is unknown.

        Parameters
        ----------
        values : array-like of shape (n_values,)
            Integers or strings. Ids of the other type are unknown.

        Returns
        -------
        positions : ndarray of shape (n_values,), int32
        """
        values = as_ids(values, "the ids looked up")
        if not len(self.ids) or not len(values) or self._is_text != (values.dtype.kind == "U"):
            return np.full(len(values), -1, dtype=np.int32)
        if self._index is None:
            self._index = self._build_index()
        if self._is_text:
            get = self._index.get
            listed = values.tolist()
            return np.fromiter((get(v, -1) for v in listed), dtype=np.int32, count=len(listed))
        return self._lookup_integers(values)

    def _known_positions(self, values: Any) -> np.ndarray | None:
        """Return the positions of listed strings; None where one is unknown, or not a string."""
        if not self._is_text or not isinstance(values, list) or not values:
            return None
        if self._index is None:
            self._index = self._build_index()
        try:
            return np.array([self._index[value] for value in values], dtype=np.int32)
        except (KeyError, TypeError):
            return None

    @property
    def _is_text(self) -> bool:
        return self.ids.dtype.kind == "U"

    def _build_index(self) -> Any:
        if self._is_text:
            return dict(zip(self.ids.tolist(), range(len(self.ids)), strict=True))
        order = np.argsort(self.ids, kind="stable")
        if np.array_equal(self.ids, np.arange(len(self.ids))):
            return None, order
        return self.ids[order], order.astype(np.int32)

    def _lookup_integers(self, values: np.ndarray) -> np.ndarray:
        ordered, order = self._index
        if ordered is None:
            known = (values >= 0) & (values < len(self.ids))
            return np.where(known, values, -1).astype(np.int32)
        at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
        return np.where(ordered[at] == values, order[at], np.int32(-1))
