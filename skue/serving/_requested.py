"""The histories of the users of one request: loaded once, and waited for until a deadline."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from skue.serving.cache._loading import load_rows, take


class RequestedHistories:
    """What ``load`` returns for the users of a request, which may name a user twice.

    Parameters
    ----------
    users : list
    load : callable
        As for :meth:`skue.UserVectorCache.get`.
    """

    def __init__(self, users: list[Any], load: Callable[..., Any]) -> None:
        self._row_of = {user: row for row, user in enumerate(dict.fromkeys(users))}
        self._load = load
        self._rows: Any = None
        self._error: Exception | None = None
        self._loaded = threading.Event()

    def run(self) -> None:
        """Call ``load`` for all users. :meth:`of` raises its error."""
        try:
            self._rows, _ = load_rows(list(self._row_of), self._load)
        except Exception as error:
            self._error = error
        finally:
            self._loaded.set()

    def refuse(self, why: str) -> None:
        """Let :meth:`of` raise an error at once."""
        self._error = RuntimeError(why)
        self._loaded.set()

    def of(self, users: list[Any], until: float = math.inf) -> Any:
        """Return the histories of users, one row each.

        Parameters
        ----------
        users : list
        until : float, default=inf
            How long to wait, on the clock of ``time.monotonic``.

        Raises
        ------
        TimeoutError
            If ``load`` has not returned by then.
        Exception
            The error of ``load``.
        """
        left = None if until == math.inf else max(until - time.monotonic(), 0.0)
        if not self._loaded.wait(left):
            raise TimeoutError("load has not returned by the deadline")
        if self._error is not None:
            raise self._error
        return take(self._rows, np.array([self._row_of[user] for user in users], dtype=np.int64))
