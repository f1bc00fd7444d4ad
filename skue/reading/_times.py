"""Times: dates in text, datetimes and numbers, read as UTC datetimes or as seconds.

All times of a column have one format. Text is compared with one list of formats, and the format
must fit every row. The same rules hold for pyarrow columns, arrays and lists.
"""

from __future__ import annotations

import datetime as dt
import re
from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from skue._estimator import import_optional
from skue.reading._ids import shown
from skue.reading._values import (
    DROP,
    Label,
    as_array,
    decoded,
    invalid,
    is_arrow,
    plain_text,
    refuse_missing,
)

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Numbers are times if they lie in these years. No number does so in two units.
_FIRST_YEAR, _END_YEAR = 1990, 2100
_YEARS = f"{_FIRST_YEAR} and {_END_YEAR}"
_EARLIEST, _LATEST = (
    int(np.datetime64(f"{year}-01-01", "s").astype(np.int64)) for year in (_FIRST_YEAR, _END_YEAR)
)
# Dates written as whole numbers, and the factor of their day.
_DIGITS_OF_TIME = {"YYYYMMDD": 1, "YYYYMMDDhhmm": 10**4, "YYYYMMDDhhmmss": 10**6}

_NOT_TIMES = "Times must be dates, or numbers of seconds."
NUMBER = re.compile(r" *[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)? *")
TIME_OF_DAY = re.compile(
    r" *[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[ap]\.?m\.?)? *", re.I
)

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_ZONE = (
    r"(?P<zone>z|(?:utc|gmt)?(?P<sign>[-+])(?P<zone_hour>[0-9]{2}):?(?P<zone_minute>[0-9]{2})?"
    r"|utc|gmt)"
)
# The directives of strptime that are read. Names of zones other than UTC are not unique.
_DIRECTIVES = {
    "Y": r"(?P<year>[0-9]{4})",
    "y": r"(?P<short_year>[0-9]{2})",
    "m": r"(?P<month>[0-9]{1,2})",
    "d": r"(?P<day>[0-9]{1,2})",
    "H": r"(?P<hour>[0-9]{1,2})",
    "I": r"(?P<hour>[0-9]{1,2})",
    "M": r"(?P<minute>[0-9]{2})",
    "S": r"(?P<second>[0-9]{2})",
    "f": r"(?P<fraction>[0-9]{1,9})",
    "p": r"(?P<half>[ap])\.?m\.?",
    "b": "(?P<name>" + "|".join(f"{name}|{name[:3]}\\.?" for name in _MONTHS) + r"|sept\.?)",
    "a": r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?",
    "z": _ZONE,
    "Z": "(?P<zone>utc|gmt|z)",
    "%": "%",
}  # fmt: skip
_DIRECTIVES |= {"B": _DIRECTIVES["b"], "A": _DIRECTIVES["a"]}

# Dates, which a time of day may follow. Where the day stands before a month of digits, the month
# may also stand first. Years of two digits are read only with dayfirst=.
_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d",
    "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d %m %Y",
    "%d.%m.%y", "%d/%m/%y", "%d-%m-%y", "%d %m %y",
    "%d %b %Y", "%d. %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d%b%Y", "%d %b, %Y",
    "%d %b %y", "%d. %b %y", "%d-%b-%y", "%d/%b/%y", "%d%b%y",
    "%b %d %Y", "%b %d, %Y",
)  # fmt: skip
_CLOCK = r"%H:%M(?::%S(?:[.,]%f)?)?(?: ?%p)?"
# After an offset, the name of the zone says no more.
_OFFSET = r"(?: ?%z(?:\[[^\]]*\]| \([^)]*\))?)?"
_TIME = rf"(?P<between>,? |t){_CLOCK}{_OFFSET}"
_DIGITS = "%Y(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
# The regular expression of each format, with directives of strptime in it.
_FORMATS = {
    **{date: rf"{re.escape(date)}(?:{_TIME})?" for date in _DATES if "%b" not in date},
    **{date: rf"(?:%a,? )?{re.escape(date)}(?:{_TIME})?" for date in _DATES if "%b" in date},
    "%Y%m%d %H:%M": rf"{_DIGITS}{_TIME}",
    "%Y%m%dT%H%M": rf"{_DIGITS}(?P<between>t)(?P<hour>[0-9]{{2}})%M(?:%S(?:[.,]%f)?)?{_OFFSET}",
    "%a %b %d %H:%M:%S %Y": rf"%a %b %d {_CLOCK}{_OFFSET} %Y",
}
_STRETCH = 2**17


