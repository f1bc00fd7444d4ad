"""Dates written as text. A column has one way of writing them, decided from all of it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from skue.reading._calendar import days_of
from skue.reading._ids import shown
from skue.reading._labels import Label
from skue.reading._layouts import TIME_OF_DAY, Layout, is_number, layout_of
from skue.reading._number_times import times_of_numbers
from skue.reading._texts import Texts, shape_of

_MICROSECONDS = np.int64(1_000_000)
_NOT_READ = (
    "which is no date that skue reads. Write dates as 2026-01-31 or 2026-01-31T12:00:00, "
    "or times as seconds."
)


class _Parts(NamedTuple):
    """The numbers of which the dates of a column consist; ``first`` and ``second`` are a day
    and a month, in an order that the column must tell."""

    year: np.ndarray
    first: np.ndarray
    second: np.ndarray
    microseconds: np.ndarray
    is_wrong: np.ndarray


def times_of_text(
    texts: Texts, label: Label, *, time_unit: str | None = None, dayfirst: bool | None = None
) -> np.ndarray:
    """Return UTC datetimes, or seconds.

    Parameters
    ----------
    texts : Texts
    label : Label
        What error messages call the column and its rows.
    time_unit : {"s", "ms", "us", "ns"}, default=None
        Unit of numbers.
    dayfirst : bool, default=None
        Whether 03/04/2026 is the 3rd of April.

    Returns
    -------
    times : ndarray of shape (n_rows,), datetime64[us] or float64

    Raises
    ------
    ValueError
        For what is no date, for a row that is written in another way than the others, and for
        dates that can be read in two ways. The message names the rows.
    """
    if not len(texts):
        return np.empty(0, dtype=np.float64)
    shape = shape_of(texts.get(0).encode("utf-8", "surrogatepass"))
    layout = layout_of(shape)
    if layout is None and not is_number(shape):
        raise _other_way(texts, label)
    if layout is None:
        return times_of_numbers(_numbers(texts, label), label, time_unit, texts.get)
    if time_unit is not None:
        raise ValueError(
            f"{label.at(0)} holds {shown(texts.get(0))}, a date, but time_unit={time_unit!r} is "
            "for numbers. Leave time_unit out."
        )
    if layout.short_year and not (dayfirst or (layout.day_or_month_first and dayfirst is False)):
        raise ValueError(
            f"{label.at(0)} holds {shown(texts.get(0))}, where day, month and year cannot be told "
            "apart. Write the year with four digits, or say dayfirst=True for d/m/y or "
            "dayfirst=False for m/d/y (--dayfirst yes or no on the command line)."
        )
    parts = _parts(texts, layout.way, label)
    if layout.day_or_month_first:
        day_first = _is_day_first(parts, layout, dayfirst, texts, label)
        day, month = (parts.first, parts.second) if day_first else (parts.second, parts.first)
    else:
        month, day = parts.first, parts.second
    times, is_date = _assembled(parts, month, day)
    if not is_date.all():
        row = int(np.flatnonzero(~is_date)[0])
        order = ""
        if layout.day_or_month_first:
            order = " with the day first" if day_first else " with the month first"
        raise ValueError(
            f"{label.at(row)} holds {shown(texts.get(row))}, which is no date{order}. Correct or "
            "drop such rows first."
        )
    return times


def looks_like_dates(texts: Texts) -> bool:
    """Tell whether all rows are dates written in one way. Numbers do not count as dates."""
    ways = set()
    for _, text in texts.rows():
        layout = layout_of(shape_of(text))
        if layout is None:
            return False
        ways.add(layout.way)
    return len(ways) == 1


def _parts(texts: Texts, way: tuple[object, ...], label: Label) -> _Parts:
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
            layout = layout_of(shape)
            if layout is None or layout.way != way:
                raise _other_way(texts, label)
            _read(parts, chunk.first + rows, letters, layout)
    return parts


def _read(parts: _Parts, rows: np.ndarray, letters: np.ndarray, layout: Layout) -> None:
    """Put the numbers of rows that are all written alike where they belong."""

    def number(part: str) -> np.ndarray | int:
        return digits(letters, layout.spans[part]) if part in layout.spans else 0

    year = number("year")
    if layout.short_year:
        # As POSIX reads them: 1969 to 2068.
        year = year + np.where(np.asarray(year) >= 69, 1900, 2000)
    parts.year[rows] = year
    if layout.day_or_month_first:
        parts.first[rows], parts.second[rows] = number("first"), number("second")
    else:
        parts.first[rows] = layout.month or number("month")
        parts.second[rows] = number("day")
    hour, minute, second = number("hour"), number("minute"), number("second_")
    wrong = np.asarray((minute > 59) | (second > 59))
    if layout.afternoon is None:
        wrong = wrong | (hour > 23)
    else:
        wrong = wrong | (hour < 1) | (hour > 12)
        hour = hour % 12 + 12 * layout.afternoon
    microseconds = ((hour * 60 + minute) * 60 + second) * _MICROSECONDS
    if "part" in layout.spans:
        start, stop = layout.spans["part"]
        microseconds = microseconds + digits(letters, (start, min(stop, start + 6))) * 10 ** max(
            0, 6 - (stop - start)
        )
    if "ahead" in layout.spans:
        ahead, ahead_minutes = number("ahead"), number("ahead_minutes")
        wrong = wrong | (ahead > 23) | (ahead_minutes > 59)
        offset = (ahead * 60 + ahead_minutes) * 60 * _MICROSECONDS
        microseconds = microseconds + (offset if layout.behind else -offset)
    parts.microseconds[rows] = microseconds
    parts.is_wrong[rows] = wrong


def digits(letters: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Return the whole numbers that stand at a place of every row, int64."""
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
    for start in range(0, len(month), 2**20):
        part = slice(start, start + 2**20)
        days, exists[part] = days_of(parts.year[part], month[part], day[part])
        times[part] = days.astype("datetime64[us]") + parts.microseconds[part].astype(
            "timedelta64[us]"
        )
    return times, exists & ~parts.is_wrong


