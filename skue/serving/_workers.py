"""A pool of daemon threads with a bounded queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

N_THREADS = 8
N_WAITING = 32
_LOG = logging.getLogger("skue.serving")
_Queue = SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]


class WorkerPool:
    """Runs functions in up to eight threads; up to 32 more wait.

    Unlike those of ``concurrent.futures.ThreadPoolExecutor``, its queue is bounded, and the
    program does not wait for its threads at its end.

    Parameters
    ----------
    name : str
        Name of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: _Queue = SimpleQueue()
        # Places of running and waiting functions, and threads that wait for work.
        self._places = threading.Semaphore(N_THREADS + N_WAITING)
        self._idle = threading.Semaphore(0)
        self._n_threads = 0
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any] | None:
        """Run a function in a thread; return None if the pool is full or closed."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed or not self._places.acquire(blocking=False):
                return None
            if not self._has_thread():
                self._places.release()
                return None
            self._queue.put((future, function, arguments))
        return future

    def close(self) -> None:
        """Accept no more functions, and cancel those that have not started. This does not wait."""
        with self._lock:
            self._closed = True
            with suppress(Empty):
                while True:
                    item = self._queue.get_nowait()
                    if item is not None and item[0].cancel():
                        item[0].set_running_or_notify_cancel()  # wakes the callers
            for _ in range(self._n_threads):
                self._queue.put(None)

    def __del__(self) -> None:
        self.close()

    def _has_thread(self) -> bool:
        """Start a thread if none is idle; return whether there is any."""
        if self._n_threads < N_THREADS and not self._idle.acquire(blocking=False):
            # A thread refers to the queue, not to the pool, so that an unused pool can be freed.
            work = self._queue, self._idle, self._places
            try:
                threading.Thread(target=_work, args=work, name=self._name, daemon=True).start()
                self._n_threads += 1
            except (RuntimeError, MemoryError) as error:
                _LOG.warning("A thread of the cache could not be started: %r", error)
        return self._n_threads > 0


def _work(queue: _Queue, idle: threading.Semaphore, places: threading.Semaphore) -> None:
    while (item := queue.get()) is not None:
        future, function, arguments = item
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
        # An idle thread must not keep the work and its cache alive.
        del item, future, function, arguments
        places.release()
        idle.release()