def check_time_options(
    time_unit: str | None = None, dayfirst: bool | None = None, time_format: str | None = None
) -> None:
    """Raise for invalid values of ``time_unit``, ``dayfirst`` and ``time_format``."""
    if time_unit is not None and time_unit not in UNITS:
        raise invalid("time_unit", time_unit, f"one of {list(UNITS)} or None")
    if dayfirst is not None and not isinstance(dayfirst, bool):
        raise invalid("dayfirst", dayfirst, "True, False or None")
    if time_format is not None:
        _pattern_of(time_format)
        if time_unit is not None or dayfirst is not None:
            raise ValueError("time_format= says how times are written. Leave out the others.")


def times_of(
    column: Any,
    label: Label,
    *,
    time_unit: str | None = None,
    dayfirst: bool | None = None,
    time_format: str | None = None,
) -> np.ndarray:
    """Return UTC datetimes as datetime64[us], or seconds as float64.

    Parameters
    ----------
    column : list, ndarray, or pyarrow column of strings
    label : Label
        The column in error messages.
    time_unit, dayfirst, time_format : see :func:`skue.load_interactions`

    Raises
    ------
    ValueError
        For missing or invalid times, and for times in several formats, naming the rows.
    """
    check_time_options(time_unit, dayfirst, time_format)
    if is_arrow(column):
        column = plain_text(column)
    else:
        column = as_array(column)
        refuse_missing(column, label)
        if column.dtype.kind == "O" and len(column):
            column = of_one_kind(column, label)
        elif column.dtype.kind in "UT":
            column = column.tolist()
    if not len(column):
        is_dates = isinstance(column, np.ndarray) and column.dtype.kind == "M"
        return np.empty(0, dtype="datetime64[us]" if is_dates else np.float64)
    if not isinstance(column, np.ndarray):
        return _times_of_text(column, label, time_unit, dayfirst, time_format)
    kind = column.dtype.kind
    if kind in "iu" and time_format is not None:
        return _times_of_text(list(map(str, column.tolist())), label, None, None, time_format)
    if kind in "iuf" and time_format is None:
        return _times_of_numbers(column, label, time_unit, lambda row: column[row].item())
    if kind != "M":
        raise ValueError(f"{label.holds(0, column[0])}. {_NOT_TIMES}")
    return column.astype("datetime64[us]", copy=False)


