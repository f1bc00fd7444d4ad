"""The date formats that skue reads, as a short list of patterns."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTH = "|".join(f"{name}|{name[:3]}\\.?" for name in _MONTHS) + "|sept\\.?"
_DAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? )?"
_DATES = {
    "year first": r"(?P<year>9999)(?P<mark>[-/.])(?P<month>99?)(?P=mark)(?P<day>99?)",
    "year last": r"(?P<first>99?)(?P<mark>[-/. ])(?P<second>99?)(?P=mark)(?P<year>9999|99)",
    "day and name": rf"{_DAY}(?P<day>99?)(?P<mark>\.? |-|/|)(?P<name>{_MONTH})"
    r"(?:,? |-|/|)(?P<year>9999|99)",
    "name and day": rf"{_DAY}(?P<name>{_MONTH})(?P<mark> )(?P<day>99?),? (?P<year>9999)",
}
_TIME = (
    r"(?P<between>,? |t)(?P<hour>99?):(?P<minute>99)(?::(?P<second_>99)(?:[.,](?P<part>9{1,9}))?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?"
)
_ZONE = r"(?: ?(?P<zone>z|utc|gmt|(?P<sign>[-+])(?P<ahead>99):?(?P<ahead_minutes>99)?))?"
_PATTERNS = [
    (kind, re.compile(rf" *{date}(?:{_TIME}{_ZONE})? *")) for kind, date in _DATES.items()
] + [
    (
        "no marks",
        re.compile(
            r" *(?P<year>9999)(?P<month>99)(?P<day>99)(?P<between>t)(?P<hour>99)(?P<minute>99)"
            rf"(?:(?P<second_>99)(?:[.,](?P<part>9{{1,9}}))?)?{_ZONE} *"
        ),
    )
]
_NUMBER = re.compile(r" *[-+]?(?:9+(?:\.9*)?|\.9+)(?:e[-+]?9+)? *")
TIME_OF_DAY = re.compile(r" *99?:99(?::99(?:[.,]9+)?)?(?: ?[ap]\.?m\.?)? *")

Span = tuple[int, int]


class DateFormat(NamedTuple):
    """How a date is written.

    Attributes
    ----------
    way : tuple
        What all rows of a column must have in common.
    spans : dict of str to (start, stop)
        The positions of the digits of each part.
    month : int or None
        The month, if its name is written.
    afternoon : bool or None
        None on a 24-hour clock.
    behind : bool
        Whether the offset of the time zone is negative.
    """

    way: tuple[object, ...]
    spans: dict[str, Span]
    month: int | None
    afternoon: bool | None
    behind: bool

    @property
    def day_or_month_first(self) -> bool:
        """Whether the format leaves open if the day or the month comes first."""
        return "first" in self.spans

    @property
    def short_year(self) -> bool:
        start, stop = self.spans["year"]
        return stop - start == 2


@lru_cache(maxsize=4096)
def date_format_of(shape: str) -> DateFormat | None:
    """Return the date format of a shape, or None."""
    for kind, pattern in _PATTERNS:
        match = pattern.fullmatch(shape)
        if match is not None:
            return _format_of_match(kind, match)
    return None


def is_number(shape: str) -> bool:
    """Tell whether a shape is that of a number."""
    return _NUMBER.fullmatch(shape) is not None


def _format_of_match(kind: str, match: re.Match[str]) -> DateFormat:
    parts = match.groupdict()
    name = parts.get("name")
    digits = {
        "year", "month", "day", "first", "second", "hour", "minute", "second_", "part", "ahead",
        "ahead_minutes",
    }  # fmt: skip
    way = (
        kind,
        parts.get("mark"),
        len(parts["year"]),
        parts.get("between"),
        parts.get("half") is not None,
        parts["zone"] is not None,
    )
    half = parts.get("half")
    return DateFormat(
        way,
        {part: match.span(part) for part in digits if parts.get(part) is not None},
        None if name is None else [month[:3] for month in _MONTHS].index(name[:3]) + 1,
        None if half is None else half == "p",
        parts.get("sign") == "-",
    )
