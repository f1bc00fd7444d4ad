"""Columns of ids in delimited text, read as integers or as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue._estimator import import_optional
from skue.reading._columns import distinct_of_arrow
from skue.reading._ids import factorize

_POWERS_OF_TEN = 10 ** np.arange(1, 19, dtype=np.int64)


class WrittenIds:
    """A column of ids that is read block by block.

    The ids become integers if each is written as Python writes that integer: ``7``, but not
    ``007``, ``+7`` or ``7.0``. Otherwise all of them stay text, unchanged.
    """

    def __init__(self) -> None:
        self._arrow = import_optional("pyarrow", "io")
        self._compute = import_optional("pyarrow.compute", "io")
        self._numbers: list[np.ndarray] = []
        self._texts: list[Any] = []
        self._are_numbers = True

    @property
    def type(self) -> Any:
        """The pyarrow type in which to read the next block."""
        text = self._arrow.string()
        return text if self._are_numbers else self._arrow.dictionary(self._arrow.int32(), text)

    def add(self, column: Any) -> None:
        """Add the ids of a block that was read in the current ``type``."""
        if self._are_numbers:
            numbers = self._as_written(column)
            if numbers is not None:
                self._numbers.append(numbers)
                return
            self._are_numbers = False
            column = column.dictionary_encode()
        self._texts.extend(column.chunks)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and sorted distinct ids."""
        if self._are_numbers:
            numbers = np.concatenate([np.empty(0, dtype=np.int64), *self._numbers])
            self._numbers.clear()
            return factorize(numbers)
        text = self._arrow.string()
        as_text = [
            self._arrow.array(numbers).cast(text).dictionary_encode() for numbers in self._numbers
        ]
        return distinct_of_arrow(self._arrow.chunked_array([*as_text, *self._texts]))

    def _as_written(self, column: Any) -> np.ndarray | None:
        """Return the ids as integers, or None if some id is not written like its integer."""
        try:
            numbers = self._compute.cast(column, self._arrow.int64()).to_numpy()
        except self._arrow.ArrowInvalid:
            return None
        # Any other way of writing an integer is longer: zeros, a plus sign, blanks.
        lengths = self._compute.binary_length(column).to_numpy()
        return numbers if (lengths == _lengths_of_integers(numbers)).all() else None


def _lengths_of_integers(numbers: np.ndarray) -> np.ndarray:
    is_negative = numbers < 0
    n_digits = np.searchsorted(_POWERS_OF_TEN, np.abs(numbers), side="right") + 1
    return n_digits + is_negative
