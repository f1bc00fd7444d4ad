"""Text with one user a line: the user id, then item ids, oldest first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skue.histories._histories import Histories
from skue.histories._log_columns import numbered
from skue.histories._plain_files import damage_said, opened
from skue.reading._ids import factorize

# What str.split takes as blank, within ASCII.
_BLANKS = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_sequences(path: Path) -> Histories:
    """Read a user a line, or pairs: a user and one item a line, oldest first."""
    with damage_said(path), opened(path) as file:
        content = file.read().removeprefix(_BYTE_ORDER_MARK)
        tokens = content.decode("utf-8").split()
    if not tokens:
        raise ValueError(f"{path} is empty; one user a line is expected.")
    letters = np.frombuffer(content, dtype=np.uint8)
    blank = np.isin(letters, np.frombuffer(_BLANKS, dtype=np.uint8))
    starts = ~blank
    starts[1:] &= blank[:-1]
    line = np.cumsum(_ends_of_lines(letters))[starts]
    if len(line) != len(tokens):
        raise ValueError(f"{path} parts ids by blanks that are not ASCII. Use spaces or tabs.")
    opens = np.append(True, line[1:] != line[:-1])
    words = np.fromiter(tokens, dtype=object, count=len(tokens))
    if opens.all():
        raise ValueError(
            f"{path}, line {line[0] + 1}: {tokens[0]!r} is all there is on the line, and no other "
            "line holds more. A user id and item ids, parted by spaces, are expected; name a "
            "table .csv or .tsv."
        )
    offsets = np.append(np.flatnonzero(opens), len(words)) - np.arange(int(opens.sum()) + 1)
    users, user_ids = numbered(*factorize(words[opens]))
    items, item_ids = numbered(*factorize(words[~opens]))
    if len(user_ids) < len(users):
        _refuse_all_but_pairs(path, offsets, users, user_ids, line[opens] + 1)
        return Histories._from_log((users, user_ids), (items, item_ids), None, None)
    return Histories._from_events(item_ids[items], offsets, None, None, user_ids[users])


def _ends_of_lines(letters: np.ndarray) -> np.ndarray:
    """Mark what ends a line, once for the two letters of Windows."""
    ends = letters == 10
    returns = letters == 13
    returns[:-1] &= ~ends[1:]
    return ends | returns


def _refuse_all_but_pairs(
    path: Path, offsets: np.ndarray, users: np.ndarray, user_ids: np.ndarray, lines: np.ndarray
) -> None:
    """Users on several lines make sense where every line holds one item."""
    if (np.diff(offsets) == 1).all():
        return
    order = np.argsort(users, kind="stable")
    again = order[1:][users[order[1:]] == users[order[:-1]]].min()
    raise ValueError(
        f"{path}, line {lines[again]}: user {user_ids[users[again]]!s} has a line already. Write "
        "one user a line, or one user and one item a line; name a table .csv or .tsv."
    )
