"""In which thread a task is worked on: the caller's, or those of two pools."""

from __future__ import annotations

from skue.serving.cache._counters import Counters
from skue.serving.cache._ledger import Ledger
from skue.serving.cache._source import VectorSource
from skue.serving.cache._tasks import Task
from skue.serving.cache._workers import WorkerPool

# Of each pool.
_N_WORKERS = 8
_N_WAITING = 32


class TaskRunner:
    """Takes a task to its end, in one of two ways.

    Without a deadline the caller does all of it. With one, a thread of the first pool reads the
    store, and hands what is missing to the second pool, which loads and encodes. So those who are
    in the store never wait behind loads.

    Parameters
    ----------
    source : VectorSource
    ledger : Ledger
    counters : Counters
    has_store : bool
    """

    def __init__(
        self, source: VectorSource, ledger: Ledger, counters: Counters, *, has_store: bool
    ) -> None:
        self._source, self._ledger, self._counters = source, ledger, counters
        self._loaders = WorkerPool(_N_WORKERS, _N_WAITING, "skue-cache-load")
        self._readers = WorkerPool(_N_WORKERS, _N_WAITING, "skue-cache-read")
        self._first = self._readers if has_store else self._loaders

    def run_here(self, task: Task) -> None:
        """Do all of a task, and raise what is no Exception, such as KeyboardInterrupt."""
        try:
            self._source.read(task)
            if task.missing:
                self._source.load(task)
            task.finish()
        finally:
            # Not needed for what follows to be right, only tidy and prompt: see Task.
            self._source.settle(task)

    def run_in_threads(self, task: Task) -> None:
        """Have a task done by threads; where too many wait already, end it without results.

        The caller holds ``task.caller``, so that the task is at no moment nobody's.
        """
        step = self._read_and_hand_on if self._first is self._readers else self._read_and_load
        if self._first.submit(step, task):
            task.taken = True
        else:
            task.missing = task.users
            self._shed(task)

    def close(self) -> None:
        """Take no more tasks, and end those that nobody has begun."""
        for pool in (self._readers, self._loaders):
            for task in pool.close():
                self._end(task)

    def _read_and_hand_on(self, task: Task) -> None:
        handed_on = False
        try:
            self._ledger.take(task)
            self._source.read(task)
            task.ring()
            handed_on = bool(task.missing) and self._loaders.submit(self._load, task)
        finally:
            if not handed_on:
                self._shed(task)

    def _read_and_load(self, task: Task) -> None:
        try:
            self._ledger.take(task)
            self._source.read(task)
            self._source.load(task)
        finally:
            self._end(task)

    def _load(self, task: Task) -> None:
        try:
            self._source.load(task)
        finally:
            self._end(task)

    def _shed(self, task: Task) -> None:
        """End a task early, and count the users who were missing."""
        self._counters.add(shed=len(task.missing))
        self._end(task)

    def _end(self, task: Task) -> None:
        task.finish()
        self._source.settle(task)
