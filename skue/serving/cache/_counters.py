"""What happened to a cache, in numbers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence


class Counters:
    """Counts of events, and the ages of the vectors that were served from a cache."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._age_sum, self._age_max = 0.0, 0.0

    def add(self, **counts: int) -> None:
        """Count what happened."""
        with self._lock:
            self._counts.update(counts)

    def served(self, statuses: Sequence[str], ages: Sequence[float]) -> None:
        """Count one answer: the status of each user, the ages of the cached and the stale."""
        with self._lock:
            self._counts["hits"] += statuses.count("cached")
            self._counts["misses"] += len(statuses) - statuses.count("cached")
            self._counts["fresh"] += statuses.count("fresh")
            self._counts["stale"] += statuses.count("stale")
            self._counts["fallbacks"] += statuses.count("fallback")
            self._age_sum += sum(ages)
            self._age_max = max([self._age_max, *ages])

    def numbers(self) -> dict[str, float]:
        """Return all of them, as ``UserVectorCache.counters`` describes."""
        with self._lock:
            counts = self._counts.copy()
            age_sum, age_max = self._age_sum, self._age_max
        names = (
            *("hits", "misses", "fresh", "stale", "fallbacks", "timeouts", "shed"),
            *("errors", "absent", "load_errors", "damaged"),
        )
        numbers: dict[str, float] = {name: counts[name] for name in names}
        numbers["unknown_item_rate"] = counts["unknown_events"] / max(counts["events"], 1)
        numbers["mean_vector_age"] = age_sum / max(counts["hits"] + counts["stale"], 1)
        numbers["max_vector_age"] = age_max
        return numbers
