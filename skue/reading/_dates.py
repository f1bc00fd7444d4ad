"""Dates in text, parsed. All dates of a column must have one format, found from all of them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from skue.reading._date_formats import TIME_OF_DAY, DateFormat, date_format_of, is_number
from skue.reading._ids import shown
from skue.reading._labels import Label
from skue.reading._numeric_times import days_of, times_of_numbers
from skue.reading._text_columns import TextColumn, shape_of

_MICROSECONDS = np.int64(1_000_000)
_ROWS_AT_ONCE = 2**20


class _Parts(NamedTuple):
    """The numbers in the dates of a column.

    ``first`` and ``second`` are the day and the month, in an order that is not known yet if
    ``DateFormat.day_or_month_first``; otherwise the month and the day.
    """

    year: np.ndarray
    first: np.ndarray
    second: np.ndarray
    microseconds: np.ndarray
    is_wrong: np.ndarray


def times_of_text(
    texts: TextColumn, label: Label, *, time_unit: str | None = None, dayfirst: bool | None = None
) -> np.ndarray:
    """Return UTC datetimes, or seconds.

    Parameters
    ----------
    texts : TextColumn
    label : Label
        The column in error messages.
    time_unit : {"s", "ms", "us", "ns"}, default=None
        Unit of numbers.
    dayfirst : bool, default=None
        Whether 03/04/2026 means 3 April.

    Returns
    -------
    times : ndarray of shape (n_rows,), datetime64[us] or float64

    Raises
    ------
    ValueError
        For text that is not a date, for a row in another format than the others, and for dates
        with two possible readings. The message names the rows.
    """
    if not len(texts):
        return np.empty(0, dtype=np.float64)
    first = texts.get(0)
    shape = shape_of(first.encode("utf-8", "surrogatepass"))
    form = date_format_of(shape)
    if form is None and not is_number(shape):
        raise _not_one_format(texts, label)
    if form is None:
        return times_of_numbers(_numbers(texts, label), label, time_unit, texts.get)
    if time_unit is not None:
        raise unit_of_date(label, first, time_unit)
    if form.short_year and not (dayfirst or (form.day_or_month_first and dayfirst is False)):
        raise ValueError(
            f"{label.holds(0, first)}, where day, month and year cannot be told apart. Write the "
            "year with four digits, or set dayfirst=True for d/m/y or dayfirst=False for m/d/y "
            "(--dayfirst yes or no on the command line)."
        )
    parts = _parts(texts, form.way, label)
    month, day, order = parts.first, parts.second, ""
    if form.day_or_month_first:
        order = " with the month first"
        if _is_day_first(parts, form, dayfirst, texts, label):
            month, day, order = parts.second, parts.first, " with the day first"
    times, is_date = _assembled(parts, month, day)
    if not is_date.all():
        row = int(np.flatnonzero(~is_date)[0])
        raise ValueError(
            f"{label.holds(row, texts.get(row))}, which is not a valid date{order}. Correct or "
            "drop such rows first."
        )
    return times


def unit_of_date(label: Label, date: object, time_unit: str) -> ValueError:
    """Return the error for a unit of numbers that was given for dates."""
    return ValueError(
        f"{label.holds(0, date)}, a date, but time_unit={time_unit!r} is for numbers. "
        "Leave time_unit out."
    )


def looks_like_dates(texts: TextColumn) -> bool:
    """Tell whether all rows are dates in one format. Numbers do not count as dates."""
    ways = set()
    for _, text in texts.rows():
        form = date_format_of(shape_of(text))
        if form is None:
            return False
        ways.add(form.way)
    return len(ways) == 1


def _parts(texts: TextColumn, way: tuple[object, ...], label: Label) -> _Parts:
    n = len(texts)
    parts = _Parts(
        np.empty(n, dtype=np.int16),
        np.empty(n, dtype=np.int8),
        np.empty(n, dtype=np.int8),
        np.empty(n, dtype=np.int64),
        np.zeros(n, dtype=bool),
    )
    for chunk in texts.chunks():
        for rows, letters, shape in chunk.shapes():
            form = date_format_of(shape)
            if form is None or form.way != way:
                raise _not_one_format(texts, label)
            _read(parts, chunk.first + rows, letters, form)
    return parts


def _read(parts: _Parts, rows: np.ndarray, letters: np.ndarray, form: DateFormat) -> None:
    """Store the numbers of rows that have one shape."""

    def number(part: str) -> np.ndarray | int:
        return digits(letters, form.spans[part]) if part in form.spans else 0

    year = number("year")
    if form.short_year:
        # As in POSIX: 1969 to 2068.
        year = year + np.where(np.asarray(year) >= 69, 1900, 2000)
    parts.year[rows] = year
    if form.day_or_month_first:
        parts.first[rows], parts.second[rows] = number("first"), number("second")
    else:
        parts.first[rows] = form.month or number("month")
        parts.second[rows] = number("day")
    hour, minute, second = number("hour"), number("minute"), number("second_")
    wrong = np.asarray((minute > 59) | (second > 59))
    if form.afternoon is None:
        wrong = wrong | (hour > 23)
    else:
        wrong = wrong | (hour < 1) | (hour > 12)
        hour = hour % 12 + 12 * form.afternoon
    microseconds = ((hour * 60 + minute) * 60 + second) * _MICROSECONDS
    if "part" in form.spans:
        start, stop = form.spans["part"]
        microseconds = microseconds + digits(letters, (start, min(stop, start + 6))) * 10 ** max(
            0, 6 - (stop - start)
        )
    if "ahead" in form.spans:
        ahead, ahead_minutes = number("ahead"), number("ahead_minutes")
        wrong = wrong | (ahead > 23) | (ahead_minutes > 59)
        offset = (ahead * 60 + ahead_minutes) * 60 * _MICROSECONDS
        microseconds = microseconds + (offset if form.behind else -offset)
    parts.microseconds[rows] = microseconds
    parts.is_wrong[rows] = wrong


def digits(letters: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Return the integers written in these columns of letters, int64."""
    start, stop = span
    number = np.zeros(len(letters), dtype=np.int64)
    for column in range(start, stop):
        number *= 10
        number += letters[:, column]
        number -= ord("0")
    return number


