"""How old each event of a history is."""

from __future__ import annotations

import numpy as np

from skue.encoders._events import Events
from skue.kernels._segments import elapsed_ages, instant_ages, step_ages

AGE_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "D": 86400.0, "W": 604800.0}

AGE_UNITS = {"step", "instant", *AGE_SECONDS}


def event_ages(events: Events, age_unit: str) -> np.ndarray:
    """Return the age of every event, float64; 0 for a user's newest."""
    if age_unit == "step":
        return step_ages(events.offsets)
    timestamps = events.timestamps
    if timestamps is None:
        raise ValueError(
            f"age_unit={age_unit!r} needs timestamps, and X has none. Pass Histories or a frame "
            "with timestamps, or set age_unit='step'."
        )
    if age_unit == "instant":
        return instant_ages(timestamps, events.offsets)
    return elapsed_ages(as_seconds(timestamps), events.offsets, AGE_SECONDS[age_unit])


def as_seconds(timestamps: np.ndarray) -> np.ndarray:
    """Return datetimes as seconds since 1970, numbers as they are."""
    if timestamps.dtype.kind == "M":
        return timestamps.astype("datetime64[us]").astype(np.int64) / 1e6
    return timestamps
