"""The ways of writing a date that skue reads, as a short list of patterns."""

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


class Layout(NamedTuple):
    """How a date is written.

    Attributes
    ----------
    way : tuple
        What all lines of a column must have in common.
    spans : dict
        Where the digits of each part stand.
    month : int or None
        The month, where its name is written.
    afternoon : bool or None
        None on a clock of 24 hours.
    behind : bool
        Whether the offset of the zone has a minus.
    """

    way: tuple[object, ...]
    spans: dict[str, Span]
    month: int | None
    afternoon: bool | None
    behind: bool

    @property
    def day_or_month_first(self) -> bool:
        """Whether the order of day and month has to be found out."""
        return "first" in self.spans

    @property
    def short_year(self) -> bool:
        start, stop = self.spans["year"]
        return stop - start == 2


@lru_cache(maxsize=4096)
def layout_of(shape: str) -> Layout | None:
    """Return how the text of a shape is written, None where it is no date that skue reads."""
    for kind, pattern in _PATTERNS:
        match = pattern.fullmatch(shape)
        if match is not None:
            return _layout(kind, match)
    return None


def is_number(shape: str) -> bool:
    """Tell whether the text of a shape is a number with a decimal point, or a whole one."""
    return _NUMBER.fullmatch(shape) is not None


def _layout(kind: str, match: re.Match[str]) -> Layout:
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
    return Layout(
        way,
        {part: match.span(part) for part in digits if parts.get(part) is not None},
        None if name is None else [month[:3] for month in _MONTHS].index(name[:3]) + 1,
        None if half is None else half == "p",
        parts.get("sign") == "-",
    )
