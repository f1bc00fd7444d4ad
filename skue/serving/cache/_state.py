"""State that the threads of a cache share: vectors, claims, invalidations and counters."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from skue.serving.cache._entries import Entry
from skue.serving.cache._tasks import Task


class SharedState:
    """Vectors in memory, claims of users and invalidations, under one lock.

    Each method takes the lock once and calls no other code while holding it. If an exception
    interrupts a method, the state stays valid for all other threads.

    Parameters
    ----------
    max_entries : int
        How many vectors are kept.
    max_age : float or None
        Seconds for which a vector may be served as "cached".
    """

    def __init__(self, max_entries: int, max_age: float | None) -> None:
        self.lock = threading.Lock()
        self._max_entries, self._max_age = max_entries, max_age
        # The entry of each user and whether it may be served as "cached", newest last.
        self._memory: OrderedDict[Any, tuple[Entry, bool]] = OrderedDict()
        self._claims: dict[Any, Task] = {}
        self._sweep_at = 1000
        # Users whose entries in the store are ignored: they were invalidated, and the store has
        # not removed the entries yet. The values distinguish successive invalidations.
        self._distrusted: dict[Any, object] = {}
        # Tasks that may still write an outdated entry of an invalidated user.
        self._late_writers: dict[Any, list[Task]] = {}

    def __len__(self) -> int:
        return len(self._memory)

    def is_young(self, entry: Entry, now: float) -> bool:
        return self._max_age is None or now - entry.time <= self._max_age

    def recall(
        self, users: Iterable[Any], now: float
    ) -> tuple[dict[Any, tuple[Entry, str]], list[Any]]:
        """Return the entries that may be served as "cached", and the users without one."""
        found: dict[Any, tuple[Entry, str]] = {}
        missing = []
        oldest = -float("inf") if self._max_age is None else now - self._max_age
        memory = self._memory
        with self.lock:
            for user in users:
                held = memory.get(user)
                if held is not None and held[1] and held[0].time >= oldest:
                    memory.move_to_end(user)
                    found[user] = held[0], "cached"
                else:
                    missing.append(user)
        return found, list(dict.fromkeys(missing)) if missing else missing

    def last_good(self, user: Any) -> Entry | None:
        """Return the user's newest entry, however old."""
        with self.lock:
            held = self._memory.get(user)
        return None if held is None else held[0]

    def remember(self, task: Task, entries: Mapping[Any, Entry]) -> None:
        """Keep the entries of a task, those of invalidated users only to be served as "stale"."""
        with self.lock:
            for user, entry in entries.items():
                current = user not in task.outdated
                if current or user not in self._memory:
                    self._memory[user] = entry, current
                    self._memory.move_to_end(user)
            while len(self._memory) > self._max_entries:
                self._memory.popitem(last=False)

    def claim(self, users: Iterable[Any], task: Task) -> dict[Any, Task]:
        """Claim the users that no task computes; return the task that computes each user."""
        holders = {}
        with self.lock:
            self._sweep()
            for user in users:
                holder = self._claims.get(user)
                if holder is None or holder.done():
                    holder = self._claims[user] = task
                    task.users.append(user)
                holders[user] = holder
        return holders

    def take(self, task: Task) -> None:
        """Mark the task as taken by a pool, and drop users that another task has claimed since.

        Another task can claim them if the caller was interrupted: see :class:`Task`.
        """
        with self.lock:
            task.taken = True
            task.users = [
                user
                for user in task.users
                if self._claims.get(user) is task or user in task.outdated
            ]

    def release(self, task: Task) -> list[Any]:
        """Drop the claims of a task, and return its users that were invalidated meanwhile."""
        with self.lock:
            for user in task.users:
                if self._claims.get(user) is task:
                    del self._claims[user]
            return list(task.outdated)

    def forget(self, users: Iterable[Any], *, distrust: bool) -> None:
        """Make the next caller compute users anew; ``distrust`` ignores their stored entries."""
        token = object()
        with self.lock:
            for user in users:
                task = self._claims.get(user)
                if distrust:
                    self._distrusted[user] = token
                    if task is not None:
                        self._late_writers.setdefault(user, []).append(task)
                if task is not None:
                    task.outdated.add(user)
                    del self._claims[user]
                if user in self._memory:
                    self._memory[user] = self._memory[user][0], False

    def trusted(self, users: Iterable[Any]) -> list[Any]:
        """Return the users whose entries in the store are valid."""
        with self.lock:
            return [user for user in users if user not in self._distrusted]

    def current(self, task: Task, users: Iterable[Any]) -> list[Any]:
        """Return the users that were not invalidated since the task claimed them."""
        with self.lock:
            return [user for user in users if user not in task.outdated]

    def removable(self, users: Iterable[Any] | None, most: int = 0) -> dict[Any, object]:
        """Return users to be trusted again once the store has removed or replaced their entries.

        Users are left out while a task may still write an outdated entry. If ``users`` is None,
        the ``most`` users that were invalidated first are considered.

        Returns
        -------
        tokens : dict of user to object
            For :meth:`trust`.
        """
        with self.lock:
            return {
                user: self._distrusted[user]
                for user in (islice(self._distrusted, most) if users is None else users)
                if user in self._distrusted and not self._has_late_writer(user)
            }

    def trust(self, tokens: Mapping[Any, object]) -> None:
        """Trust the entries of users again, unless they were invalidated again since."""
        with self.lock:
            for user, token in tokens.items():
                if self._distrusted.get(user) is token:
                    del self._distrusted[user]

    def _has_late_writer(self, user: Any) -> bool:
        writers = self._late_writers.get(user, ())
        if all(task.done() for task in writers):
            self._late_writers.pop(user, None)
            return False
        return True

    def _sweep(self) -> None:
        """Drop the claims of interrupted tasks once there may be many."""
        if len(self._claims) + len(self._late_writers) <= self._sweep_at:
            return
        self._claims = {user: task for user, task in self._claims.items() if not task.done()}
        for user in list(self._late_writers):
            self._has_late_writer(user)
        self._sweep_at = 2 * (len(self._claims) + len(self._late_writers)) + 1000


class Counters:
    """Counters of a cache, and the ages of the vectors that it served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._age_sum, self._age_max = 0.0, 0.0

    def add(self, **counts: int) -> None:
        """Increase counters."""
        with self._lock:
            self._counts.update(counts)

    def served(self, statuses: Sequence[str], ages: Sequence[float]) -> None:
        """Count one answer: the status of each user and the ages of cached and stale vectors."""
        with self._lock:
            self._counts["hits"] += statuses.count("cached")
            self._counts["misses"] += len(statuses) - statuses.count("cached")
            self._counts["fresh"] += statuses.count("fresh")
            self._counts["stale"] += statuses.count("stale")
            self._counts["fallbacks"] += statuses.count("fallback")
            self._age_sum += sum(ages)
            self._age_max = max([self._age_max, *ages])

    def numbers(self) -> dict[str, float]:
        """Return all counters, as described in ``UserVectorCache.counters``."""
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
