"""What encoders encode: the events of a batch that are known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Events(NamedTuple):
    """The known events of a batch of users, oldest first, as flat columns."""

    rows: np.ndarray
    offsets: np.ndarray
    timestamps: np.ndarray | None
    weights: np.ndarray | None

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    def of_users(self, start: int, stop: int) -> Events:
        """Return the events of a stretch of users, without copying."""
        events = slice(self.offsets[start], self.offsets[stop])
        return Events(
            self.rows[events],
            self.offsets[start : stop + 1] - self.offsets[start],
            None if self.timestamps is None else self.timestamps[events],
            None if self.weights is None else self.weights[events],
        )

    def take(self, events: np.ndarray, offsets: np.ndarray) -> Events:
        """Return the picked events under new offsets."""
        return Events(
            self.rows[events],
            offsets,
            None if self.timestamps is None else self.timestamps[events],
            None if self.weights is None else self.weights[events],
        )
