"""Text files with one user per line: the user id, then item ids, oldest first."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import numpy as np

from skue.kernels._arrays import offsets_of
from skue.reading._delimited import INNER_MARK, NUL_BYTE, utf8_text
from skue.reading._ids import as_ids, factorize, refuse_as_items, shown

_LINE_END = re.compile("\r\n|\n|\r")


Column = tuple[np.ndarray, np.ndarray]


def read_sequences(path: Path, encoding: str = "utf-8") -> tuple[Column, Column, np.ndarray]:
    """Read lines of a user and all of their items, or of a user and one item; oldest first.

    Returns
    -------
    users, items : tuple of (codes, ids)
        The user of each line and the item of each event, and the sorted distinct ids.
    offsets : ndarray of shape (n_lines + 1,)
        Where the events of each line start. If there are more lines than users, each has one item.

    Raises
    ------
    ValueError
        For a file in another format, naming the line.
    """
    text = utf8_text(path, encoding).decode()
    fault = re.search("\0|^\ufeff", text, re.M)
    if fault is not None:
        line = len(_LINE_END.findall(text[: fault.start()])) + 1
        what = NUL_BYTE if fault.group() == "\0" else INNER_MARK
        raise ValueError(f"{path}, line {line}: {what}")
    rows = [line.split() for line in _LINE_END.split(text)]
    lines = np.flatnonzero(list(map(len, rows))) + 1
    rows = [row for row in rows if row]
    if not rows:
        raise ValueError(f"{path} is empty; one user per line is expected.")
    offsets = offsets_of(np.array([len(row) - 1 for row in rows]))
    if not offsets[-1]:
        raise ValueError(
            f"{path}, line {lines[0]}: there is only {shown(rows[0][0])}, and every other line "
            "has a single word, too. A user id and item ids, separated by spaces, are expected. "
            "Name a table .csv or .tsv."
        )
    names = [row[0] for row in rows]
    _refuse_delimiters(path, names, int(lines[0]))

    def place(event: int) -> str:
        return f"line {lines[np.searchsorted(offsets, event, side='right') - 1]}"

    of_items = chain.from_iterable(row[1:] for row in rows)
    users, items = factorize(_numbered(names)), factorize(_numbered(list(of_items)))
    refuse_as_items(items[1][:1], f"{path}: item ids", lambda _: place(int(np.argmin(items[0]))))
    if len(users[1]) < len(rows):
        _refuse_all_but_pairs(path, users, offsets, lines)
    return users, items, offsets


def _refuse_delimiters(path: Path, users: list[str], line: int) -> None:
    """Raise if the first word of every line contains the same delimiter of a table."""
    for mark in (",", ";", "|", "::"):
        if all(mark in user for user in users):
            raise ValueError(
                f"{path}, line {line}: the user id would be {shown(users[0])}, and all user ids "
                f"contain {mark!r}. If {mark!r} separates fields, set delimiter={mark!r}. "
                "Otherwise write the ids without it."
            )


def _numbered(ids: list[str]) -> np.ndarray:
    """Return ids as integers if each is written as Python writes that integer, else as text."""
    try:
        numbers = list(map(int, ids))
    except ValueError:
        return as_ids(ids)
    as_written = all(map(str.__eq__, map(str, numbers), ids))
    fits = as_written and all(-(2**63) <= number < 2**63 for number in numbers)
    return as_ids(numbers if fits else ids)


def _refuse_all_but_pairs(
    path: Path, users: Column, offsets: np.ndarray, lines: np.ndarray
) -> None:
    """Raise for a user on several lines unless every line has one item."""
    if (np.diff(offsets) == 1).all():
        return
    codes, user_ids = users
    order = np.argsort(codes, kind="stable")
    again = order[1:][codes[order[1:]] == codes[order[:-1]]].min()
    raise ValueError(
        f"{path}, line {lines[again]}: user {shown(user_ids[codes[again]])} already has a line. "
        "Write one line per user, or one user and one item per line. Name a table .csv or .tsv."
    )
