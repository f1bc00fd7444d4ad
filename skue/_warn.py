"""Warnings that name the user's line."""

from __future__ import annotations

import sys
import warnings

_INSIDE = ("skue", "sklearn", "contextlib")


def warn_caller(message: str) -> None:
    """Warn at the line that called, outside of skue and scikit-learn.

    Python shows a warning once for each line, so this is also what keeps it from being repeated.
    """
    frame, level = sys._getframe(), 0
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level + 1)