def _is_day_first(
    parts: _Parts, layout: Layout, dayfirst: bool | None, texts: Texts, label: Label
) -> bool:
    """Return whether 03/04/2026 is the 3rd of April: an option or other dates have to tell."""
    if dayfirst is not None:
        return dayfirst
    if layout.way[1] == ".":
        return True
    day_first, month_first = np.flatnonzero(parts.first > 12), np.flatnonzero(parts.second > 12)
    if len(day_first) and len(month_first):
        one, other = int(day_first[0]), int(month_first[0])
        raise ValueError(
            f"{label.at(max(one, other))} holds {shown(texts.get(max(one, other)))}, but "
            f"{label.place(min(one, other))} holds {shown(texts.get(min(one, other)))}: the day "
            "is first in one and second in the other. Write all dates as 2026-01-31."
        )
    if not len(day_first) and not len(month_first):
        raise ValueError(
            f"{label.at(0)} holds {shown(texts.get(0))}: day and month cannot be told apart, here "
            "and in all other rows. Say dayfirst=True for d/m or dayfirst=False for m/d "
            "(--dayfirst yes or no on the command line), or write dates as 2026-01-31."
        )
    return bool(len(day_first))


def _numbers(texts: Texts, label: Label) -> np.ndarray:
    """Return numbers: int64 where all are whole and fit, float64 otherwise."""
    whole = np.zeros(len(texts), dtype=np.int64)
    others: list[tuple[np.ndarray, np.ndarray]] = []
    for chunk in texts.chunks():
        for rows, letters, shape in chunk.shapes():
            if not is_number(shape):
                raise _other_way(texts, label)
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
    """Tell whether digits alone make numbers of 64 bits. 19 digits from 9 on may be too many."""
    length = letters.shape[1]
    return length < 19 or (length == 19 and bool((letters[:, 0] < ord("9")).all()))


def _other_way(texts: Texts, label: Label) -> ValueError:
    """Return the error for a column with a row that is no time, or is written in another way."""
    first_of: dict[tuple[object, ...], int] = {}
    counts: Counter[tuple[object, ...]] = Counter()
    for row, text in texts.rows():
        shape = shape_of(text)
        layout = layout_of(shape)
        if layout is None and not is_number(shape):
            return _no_time(texts, label, row, shape)
        way = ("number",) if layout is None else layout.way
        first_of.setdefault(way, row)
        counts[way] += 1
    usual, odd = counts.most_common()[0][0], counts.most_common()[-1][0]
    row, other = first_of[odd], first_of[usual]
    return ValueError(
        f"{label.at(row)} holds {shown(texts.get(row))}, but {label.place(other)} holds "
        f"{shown(texts.get(other))}, written in another way. Write all times of a column in one "
        "way, for example as 2026-01-31T12:00:00."
    )


def _no_time(texts: Texts, label: Label, row: int, shape: str) -> ValueError:
    what = f"{label.at(row)} holds {shown(texts.get(row))}"
    if TIME_OF_DAY.fullmatch(shape):
        return ValueError(f"{what}, a time of day without a date. Write the date before it.")
    return ValueError(f"{what}, {_NOT_READ}")
