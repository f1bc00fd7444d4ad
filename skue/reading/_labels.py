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
        From the number of a row to where that is, such as ``"line 3"``.
    source : str, default=""
        The file, where there is one.
    """

    name: str
    place: Callable[[int], str]
    source: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.source}: {self.name}" if self.source else self.name

    def at(self, row: int) -> str:
        place = f"{self.source}, {self.place(row)}" if self.source else self.place(row)
        return f"{place}: {self.name}"


def row_of_frame(row: int) -> str:
    return f"row {row}"
