"""Warnings that point to the caller's line."""

from __future__ import annotations

import sys
import warnings

_INSIDE = ("skue", "sklearn", "contextlib")


def warn_caller(message: str) -> None:
    """Warn at the line outside of skue and scikit-learn that led to this call.

    Python shows a warning once per line, so this also limits repetition.
    """
    frame, level = sys._getframe(), 0
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level + 1)
