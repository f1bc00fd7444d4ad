"""Options that say how a log is written, checked."""

from __future__ import annotations

from typing import Any

from skue.reading._number_times import UNITS


def _refuse(name: str, allowed: str, value: Any) -> ValueError:
    return ValueError(f"The {name!r} parameter must be {allowed}. Got {value!r} instead.")


def check_time_options(time_unit: str | None, dayfirst: bool | None) -> None:
    """Raise for values that ``time_unit`` and ``dayfirst`` cannot have."""
    if time_unit is not None and time_unit not in UNITS:
        raise _refuse("time_unit", f"one of {list(UNITS)} or None", time_unit)
    if dayfirst is not None and not isinstance(dayfirst, bool):
        raise _refuse("dayfirst", "True, False or None", dayfirst)


def check_text_options(delimiter: str | None, quotes: bool, decimal: str) -> None:
    """Raise for values that ``delimiter``, ``quotes`` and ``decimal`` cannot have."""
    if delimiter is not None and delimiter != "::" and not _is_one_mark(delimiter):
        raise _refuse(
            "delimiter", "one ASCII character that is no letter, digit or quote mark, or '::'",
            delimiter,
        )  # fmt: skip
    if not isinstance(quotes, bool):
        raise _refuse("quotes", "True or False", quotes)
    if decimal not in (".", ","):
        raise _refuse("decimal", "'.' or ','", decimal)


def _is_one_mark(delimiter: Any) -> bool:
    return (
        isinstance(delimiter, str)
        and len(delimiter) == 1
        and delimiter.isascii()
        and not delimiter.isalnum()
        and delimiter not in '"\r\n\0'
    )
