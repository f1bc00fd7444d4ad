"""Stopping the command: at once, and with nothing left half-done."""

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
    """While entered, Ctrl-C ends the process with exit code 130.

    The process ends inside the signal handler. An exception would not do: the code that it passes
    through may catch it, and threads that are in the middle of an epoch would be waited for.
    SIGTERM and SIGHUP end the process in the same way, with 128 and the number of the signal.

    Attributes
    ----------
    outcome : str
        What the last message says about the report.
    """

    def __init__(self) -> None:
        self.outcome = "nothing was written"
        self._clean_ups: list[Callable[[], None]] = []
        self._earlier: dict[int, Any] = {}
        self._holds = False
        self._held: int | None = None

    def __enter__(self) -> Stopping:
        # Python lets the main thread alone set handlers. A signal that whoever started us wants
        # ignored (nohup, a job in the background) stays ignored.
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
        """Call ``clean_up`` when the block is left, or when the process is stopped in it."""
        self._clean_ups.append(clean_up)
        try:
            yield
        finally:
            self._clean_ups.remove(clean_up)
            clean_up()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let a signal wait until the block, which must be short, is through."""
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
            pass  # nobody listens any more
        os._exit(128 + number)
