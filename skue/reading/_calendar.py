"""Days of the calendar from the numbers of year, month and day."""

from __future__ import annotations

import numpy as np


def days_of(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return days as datetime64[D], and which of them are in the calendar."""
    months = ((year.astype(np.int64) - 1970) * 12 + month - 1).astype("datetime64[M]")
    first = months.astype("datetime64[D]")
    n_days = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
    exists = (month >= 1) & (month <= 12) & (day >= 1) & (day <= n_days) & (year >= 1)
    return first + (day.astype(np.int64) - 1), exists
