"""Ctrl-C and SIGTERM end the command without a traceback."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, which stops work as Ctrl-C does."""


def is_command() -> bool:
    """Return whether Python was started as ``skue`` or ``python -m skue``."""
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # the package of ``python -m`` is being imported
        return sys.orig_argv[sys.orig_argv.index("-m") + 1] == "skue"
    return os.path.basename(started) in ("skue", "skue.exe")


@contextmanager
def raising() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt again, and SIGTERM raise Terminated inside the block."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise_terminated(*_: Any) -> NoReturn:
    raise Terminated


# Until then it ends the process: during an import, an exception could become another one.
if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
