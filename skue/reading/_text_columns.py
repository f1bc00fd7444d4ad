"""A column of text as UTF-8 bytes, whose rows numpy compares all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

# Rows encoded at once.
_STRETCH = 2**17
# Dates and numbers are at most this many bytes long.
LONGEST = 64
# In a shape, every digit is a 9 and letters are in lower case.
_SEEN = np.arange(256, dtype=np.uint8)
_SEEN[ord("0") : ord("9")] = ord("9")
_SEEN[ord("A") : ord("Z") + 1] += 32
_SEEN_TABLE = _SEEN.tobytes()
# The shape of longer text.
_TOO_LONG = "?"


def shape_of(text: bytes) -> str:
    """Return the text in lower case, with a 9 for every digit."""
    if len(text) > LONGEST:
        return _TOO_LONG
    return text.translate(_SEEN_TABLE).decode("ascii", "replace")


class Chunk:
    """Rows of a column of text: ``data[offsets[i]:offsets[i + 1]]`` is row ``first + i``."""

    def __init__(self, first: int, data: np.ndarray, offsets: np.ndarray) -> None:
        self.first, self.data, self.offsets = first, data, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def shapes(self) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        """Yield, for each shape, its rows in the chunk, their letters and the shape."""
        lengths = np.minimum(np.diff(self.offsets), LONGEST + 1)
        for length in np.flatnonzero(np.bincount(lengths)).tolist():
            rows = np.flatnonzero(lengths == length)
            if length > LONGEST:
                yield rows, np.empty((0, 0), dtype=np.uint8), _TOO_LONG
                continue
            letters = self._letters(rows, length)
            while len(rows):
                seen = _SEEN[letters[0]]
                same = _SEEN.take(letters) == seen
                shape = seen.tobytes().decode("ascii", "replace")
                if same.all():
                    yield rows, letters, shape
                    break
                alike = same.all(axis=1)
                yield rows[alike], letters[alike], shape
                rows, letters = rows[~alike], letters[~alike]

    def _letters(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Return the letters of rows of equal length, shape (n_rows, length)."""
        if len(rows) == len(self):
            start, stop = self.offsets[0], self.offsets[-1]
            return self.data[start:stop].reshape(len(rows), length)
        return self.data[self.offsets[rows][:, None] + np.arange(length)]


class TextColumn:
    """A column of text.

    Parameters
    ----------
    get_chunks : callable
        Returns an iterator over the chunks, in row order.
    get : callable
        Returns the text of a row.
    n_rows : int
    """

    def __init__(
        self, get_chunks: Callable[[], Iterator[Chunk]], get: Callable[[int], str], n_rows: int
    ) -> None:
        self.chunks, self.get, self._n_rows = get_chunks, get, n_rows

    def __len__(self) -> int:
        return self._n_rows

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Yield each row and its text. This is slow."""
        for chunk in self.chunks():
            data, bounds = chunk.data.tobytes(), chunk.offsets.tolist()
            for at, (start, stop) in enumerate(pairwise(bounds)):
                yield chunk.first + at, data[start:stop]

    @classmethod
    def of_strings(cls, values: Sequence[str]) -> TextColumn:
        """Wrap Python strings."""

        def chunks() -> Iterator[Chunk]:
            for first in range(0, len(values), _STRETCH):
                encoded = [
                    text.encode("utf-8", "surrogatepass")
                    for text in values[first : first + _STRETCH]
                ]
                offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
                np.cumsum([len(text) for text in encoded], out=offsets[1:])
                yield Chunk(first, np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

        return cls(chunks, lambda row: values[row], len(values))

    @classmethod
    def of_arrow(cls, column: Any) -> TextColumn:
        """Wrap a pyarrow column of type string without nulls."""

        def chunks() -> Iterator[Chunk]:
            first = 0
            for chunk in column.chunks:
                for start in range(0, len(chunk), _STRETCH):
                    part = chunk[start : start + _STRETCH]
                    yield _chunk_of_arrow(first + start, part)
                first += len(chunk)

        return cls(chunks, lambda row: column[row].as_py(), len(column))


def _chunk_of_arrow(first: int, array: Any) -> Chunk:
    _, offsets, data = array.buffers()
    width = np.int64 if str(array.type) == "large_string" else np.int32
    bounds = np.frombuffer(offsets, dtype=width)[array.offset : array.offset + len(array) + 1]
    letters = np.empty(0, np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    return Chunk(first, letters, bounds)
