"""The progress of the command on stderr."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TextIO


class Progress:
    """Shows the current stage.

    On a terminal, one line is overwritten with the share done and the time left. Otherwise, one
    line is written per stage.

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
        self._stage = ""
        self._began = 0.0
        self._width = 0

    def say(self, message: str) -> None:
        """Write one line, unless the command is quiet."""
        if not self.quiet:
            self.note(message)

    def note(self, message: str) -> None:
        """Write one line."""
        self._write(f"skue compare: {message}", "\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show a stage while the block runs; on a terminal, what comes next takes its line."""
        if not self.moves:
            self.say(name)
            yield
            return
        self._stage, self._began = name, time.monotonic()
        self._write(f"skue compare: {name}", "")
        try:
            yield
        finally:
            self._write("", "\r")

    def aside(self, name: str) -> AbstractContextManager[None]:
        """Show work before the first stage, on a terminal only."""
        return self.stage(name) if self.moves else nullcontext()

    def advance(self, n_done: int, n_parts: int | None, part: str) -> None:
        """Show how many parts of the current stage are done, on a terminal.

        Parameters
        ----------
        n_done : int
            0 when the first part begins.
        n_parts : int or None
            None if the number is not known.
        part : str
            The name of a part, such as "epoch".
        """
        if not self.moves:
            return
        now = time.monotonic()
        if n_done == 0:
            self._began = now
        line = f"skue compare: {self._stage}: {part} {n_done + 1}"
        if n_parts is not None:
            line = f"skue compare: {self._stage}: {part} {min(n_done + 1, n_parts)} of {n_parts}"
            if n_done:
                left = (now - self._began) / n_done * (n_parts - n_done)
                line += f", {duration(left)} left"
        self._write(line, "")

    def _write(self, line: str, end: str) -> None:
        """Write a line; on a terminal, over the current one."""
        if self.stream is None:
            return
        if not end:  # a line that will be overwritten must not wrap
            line = line[: shutil.get_terminal_size().columns - 1]
        try:
            shown = "\r" + line.ljust(self._width) if self.moves else line
            self.stream.write(shown + end)
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


def duration(seconds: float) -> str:
    """Return a duration in hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds} s"
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
