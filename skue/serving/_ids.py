"""Lists of ids, as callers hand them over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from skue.reading._ids import as_ids, shown


def refuse_one_id(ids: Any, name: str) -> None:
    """Raise for an id that stands alone: the characters of a string would be taken for ids."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        one = shown(ids)
        raise ValueError(f"{name} must be a list of ids, got {one}. Write one id as [{one}].")


def id_list(ids: Any, name: str) -> np.ndarray:
    """Return ids as one array, as :func:`as_ids` does, and refuse an id that stands alone."""
    refuse_one_id(ids, name)
    return as_ids(ids, name)
