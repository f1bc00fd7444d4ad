"""Distinct ids and their positions: where an id is looked up."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from skue.kernels._arrays import frozen, read_only
from skue.reading._ids import as_ids, is_text, shown


class Vocabulary:
    """Distinct ids at fixed positions, with look-up of many ids at once.

    Parameters
    ----------
    ids : array-like of shape (n_ids,)
        Distinct integers or strings.
    name : str, default="ids"
        Their name in error messages.

    Attributes
    ----------
    ids : ndarray of shape (n_ids,), int64 or object (str)
        Read-only.

    Raises
    ------
    ValueError
        For duplicate ids, naming the first few, and for ids that :func:`as_ids` rejects.

    Examples
    --------
    >>> from skue.histories._vocabulary import Vocabulary
    >>> Vocabulary(["tea", "cup"]).lookup(["cup", "pot"])
    array([ 1, -1], dtype=int32)
    """

    def __init__(self, ids: Any, name: str = "ids") -> None:
        ids = frozen(as_ids(ids, name))
        repeated = _repeated(ids)
        if len(repeated):
            named = ", ".join(f"{shown(ids[row])} (row {row})" for row in repeated[:5])
            raise ValueError(
                f"{name} must be distinct, but these appear again: {named}. Keep one row per id."
            )
        self._set(ids)

    @classmethod
    def _trusted(cls, ids: np.ndarray) -> Vocabulary:
        """Wrap ids that are known to be distinct."""
        vocabulary = cls.__new__(cls)
        vocabulary._set(ids)
        return vocabulary

    def _set(self, ids: np.ndarray) -> None:
        self.ids = read_only(ids)
        self._index: Any = None
        self._maps: Any = weakref.WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {"ids": self.ids}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state["ids"])

    def lookup(self, values: Any) -> np.ndarray:
        """Return the position of each value, or -1 if it is unknown.

        Parameters
        ----------
        values : array-like of shape (n_values,)
            Integers or strings. Ids of the other type are unknown.

        Returns
        -------
        positions : ndarray of shape (n_values,), int32
        """
        values = as_ids(values, "the ids looked up")
        if not len(self.ids) or not len(values) or self._is_text != is_text(values):
            return np.full(len(values), -1, dtype=np.int32)
        if self._index is None:
            self._index = self._build_index()
        if self._is_text:
            get = self._index.get
            listed = values.tolist()
            return np.fromiter((get(v, -1) for v in listed), dtype=np.int32, count=len(listed))
        return self._lookup_integers(values)

    def map_of(self, other: Vocabulary) -> tuple[np.ndarray | None, bool]:
        """Return the position here of each id of another vocabulary, and whether all are known.

        Positions of None mean that id ``i`` has position ``i``. The result is kept, so all slices
        of a batch of histories share one look-up.
        """
        if other is self:
            return None, True
        found = self._maps.get(other)
        if found is None:
            positions = self.lookup(other.ids)
            n_ids = len(positions)
            # Compare the last one first: it is cheap, and most other maps differ there.
            same = n_ids and positions[-1] == n_ids - 1
            same = same and np.array_equal(positions, np.arange(n_ids))
            known = not n_ids or bool(positions.min() >= 0)
            found = self._maps[other] = (None if same else positions), known
        return found

    def _known_positions(self, values: Any) -> np.ndarray | None:
        """Return the positions of a list of strings, or None if a value is unknown."""
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
        return is_text(self.ids)

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


def check_same_type(ids: np.ndarray, others: np.ndarray, name: str, whose: str) -> None:
    """Raise if some ids are text and the others integers."""
    if len(ids) and len(others) and is_text(ids) != is_text(others):
        raise ValueError(
            f"{name} must be of one type, got {shown(ids[0])}, but {whose} {shown(others[0])}. "
            "Convert all ids to integers or all to strings."
        )


def union_of(vocabularies: Sequence[Vocabulary], name: str) -> Vocabulary:
    """Return all ids in the order in which they first appear, of one type."""
    first = vocabularies[0]
    for vocabulary in vocabularies[1:]:
        check_same_type(vocabulary.ids, first.ids, name, "those before are such as")
        first = first if len(first) else vocabulary
    if all(first.map_of(vocabulary)[1] for vocabulary in vocabularies):
        return first
    ids = np.concatenate([vocabulary.ids for vocabulary in vocabularies if len(vocabulary)])
    if is_text(ids):
        distinct = dict.fromkeys(ids.tolist())
        return Vocabulary._trusted(np.fromiter(distinct, dtype=object, count=len(distinct)))
    _, places = np.unique(ids, return_index=True)
    return Vocabulary._trusted(ids[np.sort(places)])


def _repeated(ids: np.ndarray) -> np.ndarray:
    """Return the positions of ids that also occur earlier."""
    if is_text(ids) and len(set(ids.tolist())) == len(ids):  # faster than a sort
        return np.empty(0, dtype=np.int64)
    _, first = np.unique(ids, return_index=True)
    return np.setdiff1d(np.arange(len(ids)), first)
