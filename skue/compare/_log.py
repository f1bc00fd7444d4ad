"""Reading the log that the command line names."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from skue.histories._histories import Histories
from skue.histories._load import load_interactions
from skue.reading._column_names import guess_column, looks_like_a_log
from skue.reading._log_files import TextOptions, date_like_columns, open_delimited
from skue.reading._parquet import names_of_parquet
from skue.reading._paths import checked_path
from skue.reading._text_files import checked_encoding

_ROLES = ("user", "item", "time", "weight")
_DAY_FIRST = {None: None, "yes": True, "no": False}


def read_log(options: argparse.Namespace) -> Histories:
    """Read the log with the options of the command line.

    Raises
    ------
    ValueError
        For what is wrong with the file; and when columns have to be named: all of them at once,
        a column of dates under a name that says nothing included.
    """
    if options.no_time and options.time is not None:
        raise ValueError(f"--time {options.time} and --no-time exclude each other. Drop one.")
    names = {role: getattr(options, role) for role in _ROLES}
    text = TextOptions(options.encoding, options.delimiter, options.quotes, options.decimal)
    if not any(isinstance(name, int) for name in names.values()):
        _refuse_unnamed_columns(options.interactions, names, text, no_time=options.no_time)
    histories = load_interactions(
        options.interactions,
        **names,
        time_unit=options.time_unit,
        dayfirst=_DAY_FIRST[options.dayfirst],
        **text._asdict(),
    )
    if not options.no_time or histories.timestamps is None:
        return histories
    return Histories._trusted(
        histories.codes,
        histories.offsets,
        histories.vocabulary,
        None,
        histories.weights,
        histories.user_ids,
    )


def _refuse_unnamed_columns(
    path: str, names: dict[str, Any], text: TextOptions, *, no_time: bool
) -> None:
    columns = _columns(path, names, text)
    if columns is None:
        return
    unnamed = [
        role
        for role in ("user", "item")
        if names[role] is None and guess_column(columns, role) is None
    ]
    dates = []
    if names["time"] is None and not no_time and guess_column(columns, "time") is None:
        looked_at = date_like_columns(path, **_of_text(text))
        dates = [name for name in looked_at if name not in names.values()]
    if not unnamed and not dates:
        return
    options = [f"--{role} COLUMN" for role in unnamed]
    if dates:
        named = " or ".join(f"--time {shlex.quote(str(name))}" for name in dates)
        options.append(f"{named} (or --no-time, to use the order of the lines)")
    asked = [*unnamed, *(["time"] if dates else [])]
    raise ValueError(
        f"{path}: which column is the {' and which the '.join(asked)}? It has the columns "
        f"{columns}. Say it with {' '.join(options)}."
    )


def _columns(path: str, names: dict[str, Any], text: TextOptions) -> list[str] | None:
    """Return the names of the columns; None where there are none."""
    checked, kind = checked_path(path)
    if kind == ".parquet":
        return names_of_parquet(checked)
    checked_encoding(text.encoding)
    columns = open_delimited(checked, kind, names, text).names
    has_sequences = kind == ".txt" and set(names.values()) == {None} and text.delimiter is None
    if has_sequences and not looks_like_a_log(columns):
        return None
    # Where the first line holds numbers it is no header, which the reader says.
    return None if any(map(_is_number, columns)) else columns


def _of_text(text: TextOptions) -> dict[str, Any]:
    return {"encoding": text.encoding, "delimiter": text.delimiter, "quotes": text.quotes}


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
