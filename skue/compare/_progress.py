"""The progress of the command on stderr."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_REFRESH_SECONDS = 0.5


class Progress:
    """Shows the current stage.

    On a terminal, one line is updated with the share done and the time left. Otherwise, one line
    is written per stage.

    Parameters
    ----------
    stream : text file or None
    quiet : bool, default=False
        Write only the messages of ``note``.
    """

    def __init__(self, stream: TextIO | None, *, quiet: bool = False) -> None:
        self.stream = stream
        self.quiet = quiet
        self.moves = not quiet and stream is not None and stream.isatty()
        self.n_stages = 0
        self._stage: _Stage | None = None
        self._n_begun = 0
        self._width = 0
        self._lock = threading.RLock()

    def say(self, message: str) -> None:
        """Write one line, unless the command is quiet."""
        if not self.quiet:
            self.note(message)

    def note(self, message: str) -> None:
        """Write one line."""
        with self._lock:
            self._write(f"skue compare: {message}", "\n")
            if self.moves:
                self._draw()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show a stage while the block runs."""
        self._n_begun += 1
        if not self.moves:
            self.say(name)
            yield
        else:
            with self._moving(_Stage(name, f"[{self._n_begun}/{self.n_stages}] ")):
                yield

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Show work on a terminal that does not count as a stage."""
        if not self.moves:
            yield
        else:
            with self._moving(_Stage(name, "")):
                yield

    @contextmanager
    def _moving(self, stage: _Stage) -> Iterator[None]:
        self._stage = stage
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(ended,), daemon=True)
        ticker.start()
        last = ""
        try:
            yield
            last = f"skue compare: {stage.summary()}"
        finally:
            ended.set()
            ticker.join()
            self._stage = None
            # After a failure the line is empty, so that the error can use it.
            self._write(last, "\n" if last else "\r")

    def advance(self, n_done: int, n_parts: int | None, part: str) -> None:
        """Show how many parts of the current stage are done.

        Parameters
        ----------
        n_done : int
            0 when the first part begins.
        n_parts : int or None
            None if the number is not known.
        part : str
            The name of a part, such as "epoch".
        """
        if self._stage is not None:
            self._stage.advance(n_done, n_parts, part)
            with self._lock:
                self._draw()

    def _tick(self, ended: threading.Event) -> None:
        while not ended.is_set():
            with self._lock:
                self._draw()
            ended.wait(_REFRESH_SECONDS)

    def _draw(self) -> None:
        if self._stage is not None:
            line = f"skue compare: {self._stage.line()}"
            self._write(line[: shutil.get_terminal_size().columns - 1], "")

    def _write(self, line: str, end: str) -> None:
        """Overwrite the current line."""
        if self.stream is None:
            return
        start = "\r" if self.moves else ""
        try:
            self.stream.write(start + line.ljust(self._width if self.moves else 0) + end)
            self.stream.flush()
        except (OSError, ValueError):
            self.stream = None  # the reader has gone
        self._width = 0 if end else len(line)


class EpochProgress:
    """A scikit-learn callback that shows the epochs of an encoder."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.n_done = 0

    def setup(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Show that the first epoch begins."""
        if context.parent is None:
            self.progress.advance(0, context.max_subtasks, "epoch")

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Count an epoch."""
        if context.parent is not None:
            self.n_done += 1
            self.progress.advance(self.n_done, context.parent.max_subtasks, "epoch")


class _Stage:
    """The name, the progress and the times of a stage."""

    def __init__(self, name: str, number: str) -> None:
        self.name, self.number = name, number
        self.began = self.parts_began = self.advanced = time.monotonic()
        self.n_done, self.part = 0, ""
        self.n_parts: int | None = None

    def advance(self, n_done: int, n_parts: int | None, part: str) -> None:
        self.advanced = time.monotonic()
        if n_done == 0:
            self.parts_began = self.advanced
        self.n_done, self.n_parts, self.part = n_done, n_parts, part

    def line(self) -> str:
        now = time.monotonic()
        start = f"{self.number}{self.name}: "
        if not self.part:
            return start + duration(now - self.began)
        if self.n_parts is None:
            return start + f"{self.part} {self.n_done + 1}, {duration(now - self.began)}"
        at = min(self.n_done + 1, self.n_parts)
        line = start + f"{self.part} {at} of {self.n_parts}, {self.n_done / self.n_parts:.0%}"
        if not self.n_done:
            return f"{line}, {duration(now - self.began)} so far"
        a_part = (self.advanced - self.parts_began) / self.n_done
        left = a_part * (self.n_parts - self.n_done) - (now - self.advanced)
        return f"{line}, {duration(max(left, 0))} left"

    def summary(self) -> str:
        return f"{self.number}{self.name}: {duration(time.monotonic() - self.began)}"


def duration(seconds: float) -> str:
    """Return a duration in hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds} s"
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
