"""The columns of a table, checked: ids as codes and distinct ids, times, weights."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from skue._estimator import import_optional, warn_caller
from skue.reading._ids import as_ids, factorize, is_text, refuse_as_items, shown
from skue.reading._table import Table
from skue.reading._times import NUMBER, times_of
from skue.reading._values import DROP, Label, decoded, is_arrow, refuse_missing

_COMMA_NUMBER = re.compile(NUMBER.pattern.replace(r"\.", ","))
# Ids that often stand for missing ones, and the share of events from which on this is told.
_PLACEHOLDERS = {
    "na", "n/a", "<na>", "#n/a", "nan", "nat", "null", "none", "nil", "undefined", "unknown",
    "missing", "anonymous", "guest", "(not set)", "-", "--", "?", "\\n", "-1",
}  # fmt: skip
_MOST_EVENTS = 0.1
_POWERS_OF_TEN = 10 ** np.arange(1, 19, dtype=np.int64)


class Log(NamedTuple):
    """A log: one row per interaction.

    Attributes
    ----------
    users, items : tuple of (codes, ids)
        The code of each row, int32, and the sorted distinct ids.
    timestamps : ndarray of shape (n_rows,), datetime64[us] or float64, or None
    weights : ndarray of shape (n_rows,), float64, or None
    """

    users: tuple[np.ndarray, np.ndarray]
    items: tuple[np.ndarray, np.ndarray]
    timestamps: np.ndarray | None
    weights: np.ndarray | None


def log_of_table(
    table: Table, columns: dict[str, Any], *, decimal: str | None = None, **time_options: Any
) -> Log:
    """Return the checked columns of a table.

    Parameters
    ----------
    table : Table
    columns : dict of role to name
        The columns of "user", "item", "time" and "weight"; None if there is none.
    decimal : {".", ","}, default=None
        Decimal mark of weights in text. None means a point that the caller cannot change.
    **time_options : see :func:`skue.load_interactions`

    Raises
    ------
    ValueError
        For a missing column, and for values that are missing or of a wrong type, naming the row.
    """
    names = {role: name for role, name in columns.items() if name is not None}
    found = table.columns(list(dict.fromkeys(names.values())))
    values = {role: found[name] for role, name in names.items()}
    labels = {
        role: Label(f"column {name!r}", table.place, table.source) for role, name in names.items()
    }
    timestamps = weights = None
    if "time" in names:
        timestamps = times_of(values["time"], labels["time"], **time_options)
    if "weight" in names:
        weights = weights_of(values["weight"], labels["weight"], decimal)
    users = ids_of(values["user"], labels["user"], as_written=table.is_text)
    items = ids_of(values["item"], labels["item"], as_written=table.is_text)
    if table.is_text:
        _refuse_headers(table, users, items)
    if len(items[1]):
        place, first = labels["item"].place, items[0]
        refuse_as_items(
            items[1][:1], labels["item"].full_name, lambda _: place(int(np.argmin(first)))
        )
    for role, ids in (("user", users), ("item", items)):
        _warn_of_placeholder(role, *ids, labels[role])
    return Log(users, items, timestamps, weights)


def _refuse_headers(table: Table, users: Any, items: Any) -> None:
    """Raise for a row that repeats the header line, as in files that were joined."""
    if not (table.has_header and is_text(users[1]) and is_text(items[1])):
        return
    names = {name.strip().lower() for name in table.first_line}
    rows = np.ones(len(users[0]), dtype=bool)
    for codes, ids in (users, items):
        rows &= np.array([name.strip().lower() in names for name in ids.tolist()])[codes]
    if rows.any():
        row = int(rows.argmax())
        held = [ids[codes[row]] for codes, ids in (users, items)]
        raise ValueError(
            f"{table.source}, {table.place(row)}: this is a header line, with {held}. Files that "
            "were joined have several; remove all but the first."
        )


def _warn_of_placeholder(role: str, codes: np.ndarray, ids: np.ndarray, label: Label) -> None:
    """Warn of an id that seems to stand for missing ids and holds many events."""
    n_events = np.bincount(codes, minlength=len(ids))
    for code in np.flatnonzero(n_events > max(1, _MOST_EVENTS * len(codes))):
        if str(ids[code]).lower() in _PLACEHOLDERS:
            warn_caller(
                f"{label.full_name}: {n_events[code]} of {len(codes)} events have the {role} "
                f"{shown(ids[code])}, which seems to stand for a missing id. Drop these rows, or "
                f"ignore this warning if it is one {role}."
            )


def ids_of(column: Any, label: Label, *, as_written: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and sorted distinct ids.

    Text is never changed or converted to numbers. The exception is text that a file without types
    holds (``as_written``): it becomes integers if each id is written as Python writes that integer,
    ``7``, but not ``007``, ``+7`` or ``7.0``.

    Raises
    ------
    ValueError
        For ids that are missing, empty, or neither integers nor text, naming the row.
    """
    if is_arrow(column):
        numbers = _integers(column) if as_written else None
        if numbers is not None:
            return factorize(numbers)
        codes, ids = distinct_of_arrow(column)
    else:
        if column.dtype.kind not in "iufOUT":
            held = label.holds(0, column[0]) if len(column) else label.full_name
            raise ValueError(f"{held}, of type {column.dtype}. Ids must be integers or strings.")
        refuse_missing(column, label)
        codes, ids = factorize(as_ids(decoded(column, label), label.full_name, label.place))
    if len(ids) and is_text(ids) and ids[0] == "":
        raise ValueError(f"{label.at(int(np.argmin(codes)))} is empty. {DROP}")
    return codes, ids


