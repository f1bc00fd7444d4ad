"""Which mark separates the columns of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skue.reading._column_names import guess_column
from skue.reading._records import fields_of

MARKS = (",", "\t", ";", "|", "::")
# Several marks may be in a header. Those that make sense of these lines are looked at.
N_LINES = 100


def guess_delimiter(
    lines: list[str], given: dict[str, str | int | None], quotes: bool, path: Path
) -> str:
    """Return the mark that separates the columns.

    It is the only usual mark in the first line; of several, the only one between whose columns
    there are a user and an item, or the only one that makes equally many columns of all lines.

    Raises
    ------
    ValueError
        Where several marks make sense, naming the option ``delimiter``.
    """
    marks = [mark for mark in MARKS if mark in lines[0]]
    if not marks:
        return " " if " " in lines[0].strip() else ","
    if len(marks) == 1:
        return marks[0]
    for fits in (_has_roles, _is_even):
        fitting = [mark for mark in marks if fits(lines, mark, given, quotes)]
        if len(fitting) == 1:
            return fitting[0]
        marks = fitting or marks
    read = "; ".join(f"{mark!r} gives {fields_of(lines[0], mark, quotes)}" for mark in marks)
    raise ValueError(
        f"{path}: it is not clear what separates the columns: {read}. Say "
        f"delimiter={marks[0]!r} (--delimiter on the command line)."
    )


def _has_roles(
    lines: list[str], mark: str, given: dict[str, str | int | None], quotes: bool
) -> bool:
    """Tell whether all columns that are needed are in the first line."""
    names: list[Any] = [name.strip() for name in fields_of(lines[0], mark, quotes)]
    if any(isinstance(name, int) for name in given.values()):
        names = list(range(len(names)))
    chosen = [guess_column(names, role) for role in ("user", "item") if given[role] is None]
    return None not in chosen and all(name in names for name in given.values() if name is not None)


def _is_even(lines: list[str], mark: str, given: dict[str, str | int | None], quotes: bool) -> bool:
    """Tell whether all lines have equally many columns."""
    return len({len(fields_of(line, mark, quotes)) for line in lines}) == 1
