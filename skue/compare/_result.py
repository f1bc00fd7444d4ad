"""What the two questions of the command share: rows of figures, told as text, JSON and HTML."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from typing import Any

GENERATED = "generated data"
"""What stands in for the name of a log if none is named."""
# So that later rows fit below the earlier ones.
_LEAST_WIDTHS = {"fit s": 9, "µs/user": 9, "AUC": 7, "R²": 7}


class Result(ABC):
    """Everything that the command prints or writes.

    Attributes
    ----------
    about : dict
        The log, its size and period, the command, the date and the versions.
    columns : str
        Which columns of the log were read as what.
    names : list of str
        Names of all contenders.
    rows : list
        The figures of the contenders that are done, in the same order.
    stopped : BaseException or None
        The interrupt or error that ended it before the last row.
    """

    about: dict[str, Any]
    columns: str
    names: list[str]
    rows: list[Any]
    stopped: BaseException | None = None

    @property
    @abstractmethod
    def files(self) -> dict[str, Any]:
        """The fitted encoders by the name of the file that the report saves them in."""

    @abstractmethod
    def cells(self) -> dict[str, list[str]]:
        """Return the table by column."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return the notes that explain the table."""

    @abstractmethod
    def recommendation(self) -> str:
        """Return what follows from the figures of the contenders that are done."""

    def plain_words(self) -> str:
        """Return what the recommendation means for people, and what it costs."""
        return ""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return the figures for JSON."""

    @property
    def missing(self) -> list[str]:
        """Names of the contenders that are not done."""
        done = {row.name for row in self.rows}
        return [name for name in self.names if name not in done]

    def table(self) -> str:
        """Return the table of all contenders in columns of fixed width."""
        return in_columns(self.cells(), {"": max(map(len, self.names)), **_LEAST_WIDTHS})

    def verdict(self) -> str:
        """Return the recommendation, after the names of the contenders that are missing."""
        told = self.recommendation()
        if self.missing:
            are = "is" if len(self.missing) == 1 else "are"
            names = listed([repr(name) for name in self.missing])
            told = f"Stopped before {names}, which {are} missing. Of the others: {told}"
        return told

    def as_json(self) -> str:
        """Return the figures, the notes and the recommendation as one JSON object. NaN is null."""
        told = {"missing": self.missing, "notes": self.notes()}
        return json.dumps(_plain({"about": self.about, **self.content(), **told}), indent=2)


def in_columns(columns: dict[str, list[str]], least: dict[str, int]) -> str:
    """Return cells in columns of fixed width. A column of dashes is left out.

    Some columns have at least a given width, so that later rows fit below the earlier ones.
    """
    lines = [[header, *cells] for header, cells in columns.items() if set(cells) != {"-"}]
    widths = [max(least.get(column[0], 0), *map(len, column)) for column in lines]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in zip(*lines, strict=True)
    )


def interval(values: tuple[float, float, float] | None) -> str:
    """Return a difference with its interval, or a dash."""
    if values is None:
        return "-"
    difference, low, high = values
    if math.isnan(low):
        return f"{difference:+.3f}"
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def figure(value: float, form: str = ".3f") -> str:
    """Return a number, or a dash for NaN."""
    return "-" if math.isnan(value) else format(value, form)


def counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def listed(parts: list[str]) -> str:
    """Return parts as "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
