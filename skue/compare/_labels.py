"""What is to be predicted of the users: classes or numbers, from a file with one row per user."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from skue.compare._id_table import TextOptions, read_id_table
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.reading._ids import shown

# In a smaller class, some folds would have hardly any user to score.
_FEWEST_OF_A_CLASS = 10
_FEWEST_USERS = 50


class Labels(NamedTuple):
    """A class or a number for some users of a log.

    Attributes
    ----------
    name : str
        Name of the column.
    kind : {"classes", "numbers"}
    rows : ndarray of shape (n_labelled,)
        Rows of the histories.
    values : ndarray of shape (n_labelled,)
    notes : list of str
        What was read, and which rows of the file were left out.
    """

    name: str
    kind: Literal["classes", "numbers"]
    rows: np.ndarray
    values: np.ndarray
    notes: list[str]


def read_labels(
    path: Path,
    histories: Histories,
    user: str | int | None = None,
    text: TextOptions = TextOptions(),  # noqa: B008
) -> Labels:
    """Read the labels of the users of a log. See :func:`read_id_table`.

    Text, and numbers of two distinct values, are classes; other numbers are numbers.

    Raises
    ------
    ValueError
        If the file has not exactly one column beside the ids, or two rows of one user, or too few
        users of the log.
    """
    try:
        if histories.user_ids is None:
            raise ValueError(f"{path}: the log has no user ids.")
        ids, columns = read_id_table(path, histories.user_ids, "user", user, text)
        return _of_users(path, histories.user_ids, ids, columns)
    except ValueError as error:
        raise ValueError(f"--target {error}") from error


def _of_users(
    path: Path, user_ids: np.ndarray, ids: np.ndarray, columns: dict[str, np.ndarray]
) -> Labels:
    if len(columns) > 1:
        raise ValueError(
            f"{path}: each of the columns {', '.join(map(repr, columns))} could be predicted. Keep "
            "one of them beside the ids."
        )
    ((name, values),) = columns.items()
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"{path}: {(counts > 1).sum()} user(s) have several rows, such as "
            f"{shown(unique[counts.argmax()])}. Keep one row per user."
        )
    is_text = values.dtype.kind != "f"
    is_given = values != "" if is_text else np.isfinite(values)
    rows = Vocabulary(user_ids).lookup(ids)
    chosen = is_given & (rows >= 0)
    notes = _told([(~is_given).sum(), "no value"], [(is_given & (rows < 0)).sum(), "no history"])
    if not chosen.any():
        raise ValueError(
            f"{path}: no user of the log has a value. The log has ids such as "
            f"{user_ids[:3].tolist()}, the file {ids[:3].tolist()}."
        )
    rows, values = rows[chosen], values[chosen]
    if not is_text and len(np.unique(values)) > 2:
        _require_enough(path, len(values))
        return Labels(name, "numbers", rows, values, [f"Read {name!r} as numbers.", *notes])
    classes, codes, sizes = np.unique(
        values.astype(str) if is_text else [f"{value:g}" for value in values],
        return_inverse=True,
        return_counts=True,
    )
    kept = sizes[codes] >= _FEWEST_OF_A_CLASS
    if (sizes >= _FEWEST_OF_A_CLASS).sum() < 2:
        raise ValueError(
            f"{path}: to predict classes, two or more need {_FEWEST_OF_A_CLASS} users each. Column "
            f"{name!r} has {len(classes)} class(es), the largest of {sizes.max()} user(s). "
            "If it holds numbers with a decimal comma, add --decimal ,."
        )
    _require_enough(path, kept.sum())
    notes += _told([(~kept).sum(), f"a class of fewer than {_FEWEST_OF_A_CLASS} users"])
    named = ", ".join(
        f"{one} ({n})" for one, n in zip(classes, sizes, strict=True) if n >= _FEWEST_OF_A_CLASS
    )
    told = f"Read {name!r} as classes: {named}."
    return Labels(name, "classes", rows[kept], classes[codes[kept]], [told, *notes])


def _told(*left_out: list) -> list[str]:
    reasons = [f"{n} with {reason}" for n, reason in left_out if n]
    return [f"Users left out: {', '.join(reasons)}."] if reasons else []


def _require_enough(path: Path, n_users: int) -> None:
    if n_users < _FEWEST_USERS:
        raise ValueError(
            f"{path}: {n_users} users of the log have a value. Give {_FEWEST_USERS} or more."
        )