def of_one_kind(column: np.ndarray, label: Label) -> Any:
    """Return objects as an array of numbers or datetimes, or as a list of strings."""
    values = decoded(column, label).tolist()
    kinds = [_kind_of(value) for value in values]
    other = next((row for row, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        raise ValueError(
            f"{label.holds(other, values[other])}, {kinds[other]}, but {label.place(0)} holds "
            f"{shown(values[0])}, {kinds[0]}. Use one type for all times of a column."
        )
    if kinds[0] == "text":
        return values
    if kinds[0] == "a number":
        try:
            whole = all(isinstance(value, (int, np.integer)) for value in values)
            return np.fromiter(values, dtype=np.int64 if whole else np.float64, count=len(values))
        except OverflowError:
            return np.array([float(value) for value in values])
    if kinds[0] == "a datetime with a zone":
        values = [(value - value.utcoffset()).replace(tzinfo=None) for value in values]
    elif kinds[0] not in ("a date", "a datetime"):
        raise ValueError(f"{label.holds(0, values[0])}, {kinds[0]}. {_NOT_TIMES}")
    return np.array(values, dtype="datetime64[us]")


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, dt.datetime) and value.utcoffset() is not None:
        return "a datetime with a zone"
    if isinstance(value, (dt.datetime, np.datetime64)):
        return "a datetime"
    if isinstance(value, dt.date):
        return "a date"
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return "a number"
    return f"a {type(value).__name__}"


def _times_of_text(
    texts: Any, label: Label, time_unit: str | None, dayfirst: bool | None, time_format: str | None
) -> np.ndarray:
    """Return the times in a list or a pyarrow column of strings, which is not empty."""
    first = text_of(texts[0])
    pattern: re.Pattern[str] | None
    if time_format is not None:
        name, pattern = time_format, _pattern_of(time_format)
    elif NUMBER.fullmatch(first):
        numbers = _numbers(texts)
        if numbers is None:
            raise _not_one_format(texts, label)
        return _times_of_numbers(numbers, label, time_unit, lambda row: text_of(texts[row]))
    else:
        name, pattern = _format_of(first)
        if pattern is None:
            raise _not_one_format(texts, label)
    parts = _parts(texts, pattern)
    if parts is None:
        raise _not_one_format(texts, label, time_format)
    order = ""
    if time_format is None:
        parts, order = _in_order(parts, name, dayfirst, texts, label)
    times, exist = _assembled(parts)
    if not exist.all():
        row = int(np.flatnonzero(~exist)[0])
        raise ValueError(
            f"{label.holds(row, text_of(texts[row]))}, which is not a valid date{order}. Correct "
            "or drop such rows first."
        )
    return times


def text_of(value: Any) -> str:
    """Return a string or a pyarrow scalar as a string."""
    return value if isinstance(value, str) else value.as_py()


@cache
def _pattern_of(time_format: str) -> re.Pattern[str]:
    """Return the regular expression of a format of strptime; other text is matched as it is."""
    letters = re.findall("%(.?)", str(time_format))
    unknown = [f"%{letter}" for letter in letters if letter not in _DIRECTIVES]
    if unknown or not {"Y", "y"} & set(letters):
        fault = f", where {unknown[0]} is unknown" if unknown else ""
        allowed = "%Y %y %m %b %B %d %a %A %H %I %M %S %f %p %z %Z %%"
        raise invalid(
            "time_format",
            time_format,
            f"a format of dates such as '%d.%m.%Y %H:%M', with the directives {allowed}{fault}",
        )
    try:
        return _compiled(re.escape(time_format))
    except re.error:
        raise ValueError(f"time_format={time_format!r} has one part of a date twice.") from None


def _compiled(form: str) -> re.Pattern[str]:
    """Compile a regular expression with directives of strptime in it."""
    inner = re.sub("%(.)", lambda match: _DIRECTIVES[match.group(1)], form)
    return re.compile(f"(?i) *{inner} *", re.ASCII)


@cache
def _pattern_named(name: str) -> re.Pattern[str]:
    return _compiled(_FORMATS[name])


def _format_of(text: str) -> tuple[str, re.Pattern[str] | None]:
    """Return the format of a date and its regular expression, or None."""
    for name in _FORMATS:
        if _pattern_named(name).fullmatch(text):
            return name, _pattern_named(name)
    return "", None


def _way(text: str) -> Any:
    """Return what the times of a column must have in common, or None if it is not a time."""
    if NUMBER.fullmatch(text):
        return "number"
    name, pattern = _format_of(text)
    if pattern is None:
        return None
    match = pattern.fullmatch(text)
    assert match is not None  # it is the pattern of a format that matches
    parts = match.groupdict("")
    between, half, zone = (parts.get(part, "") for part in _WAYS)
    return name, between.lower(), bool(half), bool(zone)


def looks_like_dates(texts: list[str]) -> bool:
    """Tell whether all texts are dates in one format. Numbers do not count as dates."""
    ways = set(map(_way, texts))
    return len(ways) == 1 and not ways & {"number", None}


_Parts = dict[str, np.ndarray]
_MONTH_NUMBERS = {name[:3]: number for number, name in enumerate(_MONTHS, start=1)}
# How the text of each part becomes a number; other parts are digits, or empty.
_NUMBER_OF: dict[str, Callable[[str], int]] = {
    "name": lambda text: _MONTH_NUMBERS[text[:3].lower()],
    "half": lambda text: " ap".index(text.lower() or " "),
    "sign": lambda text: -1 if text == "-" else 1,
    "fraction": lambda text: int(text.ljust(6, "0")[:6]),
}
# What the times of a column have in common: the mark before the time of day, and whether they have
# a half of the day and a zone.
_WAYS: dict[str, Callable[[str], Any]] = {"between": str.lower, "half": bool, "zone": bool}


def _whole(text: str) -> int:
    return int(text or 0)


def _parts(texts: Any, pattern: re.Pattern[str]) -> _Parts | None:
    """Return the numbers in texts, or None if they are not all written in one way."""
    stretches: list[_Parts] = []
    ways: dict[str, set[Any]] = {part: set() for part in _WAYS}
    for chunk in [texts] if isinstance(texts, list) else texts.chunks:
        for start in range(0, len(chunk), _STRETCH):
            rows = chunk[start : start + _STRETCH]
            found = _aligned_groups(rows, pattern) or _matched_groups(rows, pattern)
            if found is None:
                return None
            words, numbers = found
            for part, way in _WAYS.items():
                ways[part].update(map(way, words.get(part, [])))
            if "name" in numbers:
                numbers["month"] = numbers.pop("name")
            stretches.append(numbers)
    if any(len(held) > 1 for held in ways.values()):
        return None
    return {part: np.concatenate([held[part] for held in stretches]) for part in stretches[0]}


def _aligned_groups(rows: Any, pattern: re.Pattern[str]) -> tuple[dict[str, Any], _Parts] | None:
    """Return the named parts of texts that differ only in their digits, or None.

    They are returned as distinct words, and as numbers of all rows.
    """
    letters = _letters_of(rows)
    match = None if letters is None else pattern.fullmatch(letters[:, 0].tobytes().decode("latin1"))
    if match is None or letters is None:
        return None
    is_digit = (letters[:, 0] >= ord("0")) & (letters[:, 0] <= ord("9"))
    digits = letters - np.uint8(ord("0"))
    if (digits[is_digit] > 9).any() or (letters[~is_digit] != letters[~is_digit, :1]).any():
        return None
    numbers = {}
    for part, text in match.groupdict("").items():
        start, stop = match.span(part)
        if text[:1].isdigit():
            stop = min(stop, start + 6) if part == "fraction" else stop
            number = np.zeros(letters.shape[1], dtype=np.int32)
            for column in digits[start:stop]:
                number *= 10
                number += column
            numbers[part] = number * 10 ** (6 - stop + start) if part == "fraction" else number
        elif part not in ("between", "zone"):
            value = _NUMBER_OF.get(part, _whole)(text)
            numbers[part] = np.full(letters.shape[1], value, dtype=np.int32)
    return {part: [text] for part, text in match.groupdict("").items()}, numbers


def _letters_of(rows: Any) -> np.ndarray | None:
    """Return ASCII texts of one length as an array of shape (length, n_rows), or None."""
    n = len(rows)
    if isinstance(rows, list):
        length = len(rows[0])
        if any(len(text) != length for text in rows):
            return None
        data = np.frombuffer("".join(rows).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        aligned = 0 < len(data) == n * length
        return np.ascontiguousarray(data.reshape(n, length).T) if aligned else None
    width = np.int64 if str(rows.type) == "large_string" else np.int32
    _, offsets, data = rows.buffers()
    bounds = np.frombuffer(offsets, dtype=width)[rows.offset : rows.offset + n + 1]
    length = int(bounds[1] - bounds[0])
    if not length or (np.diff(bounds) != length).any():
        return None
    letters = np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]]
    return np.ascontiguousarray(letters.reshape(n, length).T)


