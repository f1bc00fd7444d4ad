"""What a cache knows in memory: vectors, who computes whom, and whom the store is wrong about."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from skue.serving.cache._entries import Entry
from skue.serving.cache._tasks import Task


class Ledger:
    """State that threads share, under one lock; nothing here waits, or calls out.

    Each method takes the lock once. Left half-way by an exception, it leaves a state that is
    right for everybody else.

    Parameters
    ----------
    max_entries : int
        How many vectors are remembered.
    max_age : float or None
        Seconds for which a vector may be served as "cached".
    """

    def __init__(self, max_entries: int, max_age: float | None) -> None:
        self.lock = threading.Lock()
        self._max_entries, self._max_age = max_entries, max_age
        # Newest last: each user's entry, and whether it may be served as "cached".
        self._memory: OrderedDict[Any, tuple[Entry, bool]] = OrderedDict()
        self._claims: dict[Any, Task] = {}
        self._sweep_at = 1000
        # Users whose entries in the store are not believed: they were invalidated, and the store
        # has not removed them yet. The values tell one invalidation from the next.
        self._doubts: dict[Any, object] = {}
        # Tasks that may still write an entry of a user who was invalidated meanwhile.
        self._late_writers: dict[Any, list[Task]] = {}

    def __len__(self) -> int:
        return len(self._memory)

    def is_young(self, entry: Entry, now: float) -> bool:
        return self._max_age is None or now - entry.time <= self._max_age

    def recall(
        self, users: Iterable[Any], now: float
    ) -> tuple[dict[Any, tuple[Entry, str]], list[Any]]:
        """Return what memory may serve as "cached", and who is not there."""
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
        """Keep what a task found out; for users invalidated meanwhile, as a last resort only."""
        with self.lock:
            for user, entry in entries.items():
                current = user not in task.outdated
                if current or user not in self._memory:
                    self._memory[user] = entry, current
                    self._memory.move_to_end(user)
            while len(self._memory) > self._max_entries:
                self._memory.popitem(last=False)

    def claim(self, users: Iterable[Any], task: Task) -> dict[Any, Task]:
        """Claim for the task whom nobody computes; return the task that computes each user."""
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
        """Let a pool have the task, with those of its users whom no other task has claimed.

        It may have lost some to another task: see :meth:`Task.done`.
        """
        with self.lock:
            task.taken = True
            task.users = [
                user
                for user in task.users
                if self._claims.get(user) is task or user in task.outdated
            ]

    def release(self, task: Task) -> list[Any]:
        """Drop the claims of a task, and return its users who were invalidated meanwhile."""
        with self.lock:
            for user in task.users:
                if self._claims.get(user) is task:
                    del self._claims[user]
            return list(task.outdated)

    def pending(self) -> dict[Any, Task]:
        """Return who is being computed, and by which task."""
        with self.lock:
            return {user: task for user, task in self._claims.items() if not task.done()}

    def forget(self, users: Iterable[Any], *, doubt: bool) -> None:
        """Have the next caller compute users anew; ``doubt`` what the store has of them."""
        token = object()
        with self.lock:
            for user in users:
                task = self._claims.get(user)
                if doubt:
                    self._doubts[user] = token
                    if task is not None:
                        self._late_writers.setdefault(user, []).append(task)
                if task is not None:
                    task.outdated.add(user)
                    del self._claims[user]
                if user in self._memory:
                    self._memory[user] = self._memory[user][0], False

    def believed(self, users: Iterable[Any]) -> list[Any]:
        """Return the users whose entries in the store count."""
        with self.lock:
            return [user for user in users if user not in self._doubts]

    def current(self, task: Task, users: Iterable[Any]) -> list[Any]:
        """Return the users who were not invalidated since the task claimed them."""
        with self.lock:
            return [user for user in users if user not in task.outdated]

    def settled_doubts(self, users: Iterable[Any] | None, most: int = 0) -> dict[Any, object]:
        """Return doubts that end once the store has removed or replaced the entries.

        Those where a task may still write an outdated entry are left out. Without users: of
        ``most`` users, the longest doubted first.
        """
        with self.lock:
            return {
                user: self._doubts[user]
                for user in (islice(self._doubts, most) if users is None else users)
                if user in self._doubts and not self._has_late_writer(user)
            }

    def believe(self, doubts: Mapping[Any, object]) -> None:
        """End doubts, unless the users were invalidated anew since."""
        with self.lock:
            for user, token in doubts.items():
                if self._doubts.get(user) is token:
                    del self._doubts[user]

    def _has_late_writer(self, user: Any) -> bool:
        writers = self._late_writers.get(user, ())
        if all(task.done() for task in writers):
            self._late_writers.pop(user, None)
            return False
        return True

    def _sweep(self) -> None:
        """Drop what interrupted tasks left behind, when it could have become much."""
        if len(self._claims) + len(self._late_writers) <= self._sweep_at:
            return
        self._claims = {user: task for user, task in self._claims.items() if not task.done()}
        for user in list(self._late_writers):
            self._has_late_writer(user)
        self._sweep_at = 2 * (len(self._claims) + len(self._late_writers)) + 1000
