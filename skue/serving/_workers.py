"""Work in daemon threads, of which there is never more than a certain number."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

N_THREADS = 8
N_WAITING = 32
_LOG = logging.getLogger("skue.serving")


class WorkerPool:
    """Runs functions in threads: up to eight at a time, while up to 32 more wait.

    Unlike with ``concurrent.futures.ThreadPoolExecutor``, work beyond these is refused, and the
    program does not wait for the threads at its end.

    Parameters
    ----------
    name : str
        Name of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._places = threading.Semaphore(N_THREADS + N_WAITING)
        self._running = threading.Semaphore(N_THREADS)
        self.closed = False

    def submit(self, function: Callable[..., Any], *arguments: Any) -> bool:
        """Run a function, which reports its errors itself; return whether there is a place."""
        if not self._places.acquire(blocking=False):
            return False
        try:
            work = (function, *arguments)
            threading.Thread(target=self._run, args=work, name=self._name, daemon=True).start()
        except RuntimeError as error:
            self._places.release()
            _LOG.warning("A thread of the cache could not be started: %r", error)
            return False
        return True

    def _run(self, function: Callable[..., Any], *arguments: Any) -> None:
        with suppress(BaseException), self._running:
            if not self.closed:
                function(*arguments)
        self._places.release()