def _matched_groups(rows: Any, pattern: re.Pattern[str]) -> tuple[dict[str, Any], _Parts] | None:
    """Return the named parts of texts, each distinct text matched once, or None if one differs."""
    texts = rows if isinstance(rows, list) else rows.to_pylist()
    position = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    codes = np.array(list(map(position.__getitem__, texts)))
    matches = [match for match in map(pattern.fullmatch, position) if match is not None]
    if len(matches) < len(position):
        return None
    groups = {part: [match[part] or "" for match in matches] for part in pattern.groupindex}
    numbers = {}
    for part in set(groups) - {"between", "zone"}:
        distinct = list(map(_NUMBER_OF.get(part, _whole), groups[part]))
        numbers[part] = np.array(distinct, dtype=np.int32)[codes]
    return groups, numbers


def _in_order(
    parts: _Parts, name: str, dayfirst: bool | None, texts: Any, label: Label
) -> tuple[_Parts, str]:
    """Exchange days and months if the month is first, and describe the order for errors.

    The order is that of the option, or the only one in which all dates can be valid.
    """
    may_swap = name.startswith("%d") and "%m" in name
    if name.endswith("%y") and (dayfirst is None or not (dayfirst or may_swap)):
        raise ValueError(
            f"{label.holds(0, text_of(texts[0]))}, where day, month and year cannot be told apart. "
            "Write the year with four digits, or set dayfirst=True for d/m/y or dayfirst=False for "
            "m/d/y."
        )
    if not may_swap:
        return parts, ""
    if dayfirst is None and "." in name:
        dayfirst = True
    if dayfirst is None:
        dayfirst = _is_day_first(parts["day"], parts["month"], texts, label)
    if dayfirst:
        return parts, " with the day first"
    return {**parts, "day": parts["month"], "month": parts["day"]}, " with the month first"


