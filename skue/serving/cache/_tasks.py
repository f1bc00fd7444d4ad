"""A task computes the vectors of some users; callers wait for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from skue.serving.cache._entries import Entry

# How often a waiting caller checks whether a task was interrupted. Otherwise the bell wakes it.
_LOOK_EVERY = 0.05


class Task:
    """The users that one call of ``get`` or ``warm`` computes.

    A task claims users so that no other task computes them. The claims count until the task is
    :meth:`done`. It is not done while the calling thread holds ``caller``, or while a pool has
    taken the task and not finished it. A claim therefore ends without any clean-up code: a signal
    handler may raise anywhere in the caller, because the interpreter always leaves the
    ``with task.caller`` block.

    Attributes
    ----------
    load : callable
    users : list
        Users claimed by this task.
    missing : list
        Users without an entry in the store.
    caller : Lock
        Held by the calling thread while it prepares or runs the task.
    taken : bool
        Whether a pool has taken the task.
    finished : bool
        Whether the task has ended. Users without a result then get none from it.
    results : dict of user to (Entry, status)
    last_good : dict of user to Entry
        Outdated entries from the store.
    outdated : set
        Users that were invalidated after they were claimed. Their results are not stored.
    """

    def __init__(self, load: Callable[..., Any]) -> None:
        self.load = load
        self.users: list[Any] = []
        self.missing: list[Any] = []
        self.caller = threading.Lock()
        self.taken = self.finished = False
        self.results: dict[Any, tuple[Entry, str]] = {}
        self.last_good: dict[Any, Entry] = {}
        self.outdated: set[Any] = set()
        self._process = os.getpid()
        self._bells: list[SimpleQueue[None]] = []

    def done(self) -> bool:
        """Return whether the task has ended or was interrupted."""
        # After a fork, the threads that ran the task do not exist in the child process.
        is_ours = self._process == os.getpid()
        return self.finished or not (is_ours and (self.taken or self.caller.locked()))

    def ring(self) -> None:
        """Wake the waiting callers, as there are new results or the task has ended."""
        for bell in self._bells:
            bell.put(None)

    def finish(self) -> None:
        """End the task."""
        self.finished = True
        self.ring()


def wait_for(waited: Mapping[Any, Task], until: float) -> None:
    """Wait until each user has a result or a task that is done, at most until the given time.

    Parameters
    ----------
    waited : dict of user to Task
    until : float
        On the clock of ``time.monotonic``; infinity for no limit.
    """
    users_of: dict[Task, set[Any]] = {}
    for user, task in waited.items():
        users_of.setdefault(task, set()).add(user)
    bell: SimpleQueue[None] = SimpleQueue()
    for task in users_of:
        task._bells.append(bell)
    # The bells are registered before the first check, so no ring is missed.
    while True:
        for task in list(users_of):
            if task.done() or users_of[task] <= task.results.keys():
                del users_of[task]
        left = until - time.monotonic()
        if not users_of or left <= 0:
            return
        with suppress(Empty):
            bell.get(timeout=min(left, _LOOK_EVERY))
