"""Stopping the command at once, without leaving partial files."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Stopping:
    """A context in which Ctrl-C ends the process with exit code 130.

    The process ends inside the signal handler. An exception would not be enough: other code could
    catch it, and Python would wait for threads in the middle of an epoch. SIGTERM and SIGHUP end
    the process in the same way, with exit code 128 plus the number of the signal.

    Attributes
    ----------
    outcome : str
        The part of the last message about the report.
    """

    def __init__(self) -> None:
        self.outcome = "nothing was written"
        self._clean_ups: list[Callable[[], None]] = []
        self._earlier: dict[int, Any] = {}
        self._holds = False
        self._held: int | None = None

    def __enter__(self) -> Stopping:
        # Only the main thread may set handlers. A signal that is ignored (nohup, a background
        # job) stays ignored.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._earlier[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    @contextmanager
    def undoing(self, clean_up: Callable[[], None]) -> Iterator[None]:
        """Call ``clean_up`` at the end of the block, or if the process is stopped inside it."""
        self._clean_ups.append(clean_up)
        try:
            yield
        finally:
            self._clean_ups.remove(clean_up)
            clean_up()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Delay signals until the end of the block, which must be short."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
            if self._held is not None:
                self._stop(self._held)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._holds:
            self._held = number
        else:
            self._stop(number)

    def _stop(self, number: int) -> None:
        for clean_up in reversed(self._clean_ups):
            clean_up()
        said = "interrupted" if number == signal.SIGINT else "stopped"
        try:
            line_end = "\n" if os.isatty(2) else ""
            os.write(2, f"{line_end}skue compare: {said}; {self.outcome}\n".encode())
        except OSError:
            pass  # the reader has gone
        os._exit(128 + number)