def _integers(column: Any) -> np.ndarray | None:
    """Return integers from text, or None if some text is not written like its integer."""
    arrow, compute = import_optional("pyarrow", "io"), import_optional("pyarrow.compute", "io")
    if arrow.types.is_dictionary(column.type):
        return None
    try:
        numbers = column.cast(arrow.int64()).to_numpy()
    except arrow.ArrowInvalid:
        return None
    # Any other way of writing an integer is longer: zeros, a plus sign, blanks.
    n_digits = np.searchsorted(_POWERS_OF_TEN, np.abs(numbers), side="right") + 1
    lengths = compute.binary_length(column).to_numpy()
    return numbers if (lengths == n_digits + (numbers < 0)).all() else None


def distinct_of_arrow(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and sorted distinct strings of a pyarrow column."""
    arrow, compute = import_optional("pyarrow", "io"), import_optional("pyarrow.compute", "io")
    if not len(column):
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=object)
    if arrow.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    else:
        column = column.dictionary_encode()  # All chunks get the same dictionary.
    distinct = column.chunk(0).dictionary
    order = compute.sort_indices(distinct).to_numpy()
    place = np.empty(len(distinct), dtype=np.int32)
    place[order] = np.arange(len(distinct), dtype=np.int32)
    codes = np.concatenate([place[chunk.indices.to_numpy()] for chunk in column.chunks])
    texts = distinct.take(order).to_pylist()
    return codes, np.fromiter(texts, dtype=object, count=len(texts))


def weights_of(column: Any, label: Label, decimal: str | None = None) -> np.ndarray:
    """Return finite weights as float64.

    Raises
    ------
    ValueError
        For values that are not finite numbers, naming the row.
    """
    if is_arrow(column):
        return _weights_of_text(*distinct_of_arrow(column), label, decimal)
    refuse_missing(column, label)
    values = decoded(column, label).tolist() if column.dtype.kind in "OUT" else None
    if values and all(isinstance(value, str) for value in values):
        return _weights_of_text(*factorize(as_ids(values)), label, decimal)
    is_number = np.full(len(column), column.dtype.kind in "iuf")
    if values is not None:
        is_number = np.fromiter(map(_is_number, values), dtype=bool, count=len(values))
    if is_number.all():
        weights = column.astype(np.float64)
        is_number = np.isfinite(weights)
    if not is_number.all():
        row = int(is_number.argmin())
        raise ValueError(f"{label.holds(row, column[row])}, which is not a finite number. {DROP}")
    return weights


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number, Decimal)) and not isinstance(value, bool)


def _weights_of_text(
    codes: np.ndarray, distinct: np.ndarray, label: Label, decimal: str | None
) -> np.ndarray:
    """Parse weights from the distinct texts and the code of each row."""
    mark, pattern, other_pattern = ".", NUMBER, _COMMA_NUMBER
    if decimal == ",":
        mark, pattern, other_pattern = ",", _COMMA_NUMBER, NUMBER
    numbers = np.array(
        [
            float(text.replace(mark, ".")) if pattern.fullmatch(text) else np.nan
            for text in distinct.tolist()
        ]
    )
    weights = numbers[codes] if len(codes) else np.empty(0)
    if np.isfinite(numbers).all():
        return weights
    row = int(np.flatnonzero(~np.isfinite(weights))[0])
    text = distinct[codes[row]]
    if not text.strip():
        raise ValueError(f"{label.at(row)} is empty. {DROP}")
    hint = DROP
    if other_pattern.fullmatch(text):
        other = "," if mark == "." else "."
        hint = f"If {other!r} is the decimal mark, set decimal={other!r}."
        hint = "Write numbers with a decimal point." if decimal is None else hint
    raise ValueError(f"{label.holds(row, text)}, which is not a finite number. {hint}")
