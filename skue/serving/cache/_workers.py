"""Threads behind the answers: their number is bounded, and no exit waits long for them."""

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

# Seconds that the end of the program waits for work under way.
EXIT_PATIENCE = 1.0
# Seconds after which a thread without work ends.
_IDLE = 10.0
_LOG = logging.getLogger("skue.serving")
_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class WorkerPool:
    """Daemon threads, and a queue that refuses what it cannot hold.

    Calls of ``submit`` may be interrupted anywhere, by a signal handler that raises: the places
    in use are counted from the queue and from what each thread says about itself, never from a
    number that a caller would have to give back.

    Parameters
    ----------
    n_workers : int
    n_waiting : int
        How many tasks may wait for a thread.
    name : str
        Of the threads.
    """

    def __init__(self, n_workers: int, n_waiting: int, name: str) -> None:
        self._n_workers, self._n_waiting, self._name = n_workers, n_waiting, name
        self._queue: SimpleQueue[tuple[Callable[[Any], None], Any] | None] = SimpleQueue()
        # Each thread, and whether it is at work. Only the thread itself changes its value.
        self._at_work: dict[threading.Thread, bool] = {}
        self._lock = threading.Lock()
        self._closed = False
        _POOLS.add(self)

    def submit(self, step: Callable[[Any], None], task: Any) -> bool:
        """Have ``step(task)`` run by a thread, or return False."""
        with self._lock:
            for thread in [thread for thread in list(self._at_work) if not thread.is_alive()]:
                del self._at_work[thread]
            n_open = self._queue.qsize() + sum(list(self._at_work.values()))
            if self._closed or n_open >= self._n_workers + self._n_waiting:
                return False
            n_threads = len(self._at_work)
            has_thread = n_threads > 0
            if n_threads <= n_open and n_threads < self._n_workers:
                # Where no thread can be started, those that there are will come to it.
                has_thread |= self._start_thread()
            if not has_thread:
                return False
            self._queue.put((step, task))
        return True

    def close(self) -> list[Any]:
        """Take no more, and return the tasks that nobody has begun."""
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
        """Tell whether there is work that a living thread will do."""
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
                # Under the lock nothing is submitted meanwhile.
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
                # A thread that waits keeps nothing alive.
                del item, step, task


def _wait_at_exit() -> None:
    until = time.monotonic() + EXIT_PATIENCE
    while any(pool.is_busy() for pool in list(_POOLS)) and time.monotonic() < until:
        time.sleep(0.005)


atexit.register(_wait_at_exit)
