"""Times as numbers: seconds or fractions of them since 1970, or dates such as 20260131."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skue.reading._ids import shown
from skue.reading._labels import DROP, Label

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# The seconds from 1990 to 2100. No number is in this range in two units.
_EARLIEST, _LATEST = 631_152_000, 4_102_444_800
# Dates as whole numbers: 20260131, 202601311259 and 20260131125959.
_DIGITS_OF_TIME = {"YYYYMMDD": 1, "YYYYMMDDhhmm": 10**4, "YYYYMMDDhhmmss": 10**6}
_FIRST_DAY, _LAST_DAY = 1990_01_01, 2100_12_31


def check_time_options(time_unit: str | None, dayfirst: bool | None) -> None:
    """Raise for invalid values of ``time_unit`` and ``dayfirst``."""
    if time_unit is not None and time_unit not in UNITS:
        raise ValueError(
            f"The 'time_unit' parameter must be one of {list(UNITS)} or None. Got {time_unit!r} "
            "instead."
        )
    if dayfirst is not None and not isinstance(dayfirst, bool):
        raise ValueError(
            f"The 'dayfirst' parameter must be True, False or None. Got {dayfirst!r} instead."
        )


def times_of_numbers(
    numbers: np.ndarray,
    label: Label,
    time_unit: str | None = None,
    get: Callable[[int], Any] | None = None,
) -> np.ndarray:
    """Return seconds, or datetimes for dates such as 20260131.

    Without a unit, all numbers must be times from 1990 to 2100 in the same unit, or dates in the
    same format. If all numbers are too small for that, they are counted as seconds, because only
    their order matters then.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows,), integers or floats
    label : Label
    time_unit : {"s", "ms", "us", "ns"}, default=None
    get : callable, default=None
        Returns the value of a row for error messages; by default the number.

    Returns
    -------
    times : ndarray of shape (n_rows,), float64 or datetime64[us]

    Raises
    ------
    ValueError
        For numbers that are not finite or whose unit is unclear, naming rows.
    """
    get = get or (lambda row: numbers[row].item())
    if not len(numbers):
        return numbers.astype(np.float64)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(f"{label.holds(row, get(row))}, which is not a time. {DROP}")
    if time_unit is not None:
        return _seconds(numbers, UNITS[time_unit])
    smallest, largest = numbers.min(), numbers.max()
    for per_second in UNITS.values():
        if smallest >= _EARLIEST * per_second and largest < _LATEST * per_second:
            return _seconds(numbers, per_second)
    if largest < _FIRST_DAY:
        return numbers.astype(np.float64)
    for factor in _DIGITS_OF_TIME.values():
        if smallest >= _FIRST_DAY * factor and largest < (_LAST_DAY + 1) * factor:
            times, exists = _dates_of_digits(numbers, factor)
            if exists.all():
                return times
    kinds = _kinds(numbers)
    if (kinds == "small").all():
        return numbers.astype(np.float64)
    raise _unclear(kinds, label, get)


def unit_of(numbers: np.ndarray) -> str | None:
    """Return the unit or date format that all numbers share, or None."""
    kinds = np.unique(_kinds(numbers))
    return None if len(kinds) != 1 or kinds[0] in ("small", "none") else str(kinds[0])


def _seconds(numbers: np.ndarray, per_second: int) -> np.ndarray:
    if numbers.dtype.kind == "f" or per_second == 1:
        return numbers.astype(np.float64) / per_second
    # A float cannot hold all digits of nanoseconds.
    wide = numbers.astype(np.uint64 if numbers.dtype.kind == "u" else np.int64, copy=False)
    whole, part = np.divmod(wide, per_second)
    return whole + part / per_second


def _dates_of_digits(numbers: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the datetimes that the digits stand for, and which of them exist."""
    whole = numbers.astype(np.int64)
    day, time = np.divmod(whole, factor)
    if factor == 10**4:
        time = time * 100
    hour, minute, second = time // 10**4, time // 100 % 100, time % 100
    days, exists = days_of(day // 10**4, day // 100 % 100, day % 100)
    exists = exists & (hour < 24) & (minute < 60) & (second < 60) & (whole == numbers)
    seconds = (hour * 60 + minute) * 60 + second
    return days.astype("datetime64[us]") + seconds.astype("timedelta64[s]"), exists


def _kinds(numbers: np.ndarray) -> np.ndarray:
    """Return what each number can be: a unit, a date format, "small" or "none"."""
    kinds = np.full(len(numbers), "none", dtype="<U16")
    kinds[numbers < _EARLIEST] = "small"
    for unit, per_second in UNITS.items():
        plausible = (numbers >= _EARLIEST * per_second) & (numbers < _LATEST * per_second)
        kinds[plausible] = unit
    for name, factor in _DIGITS_OF_TIME.items():
        rows = np.flatnonzero(
            (numbers >= _FIRST_DAY * factor) & (numbers < (_LAST_DAY + 1) * factor)
        )
        _, exists = _dates_of_digits(numbers[rows], factor)
        kinds[rows[exists]] = name
    return kinds


def _unclear(kinds: np.ndarray, label: Label, get: Callable[[int], Any]) -> ValueError:
    names, first, counts = np.unique(kinds, return_index=True, return_counts=True)
    way_out = (
        "Give the unit, for example time_unit='s' (--time-unit s on the command line; also 'ms', "
        "'us', 'ns'), or correct these rows."
    )
    if len(names) == 1:
        row = int(first[0])
        return ValueError(
            f"{label.holds(row, get(row))}, which is not between 1990 and 2100 in any unit. "
            f"{way_out}"
        )
    row, other = int(first[counts.argmin()]), int(first[counts.argmax()])
    if row == other:
        row, other = sorted(first.tolist())[1::-1]
    said = {
        "small": "too small for any unit",
        "none": "not between 1990 and 2100 in any unit",
        **{unit: f"a time in {unit}" for unit in UNITS},
        **{name: f"a date written as {name}" for name in _DIGITS_OF_TIME},
    }
    return ValueError(
        f"{label.holds(row, get(row))} ({said[str(kinds[row])]}), but "
        f"{label.place(other)} holds {shown(get(other))} ({said[str(kinds[other])]}). {way_out}"
    )


def days_of(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the days as datetime64[D], and which of them exist."""
    months = (year.astype(np.int64) - 1970) * 12 + month - 1
    if not len(months):
        return months.astype("datetime64[D]"), np.empty(0, dtype=bool)
    # A log spans few months, so the first day of each is computed once, not for every row.
    earliest = months.min()
    starts = np.arange(earliest, months.max() + 2).astype("datetime64[M]").astype("datetime64[D]")
    months -= earliest
    n_days = np.diff(starts).astype(np.int64)[months]
    exists = (month >= 1) & (month <= 12) & (day >= 1) & (day <= n_days) & (year >= 1)
    return starts[months] + (day.astype(np.int64) - 1), exists
