"""Times as people write them in files: seconds, or dates of many kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue._optional import import_optional

# As seconds, these numbers would lie after the year 5000; so they are ms, µs or ns.
_UNITS_PER_SECOND = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
# Text without a year is no date, although pandas would put today's in.
_HAS_A_YEAR = r"\d{4}|\d{1,2}[./ -](?:\d{1,2}|[A-Za-z]{3,9})[./ -]\d{2}\b"
_NUMERIC_DATE = r"^\s*(\d{1,2})([./ -])(\d{1,2})\2(?:\d{4}|\d{2})\b"

NO_DATE = "holds {}, which is no date"
NO_NUMBER = "holds {}, where other lines hold numbers"
AMBIGUOUS = "holds {}: day and month cannot be told apart"
WAYS_OUT = {
    NO_DATE: "Write dates as 2026-01-31T12:00:00, or times as seconds.",
    NO_NUMBER: "Write all times as seconds, or all as dates.",
    AMBIGUOUS: "Write dates as 2026-01-31.",
}


class UnreadableTimeError(ValueError):
    """Some of the values are not what the others are: which ones, and what to say of them."""

    def __init__(self, bad: np.ndarray, what: str) -> None:
        super().__init__(what)
        self.bad, self.what = bad, what


def is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def read_times(values: Any) -> np.ndarray:
    """Return distinct texts, or other objects, as UTC datetimes or as seconds.

    Raises
    ------
    UnreadableTimeError
        For what is no time, and for dates that can be read in two ways.
    """
    pandas = import_optional("pandas", "io")
    values = pandas.Series(values)
    numbers = pandas.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    if np.isnan(numbers).mean() <= 0.5:
        bad = ~np.isfinite(numbers)
        if bad.any():
            raise UnreadableTimeError(bad, NO_NUMBER)
        return times_of_numbers(numbers)
    # The one format first: it is much faster, and a mixture is worth a second look.
    times = pandas.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    unread = times.isna()
    if unread.any():
        times = _read_other_dates(values, unread)
    return times.dt.tz_localize(None).to_numpy()


def times_of_numbers(numbers: np.ndarray) -> np.ndarray:
    """Return seconds; datetimes where all of the numbers are dates written as 20260131."""
    if not len(numbers):
        return numbers
    if numbers.min() >= 1900_01_01 and numbers.max() <= 2100_12_31:
        pandas = import_optional("pandas", "io")
        distinct, codes = np.unique(numbers, return_inverse=True)
        whole = pandas.Series(distinct.astype(np.int64).astype(str))
        days = pandas.to_datetime(whole, format="%Y%m%d", errors="coerce")
        if not days.isna().any():
            return days.to_numpy()[codes]
    largest = np.abs(numbers).max()
    for bound, per_second in _UNITS_PER_SECOND:
        if largest >= bound:
            return numbers / per_second
    return numbers


def _read_other_dates(values: Any, unread: Any) -> Any:
    pandas = import_optional("pandas", "io")
    text = values.astype(str)
    bad = unread & ~text.str.contains(_HAS_A_YEAR)
    if bad.any():
        raise UnreadableTimeError(bad.to_numpy(), NO_DATE)
    day_first = _day_first(text)
    like_the_first = pandas.tseries.api.guess_datetime_format(text.iloc[0], dayfirst=day_first)
    if like_the_first is not None:
        try:
            return pandas.to_datetime(text, utc=True, format=like_the_first)
        except ValueError:
            pass
    # Each by itself takes ten times as long.
    times = pandas.to_datetime(text, errors="coerce", utc=True, dayfirst=day_first, format="mixed")
    if times.isna().any():
        raise UnreadableTimeError(times.isna().to_numpy(), NO_DATE)
    return times


def _day_first(text: Any) -> bool:
    """Return whether 03/04/2026 is the 3rd of April: some other date has to tell."""
    parts = text.str.extract(_NUMERIC_DATE).dropna()
    if parts.empty or (parts[1] == ".").all():
        return not parts.empty
    day_first, month_first = ((parts[column].astype(int) > 12) for column in (0, 2))
    if day_first.any() and month_first.any():
        rarer = day_first if day_first.sum() <= month_first.sum() else month_first
        raise UnreadableTimeError(_at(rarer, text), NO_DATE)
    if not day_first.any() and not month_first.any():
        raise UnreadableTimeError(_at(parts[0].notna(), text), AMBIGUOUS)
    return bool(day_first.any())


def _at(marked: Any, text: Any) -> np.ndarray:
    return np.asarray(marked.reindex(text.index, fill_value=False), dtype=bool)
