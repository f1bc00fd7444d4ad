"""Days of the calendar from the numbers of year, month and day."""

from __future__ import annotations

import numpy as np


def days_of(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return days as datetime64[D], and which of them are in the calendar."""
    months = (year.astype(np.int64) - 1970) * 12 + month - 1
    if not len(months):
        return months.astype("datetime64[D]"), np.empty(0, dtype=bool)
    # Logs span few months: the days are counted once a month, not once a row.
    earliest = months.min()
    starts = np.arange(earliest, months.max() + 2).astype("datetime64[M]").astype("datetime64[D]")
    months -= earliest
    n_days = np.diff(starts).astype(np.int64)[months]
    exists = (month >= 1) & (month <= 12) & (day >= 1) & (day <= n_days) & (year >= 1)
    return starts[months] + (day.astype(np.int64) - 1), exists
