"""Optional dependencies, imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any


def import_optional(module: str, extra: str) -> Any:
    """Import a module. If it is not installed, the error names the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} is required but not installed. {way_to(extra)}"
        ) from error


def way_to(extra: str) -> str:
    """Return how to install an extra of skue, for error messages."""
    return f'Run in the clone of skue: python -m pip install -e ".[{extra}]"'


def new_axes() -> Any:
    """Return the axes of a new matplotlib figure."""
    return import_optional("matplotlib.pyplot", "plot").subplots()[1]
