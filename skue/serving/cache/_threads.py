"""Threads that do the work of tasks: two bounded pools that never delay the exit for long."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from skue.serving.cache._source import VectorSource
from skue.serving.cache._state import Counters, SharedState
from skue.serving.cache._tasks import Task

# Threads and queue places of each pool.
N_WORKERS = 8
N_WAITING = 32
# Seconds that the exit of the program waits for running work.
EXIT_PATIENCE = 1.0
# Seconds after which a thread without work ends.
_IDLE = 10.0
_LOG = logging.getLogger("skue.serving")
_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class TaskRunner:
    """Runs tasks in the thread of the caller or in two pools of threads.

    Without a deadline, the caller does all the work. With a deadline, a thread of the first pool
    reads the store, and passes the missing users to the second pool, which loads and encodes.
    Users in the store therefore never wait for loads.

    Parameters
    ----------
    source : VectorSource
    state : SharedState
    counters : Counters
    has_store : bool
    """

    def __init__(
        self, source: VectorSource, state: SharedState, counters: Counters, *, has_store: bool
    ) -> None:
        self._source, self._state, self._counters = source, state, counters
        self._loaders = WorkerPool(N_WORKERS, N_WAITING, "skue-cache-load")
        self._readers = WorkerPool(N_WORKERS, N_WAITING, "skue-cache-read")
        self._first = self._readers if has_store else self._loaders

    def run_here(self, task: Task) -> None:
        """Do all the work of a task here. KeyboardInterrupt and its kind are raised."""
        try:
            self._source.read(task)
            if task.missing:
                self._source.load(task)
            task.finish()
        finally:
            # Only cleans up early. Later calls are correct without it: see Task.
            self._source.settle(task)

    def run_in_threads(self, task: Task) -> None:
        """Do the work of a task in threads. If the queue is full, end it without results.

        The caller holds ``task.caller``, so that the claims of the task count throughout.
        """
        step = self._read_and_hand_on if self._first is self._readers else self._read_and_load
        if self._first.submit(step, task):
            task.taken = True
        else:
            task.missing = task.users
            self._shed(task)

    def close(self) -> None:
        """Accept no more tasks, and end those that have not started."""
        for pool in (self._readers, self._loaders):
            for task in pool.close():
                self._end(task)

    def _read_and_hand_on(self, task: Task) -> None:
        handed_on = False
        try:
            self._state.take(task)
            self._source.read(task)
            task.ring()
            handed_on = bool(task.missing) and self._loaders.submit(self._load, task)
        finally:
            if not handed_on:
                self._shed(task)

    def _read_and_load(self, task: Task) -> None:
        try:
            self._state.take(task)
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
        """End a task early, and count its missing users."""
        self._counters.add(shed=len(task.missing))
        self._end(task)

    def _end(self, task: Task) -> None:
        task.finish()
        self._source.settle(task)


class WorkerPool:
    """Daemon threads with a bounded queue.

    A signal handler may raise anywhere inside ``submit``. The places in use are therefore counted
    from the queue and the state of each thread. A counter that callers have to decrease could be
    left too high.

    Parameters
    ----------
    n_workers : int
    n_waiting : int
        How many tasks may wait for a thread.
    name : str
        Name of the threads.
    """

    def __init__(self, n_workers: int, n_waiting: int, name: str) -> None:
        self._n_workers, self._n_waiting, self._name = n_workers, n_waiting, name
        self._queue: SimpleQueue[tuple[Callable[[Any], None], Any] | None] = SimpleQueue()
        # Whether each thread is busy. Only the thread itself changes its value.
        self._at_work: dict[threading.Thread, bool] = {}
        self._lock = threading.Lock()
        self._closed = False
        _POOLS.add(self)

    def submit(self, step: Callable[[Any], None], task: Any) -> bool:
        """Run ``step(task)`` in a thread; return False if the pool is full or closed."""
        with self._lock:
            for thread in [thread for thread in list(self._at_work) if not thread.is_alive()]:
                del self._at_work[thread]
            n_open = self._queue.qsize() + sum(list(self._at_work.values()))
            if self._closed or n_open >= self._n_workers + self._n_waiting:
                return False
            n_threads = len(self._at_work)
            has_thread = n_threads > 0
            if n_threads <= n_open and n_threads < self._n_workers:
                # If no thread can be started, the existing threads run the task later.
                has_thread |= self._start_thread()
            if not has_thread:
                return False
            self._queue.put((step, task))
        return True

    def close(self) -> list[Any]:
        """Accept no more tasks, and return those that have not started."""
        dropped = []
        with self._lock:
            self._closed = True
            with suppress(Empty):
                while True:
                    item = self._queue.get_nowait()
                    if item is not None:
                        dropped.append(item[1])
            for _ in self._at_work:
                self._queue.put(None)
        return dropped

    def is_busy(self) -> bool:
        """Return whether a live thread has work to do."""
        at_work = [busy for thread, busy in list(self._at_work.items()) if thread.is_alive()]
        return any(at_work) or bool(at_work and not self._closed and not self._queue.empty())

    def _start_thread(self) -> bool:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._at_work[thread] = False
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            del self._at_work[thread]
            _LOG.warning("A thread of the cache could not be started: %r", error)
            return False
        return True

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            try:
                item = self._queue.get(timeout=_IDLE)
            except Empty:
                # Nothing can be submitted while the lock is held.
                with self._lock:
                    if self._queue.empty():
                        self._at_work.pop(me, None)
                        return
                continue
            if item is None:
                return
            step, task = item
            self._at_work[me] = True
            try:
                step(task)
            except BaseException:
                _LOG.warning("A thread of the cache met an error.", exc_info=True)
            finally:
                self._at_work[me] = False
                # An idle thread must not keep the task and its cache alive.
                del item, step, task


def _wait_at_exit() -> None:
    until = time.monotonic() + EXIT_PATIENCE
    while any(pool.is_busy() for pool in list(_POOLS)) and time.monotonic() < until:
        time.sleep(0.005)


atexit.register(_wait_at_exit)