def _is_day_first(first: np.ndarray, second: np.ndarray, texts: Any, label: Label) -> bool:
    """Tell whether 03/04/2026 means 3 April, from the other dates of the column."""
    day_first, month_first = np.flatnonzero(first > 12), np.flatnonzero(second > 12)
    if len(day_first) and len(month_first):
        other, row = sorted((int(day_first[0]), int(month_first[0])))
        raise ValueError(
            f"{label.holds(row, text_of(texts[row]))}, but {label.place(other)} holds "
            f"{shown(text_of(texts[other]))}: the day is first in one and second in the other. "
            "Write all dates as 2026-01-31."
        )
    if not len(day_first) and not len(month_first):
        raise ValueError(
            f"{label.holds(0, text_of(texts[0]))}: day and month cannot be told apart, here and in "
            "all other rows. Set dayfirst=True for d/m or dayfirst=False for m/d, or write dates "
            "as 2026-01-31."
        )
    return bool(len(day_first))


def _assembled(parts: _Parts) -> tuple[np.ndarray, np.ndarray]:
    """Return the datetimes, and which of them exist."""

    def get(part: str, default: Any = 0) -> Any:
        return parts.get(part, default)

    if "short_year" in parts:  # As in POSIX: 1969 to 2068.
        year = parts["short_year"] + np.where(parts["short_year"] >= 69, 1900, 2000)
    else:
        year = parts["year"]
    days, exist = _days(year, get("month", 1), get("day", 1))
    hour, minute, second = get("hour"), get("minute"), get("second")
    exist &= (minute < 60) & (second < 60) & (hour < 24)
    if "half" in parts and parts["half"].any():
        exist &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + 12 * (parts["half"] == 2)
    exist &= (get("zone_hour") < 24) & (get("zone_minute") < 60)
    minute = minute - get("sign", 1) * (get("zone_hour") * 60 + get("zone_minute"))
    seconds = np.asarray((hour * 60 + minute) * 60 + second, dtype=np.int64)
    microseconds = seconds * 10**6 + get("fraction")
    return days.astype("datetime64[us]") + np.asarray(microseconds, "timedelta64[us]"), exist


