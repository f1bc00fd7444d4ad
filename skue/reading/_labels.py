"""How error messages name a column, a row of it, and the value there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from skue.reading._ids import shown

DROP = "Drop or fill such rows first."


class Label(NamedTuple):
    """A column in error messages.

    Attributes
    ----------
    name : str
        For example ``"column 'date'"``.
    place : callable
        Describes a row by its number, for example as ``"line 3"``.
    source : str, default=""
        The file, if there is one.
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

    def holds(self, row: int, value: Any) -> str:
        """Return the start of an error message, such as "line 3: column 'date' holds 'soon'"."""
        return f"{self.at(row)} holds {shown(value)}"

    def empty(self, row: int, n_rows: int) -> ValueError:
        """Return the error for missing values: the first row, and how many there are."""
        rows = "1 such row" if n_rows == 1 else f"{n_rows} such rows"
        return ValueError(f"{self.at(row)} is empty ({rows}). {DROP}")

    def not_utf8(self, row: int, value: bytes) -> ValueError:
        return ValueError(
            f"{self.holds(row, value)}, bytes that are not UTF-8. Decode them to text first."
        )


def row_of_frame(row: int) -> str:
    return f"row {row}"
