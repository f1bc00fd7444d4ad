"""Numbers, times and commands in words."""

from __future__ import annotations

from typing import Any

import numpy as np

# Seconds that are dates of 1990 to 2100.
_DATES_IN_SECONDS = (631_152_000, 4_133_980_800)


def moment(time: Any) -> str:
    """Return a time as a date; numbers that cannot be dates in seconds stay numbers."""
    if not isinstance(time, np.datetime64):
        first, last = _DATES_IN_SECONDS
        if not first <= time <= last:
            return f"{time:g}"
        time = np.datetime64(int(time), "s")
    return str(time.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")


def listed(parts: list[str]) -> str:
    """Return parts joined as in a sentence."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
