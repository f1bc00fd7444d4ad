"""Ctrl-C while the command is imported ends it without a traceback."""

import os
import signal
import sys


def is_command() -> bool:
    """Return whether Python was started as ``skue`` or ``python -m skue``."""
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # the package of ``python -m`` is being imported
        return sys.orig_argv[sys.orig_argv.index("-m") + 1] == "skue"
    return os.path.basename(started) in ("skue", "skue.exe")


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, when the imports are done."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Until then it ends the process: during an import, an exception could become another one.
if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
