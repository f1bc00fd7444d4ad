"""numba where it is installed, numpy and scipy elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal


def pooling_backend() -> Literal["numba", "scipy"]:
    """Return what adds up item vectors: ``"numba"`` where it is installed, else ``"scipy"``.

    Both give the same vectors up to rounding. numba comes with the extra ``fast``. It compiles
    the pooling when a number of dimensions is first used, and keeps the result on disk.

    Returns
    -------
    backend : {"numba", "scipy"}

    Examples
    --------
    >>> from skue import pooling_backend
    >>> pooling_backend() in ("numba", "scipy")
    True
    """
    return "scipy" if find_spec("numba") is None else "numba"


def compiled(function: Callable[..., Any], signature: tuple[Any, ...]) -> Any:
    """Compile a function for one signature, in which read-only arrays can be declared."""
    from numba import njit

    try:
        return njit(signature, nogil=True, cache=True)(function)
    except (RuntimeError, OSError):  # numba has no writable folder for its cache.
        return njit(signature, nogil=True)(function)
