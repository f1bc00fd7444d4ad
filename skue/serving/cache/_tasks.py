"""The computation of some users' vectors, and how callers wait for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from skue.serving.cache._entries import Entry

# How often a waiting caller looks whether somebody is still at work. It matters only after an
# interruption: otherwise the bell rings.
_LOOK_EVERY = 0.05


class Task:
    """What one call of ``get`` or ``warm`` computes.

    A task claims users, so that nobody else computes them. Its claims count until it is
    :meth:`done`, and that is read off the state of things: either the calling thread holds
    ``caller``, or a pool has taken the task and has not finished it. No clean-up has to run for a
    claim to end. A signal handler may therefore raise between any two steps of the caller:
    leaving its ``with task.caller`` block, which the interpreter always does, ends the claims.

    Attributes
    ----------
    load : callable
    users : list
        Claimed by this task.
    missing : list
        Those of them that the store does not have.
    caller : Lock
        Held by the calling thread while it prepares the task or works on it.
    taken : bool
        A pool has the task.
    finished : bool
        The task has come to its end: users without a result will get none from it.
    results : dict of user to (Entry, status)
    last_good : dict of user to Entry
        Outdated entries, found on the way.
    outdated : set
        Users who were invalidated since they were claimed. Their results are kept nowhere.
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
        """Tell whether nobody works on the task, and nobody will."""
        # A process that was forked has none of the threads that worked.
        is_ours = self._process == os.getpid()
        return self.finished or not (is_ours and (self.taken or self.caller.locked()))

    def ring(self) -> None:
        """Wake those who wait: there are new results, or this is the end."""
        for bell in self._bells:
            bell.put(None)

    def finish(self) -> None:
        """End the task."""
        self.finished = True
        self.ring()


def wait_for(waited: Mapping[Any, Task], until: float) -> None:
    """Return when each user has a result or a task that is done, or at the given time.

    Parameters
    ----------
    waited : dict of user to Task
    until : float
        On the clock of ``time.monotonic``; infinite for no limit.
    """
    users_of: dict[Task, set[Any]] = {}
    for user, task in waited.items():
        users_of.setdefault(task, set()).add(user)
    bell: SimpleQueue[None] = SimpleQueue()
    for task in users_of:
        task._bells.append(bell)
    # The first look comes after the bells are hung up, so no ring is missed.
    while True:
        for task in list(users_of):
            if task.done() or users_of[task] <= task.results.keys():
                del users_of[task]
        left = until - time.monotonic()
        if not users_of or left <= 0:
            return
        with suppress(Empty):
            bell.get(timeout=min(left, _LOOK_EVERY))
