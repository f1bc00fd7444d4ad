"""What error messages call a column, and a place in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Label(NamedTuple):
    """The name of a column, and the words for each of its rows.

    Attributes
    ----------
    name : str
        Such as ``"column 'date'"``.
    place : callable
        From the number of a row to where that is, such as ``"log.csv, line 3"``.
    """

    name: str
    place: Callable[[int], str]

    def at(self, row: int) -> str:
        return f"{self.place(row)}: {self.name}"


def row_of_frame(row: int) -> str:
    return f"row {row}"
