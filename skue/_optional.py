"""Optional dependencies, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def import_optional(module: str, extra: str) -> Any:
    """Import a module, or say which extra of skue brings it.

    Parameters
    ----------
    module : str
    extra : str

    Raises
    ------
    ImportError
        When the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} is needed here, and is not installed. {way_to(extra)}"
        ) from error


def way_to(extra: str) -> str:
    """Say how an extra of skue is installed."""
    return f'Run in the clone of skue: python -m pip install -e ".[{extra}]"'
