"""Text files with one user per line: the user id, then item ids, oldest first."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from skue.reading._delimited import (
    INNER_MARK,
    count_ends,
    inner_byte_order_mark,
    line_ends,
    utf8_text,
)
from skue.reading._ids import as_ids, factorize, refuse_as_items, shown

# The ASCII characters at which str.split splits.
_BLANKS = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"


class Sequences(NamedTuple):
    """Histories as stored in a file.

    Attributes
    ----------
    users : tuple of (codes, ids)
        The user of each line, and the sorted distinct ids.
    items : tuple of (codes, ids)
        The item of each event, and the sorted distinct ids.
    offsets : ndarray of shape (n_lines + 1,)
        Where the events of each line start.
    """

    users: tuple[np.ndarray, np.ndarray]
    items: tuple[np.ndarray, np.ndarray]
    offsets: np.ndarray

    @property
    def are_pairs(self) -> bool:
        """Whether users have several lines, each with one item."""
        return len(self.users[1]) < len(self.users[0])


def read_sequences(path: Path, encoding: str = "utf-8") -> Sequences:
    """Read lines of a user and all of their items, or of a user and one item; oldest first.

    Raises
    ------
    ValueError
        For a file in another format, naming the line.
    """
    content = utf8_text(path, encoding)
    letters = np.frombuffer(content, dtype=np.uint8)
    at = content.find(b"\0")
    if at >= 0:
        raise ValueError(
            f"{path}, line {count_ends(letters[:at]) + 1}: there is a NUL byte. Remove it, or give "
            "the encoding of the file, for example encoding='utf-16'."
        )
    mark = inner_byte_order_mark(letters)
    if mark is not None:
        raise ValueError(f"{path}, line {count_ends(letters[:mark]) + 1}: {INNER_MARK}")
    tokens = content.decode("utf-8").split()
    if not tokens:
        raise ValueError(f"{path} is empty; one user per line is expected.")
    blank = np.isin(letters, np.frombuffer(_BLANKS, dtype=np.uint8))
    starts = ~blank
    starts[1:] &= blank[:-1]
    line = np.searchsorted(line_ends(letters), np.flatnonzero(starts))
    if len(line) != len(tokens):
        raise ValueError(f"{path} separates ids by blanks that are not ASCII. Use spaces or tabs.")
    opens = np.append(True, line[1:] != line[:-1])
    words = np.fromiter(tokens, dtype=object, count=len(tokens))
    if opens.all():
        raise ValueError(
            f"{path}, line {line[0] + 1}: there is only {shown(tokens[0])}, and every other line "
            "has a single word, too. A user id and item ids, separated by spaces, are expected. "
            "Name a table .csv or .tsv."
        )
    _refuse_delimiters(path, words[opens], int(line[0]) + 1)
    offsets = np.append(np.flatnonzero(opens), len(words)) - np.arange(int(opens.sum()) + 1)

    def place(event: int) -> str:
        return f"line {line[~opens][event] + 1}"

    users, items = factorize(_numbered(words[opens])), factorize(_numbered(words[~opens]))
    refuse_as_items(items[1][:1], f"{path}: item ids", lambda _: place(int(np.argmin(items[0]))))
    sequences = Sequences(users, items, offsets)
    if sequences.are_pairs:
        _refuse_all_but_pairs(path, sequences, line[opens] + 1)
    return sequences


def _refuse_delimiters(path: Path, users: np.ndarray, line: int) -> None:
    """Raise if the first word of every line contains the same delimiter of a table."""
    for mark in (",", ";", "|", "::"):
        if all(mark in user for user in users.tolist()):
            raise ValueError(
                f"{path}, line {line}: the user id would be {shown(users[0])}, and all user ids "
                f"contain {mark!r}. If {mark!r} separates fields, set delimiter={mark!r}. "
                "Otherwise write the ids without it."
            )


def _numbered(ids: np.ndarray) -> np.ndarray:
    """Return integers if each id is written as Python writes that integer."""
    try:
        numbers = list(map(int, ids.tolist()))
    except ValueError:
        return ids
    as_written = all(map(str.__eq__, map(str, numbers), ids.tolist()))
    fits = as_written and all(-(2**63) <= number < 2**63 for number in numbers)
    return as_ids(numbers) if fits else ids


def _refuse_all_but_pairs(path: Path, sequences: Sequences, lines: np.ndarray) -> None:
    """Raise for a user on several lines unless every line has one item."""
    if (np.diff(sequences.offsets) == 1).all():
        return
    users, user_ids = sequences.users
    order = np.argsort(users, kind="stable")
    again = order[1:][users[order[1:]] == users[order[:-1]]].min()
    raise ValueError(
        f"{path}, line {lines[again]}: user {shown(user_ids[users[again]])} already has a line. "
        "Write one line per user, or one user and one item per line. Name a table .csv or .tsv."
    )