def _assembled(parts: _Parts, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the datetimes, and which of them exist."""
    times = np.empty(len(month), dtype="datetime64[us]")
    exists = np.empty(len(month), dtype=bool)
    for start in range(0, len(month), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        days, exists[part] = days_of(parts.year[part], month[part], day[part])
        times[part] = days.astype("datetime64[us]") + parts.microseconds[part].astype(
            "timedelta64[us]"
        )
    return times, exists & ~parts.is_wrong


def _is_day_first(
    parts: _Parts, form: DateFormat, dayfirst: bool | None, texts: TextColumn, label: Label
) -> bool:
    """Tell whether 03/04/2026 means 3 April, from the option or from the other dates."""
    if dayfirst is not None:
        return dayfirst
    if form.way[1] == ".":
        return True
    day_first, month_first = np.flatnonzero(parts.first > 12), np.flatnonzero(parts.second > 12)
    if len(day_first) and len(month_first):
        other, row = sorted((int(day_first[0]), int(month_first[0])))
        raise ValueError(
            f"{label.holds(row, texts.get(row))}, but {label.place(other)} holds "
            f"{shown(texts.get(other))}: the day is first in one and second in the other. Write "
            "all dates as 2026-01-31."
        )
    if not len(day_first) and not len(month_first):
        raise ValueError(
            f"{label.holds(0, texts.get(0))}: day and month cannot be told apart, here and in all "
            "other rows. Set dayfirst=True for d/m or dayfirst=False for m/d (--dayfirst yes or "
            "no on the command line), or write dates as 2026-01-31."
        )
    return bool(len(day_first))


def _numbers(texts: TextColumn, label: Label) -> np.ndarray:
    """Return numbers: int64 if all are whole and fit, otherwise float64."""
    whole = np.zeros(len(texts), dtype=np.int64)
    others: list[tuple[np.ndarray, np.ndarray]] = []
    for chunk in texts.chunks():
        for rows, letters, shape in chunk.shapes():
            if not is_number(shape):
                raise _not_one_format(texts, label)
            if shape.strip("9") == "" and _fits(letters):
                whole[chunk.first + rows] = digits(letters, (0, len(shape)))
            else:
                numbers = letters.view(f"S{letters.shape[1]}")[:, 0].astype(np.float64)
                others.append((chunk.first + rows, numbers))
    if all((np.abs(held) < 2.0**53).all() and (held % 1 == 0).all() for _, held in others):
        for rows, held in others:
            whole[rows] = held
        return whole
    numbers = whole.astype(np.float64)
    for rows, held in others:
        numbers[rows] = held
    return numbers


def _fits(letters: np.ndarray) -> bool:
    """Tell whether rows of digits surely fit into 64 bits: 19 digits may not if they start at 9."""
    length = letters.shape[1]
    return length < 19 or (length == 19 and bool((letters[:, 0] < ord("9")).all()))


def _not_one_format(texts: TextColumn, label: Label) -> ValueError:
    """Return the error for a column with several formats, or with a row that is not a time."""
    first_of: dict[tuple[object, ...], int] = {}
    counts: Counter[tuple[object, ...]] = Counter()
    for row, text in texts.rows():
        shape = shape_of(text)
        form = date_format_of(shape)
        if form is None and not is_number(shape):
            return _no_time(texts, label, row, shape)
        way = ("number",) if form is None else form.way
        first_of.setdefault(way, row)
        counts[way] += 1
    usual, odd = counts.most_common()[0][0], counts.most_common()[-1][0]
    row, other = first_of[odd], first_of[usual]
    return ValueError(
        f"{label.holds(row, texts.get(row))}, but {label.place(other)} holds "
        f"{shown(texts.get(other))}, in another format. Use one format for all times of a column, "
        "for example 2026-01-31T12:00:00."
    )


def _no_time(texts: TextColumn, label: Label, row: int, shape: str) -> ValueError:
    if not texts.get(row).strip():
        return label.empty(row, sum(not text.strip() for _, text in texts.rows()))
    what = label.holds(row, texts.get(row))
    if TIME_OF_DAY.fullmatch(shape):
        return ValueError(f"{what}, a time of day without a date. Write the date before it.")
    return ValueError(
        f"{what}, which is not a date that skue can read. Write dates as 2026-01-31 or "
        "2026-01-31T12:00:00, or times as seconds."
    )