def _days(year: np.ndarray, month: Any, day: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the days as datetime64[D], and which of them exist."""
    months = ((year - np.int64(1970)) * 12 + month - 1).astype("datetime64[M]")
    n_days = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    exist = (month >= 1) & (month <= 12) & (day >= 1) & (day <= n_days) & (year >= 1)
    return months.astype("datetime64[D]") + (day - 1), exist


def _not_one_format(texts: Any, label: Label, time_format: str | None = None) -> ValueError:
    """Return the error for a column with several formats, or with a row that is not a time."""
    listed = texts if isinstance(texts, list) else texts.to_pylist()
    first = _way(listed[0])
    for row, text in enumerate(listed):
        if not text.strip():
            return label.empty(row, sum(not text.strip() for text in listed))
        held = label.holds(row, text)
        way = _way(text)
        if time_format is not None:
            if not _pattern_of(time_format).fullmatch(text):
                return ValueError(
                    f"{held}, which is not written as {time_format!r}, the time_format."
                )
        elif way is None and TIME_OF_DAY.fullmatch(text):
            return ValueError(f"{held}, a time of day without a date. Write the date before it.")
        elif way is None:
            return ValueError(
                f"{held}, which is not a date that skue can read. Set time_format=, such as "
                "time_format='%d.%m.%Y %H:%M', or write dates as 2026-01-31 or "
                "2026-01-31T12:00:00, or times as seconds."
            )
        elif way != first:
            break
    return ValueError(
        f"{label.holds(row, listed[row])}, but {label.place(0)} holds {shown(listed[0])}, in "
        "another format. Use one format for all times of a column, for example 2026-01-31T12:00:00."
    )


def _numbers(texts: Any) -> np.ndarray | None:
    """Return numbers in text: int64 if all are whole and fit, otherwise float64; None if not."""
    if isinstance(texts, list):
        if not all(map(NUMBER.fullmatch, texts)):
            return None
        try:
            return np.fromiter(map(int, texts), dtype=np.int64, count=len(texts))
        except (ValueError, OverflowError):
            return np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
    arrow, compute = import_optional("pyarrow", "io"), import_optional("pyarrow.compute", "io")
    for kind in (arrow.int64(), arrow.float64()):
        try:
            numbers = compute.utf8_trim(texts, " ").cast(kind).to_numpy()
        except arrow.ArrowInvalid:
            continue
        return numbers if np.isfinite(numbers).all() else None
    # pyarrow does not read +5.
    return _numbers(texts.to_pylist())


def _times_of_numbers(
    numbers: np.ndarray, label: Label, time_unit: str | None, get: Callable[[int], Any]
) -> np.ndarray:
    """Return seconds, or datetimes for dates such as 20260131.

    Without a unit, all numbers must be times of plausible years in the same unit, or dates in the
    same format. If all numbers are too small for that, they are counted as seconds, because only
    their order matters then. ``get`` returns the value of a row for errors.
    """
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(f"{label.holds(row, get(row))}, which is not a time. {DROP}")
    if time_unit is not None:
        return _seconds(numbers, UNITS[time_unit])
    kind = unit_of(numbers)
    if kind in UNITS:
        return _seconds(numbers, UNITS[kind])
    if kind in _DIGITS_OF_TIME:
        return _dates_of_digits(numbers, _DIGITS_OF_TIME[kind])[0]
    if _are_small(numbers):
        return numbers.astype(np.float64)
    raise _unclear(numbers, label, get)


def unit_of(numbers: np.ndarray) -> str | None:
    """Return the unit or date format that all numbers share, or None."""
    smallest, largest = numbers.min(), numbers.max()
    for unit, per_second in UNITS.items():
        if smallest >= _EARLIEST * per_second and largest < _LATEST * per_second:
            return unit
    for name, factor in _DIGITS_OF_TIME.items():
        first, end = _FIRST_YEAR * 10**4 * factor, _END_YEAR * 10**4 * factor
        if smallest >= first and largest < end and _dates_of_digits(numbers, factor)[1].all():
            return name
    return None


def _are_small(numbers: np.ndarray) -> bool:
    """Tell whether all numbers are too small for any unit, and none is a date."""
    days = numbers[(numbers >= _FIRST_YEAR * 10**4) & (numbers < _END_YEAR * 10**4)]
    return bool(numbers.max() < _EARLIEST) and not _dates_of_digits(days, 1)[1].any()


def _seconds(numbers: np.ndarray, per_second: int) -> np.ndarray:
    if numbers.dtype.kind == "f" or per_second == 1:
        return numbers.astype(np.float64) / per_second
    # A float cannot hold all digits of nanoseconds.
    whole, part = np.divmod(numbers, per_second)
    return whole + part / per_second


def _dates_of_digits(numbers: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the datetimes that the digits stand for, and which of them exist."""
    whole = numbers.astype(np.int64)
    day, time = np.divmod(whole, factor)
    time = time * 100 if factor == 10**4 else time
    names = ("year", "month", "day", "hour", "minute", "second")
    values = [day // 10**4, day // 100 % 100, day % 100]
    values += [time // 10**4, time // 100 % 100, time % 100]
    times, exist = _assembled(dict(zip(names, values, strict=True)))
    return times, exist & (whole == numbers)


def _unclear(numbers: np.ndarray, label: Label, get: Callable[[int], Any]) -> ValueError:
    """Return the error for numbers whose unit is not clear."""

    def said(row: int) -> str:
        kind = unit_of(numbers[row : row + 1])
        if kind is not None:
            return f"a time in {kind}" if kind in UNITS else f"a date written as {kind}"
        small = numbers[row] < _EARLIEST
        return "too small for any unit" if small else f"not between {_YEARS} in any unit"

    def is_clear(n_rows: int) -> bool:
        return unit_of(numbers[:n_rows]) is not None or _are_small(numbers[:n_rows])

    row = bisect_left(range(1, len(numbers) + 1), True, key=lambda n: not is_clear(n))
    other = "" if row == 0 else f", but {label.place(0)} holds {shown(get(0))} ({said(0)})"
    return ValueError(
        f"{label.holds(row, get(row))} ({said(row)}){other}. Give the unit, for example "
        "time_unit='s' (also 'ms', 'us', 'ns'), or correct these rows."
    )
