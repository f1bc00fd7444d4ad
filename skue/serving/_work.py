"""What a cache does behind its answers: a bounded pool, and loading and encoding of users."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from skue.encoders._base import UserEncoder
from skue.histories._coerce import as_histories
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.kernels._segments import offsets_of, positions_of_ranges
from skue.serving._entries import Entry


class Pending(Future):
    """A user's vector on its way.

    Attributes
    ----------
    last_good : Entry or None
        What may be served while it is not there.
    valid : bool
        False once the user was invalidated: the result is then kept nowhere.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_good: Entry | None = None
        self.valid = True


class BoundedPool:
    """Threads, and a queue that refuses what it cannot hold."""

    def __init__(self, n_workers: int, n_waiting: int) -> None:
        self._places = threading.BoundedSemaphore(n_workers + n_waiting)
        self._threads = ThreadPoolExecutor(n_workers, thread_name_prefix="skue-cache")

    def submit(self, work: Callable[..., Any], *arguments: Any) -> bool:
        """Take work on, or return False."""
        if not self._places.acquire(blocking=False):
            return False
        try:
            self._threads.submit(self._run, work, arguments)
        except RuntimeError:  # shut down
            self._places.release()
            return False
        return True

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            work(*arguments)
        finally:
            self._places.release()


def load_and_encode(
    encoder: UserEncoder, user_ids: np.ndarray, load: Callable[..., Any]
) -> tuple[np.ndarray, int, int]:
    """Return one vector a user, and how many events, known and unknown, they were made of."""
    histories = in_order_of(as_histories(load(user_ids)), user_ids)
    rows = encoder.item_embeddings_.rows_of(histories)
    vectors = np.asarray(encoder.transform(histories), dtype=np.float32)
    return vectors, len(rows), int((rows < 0).sum())


def in_order_of(histories: Histories, user_ids: np.ndarray) -> Histories:
    """Return one history a user asked for, in the order asked.

    Histories with ``user_ids`` are put in order, and users without one get an empty one; others
    must come row by row.
    """
    if histories.user_ids is None:
        if len(histories) != len(user_ids):
            raise ValueError(
                f"load returned {len(histories)} histories for {len(user_ids)} users. Return one "
                "a user, in the order asked, or Histories with user_ids."
            )
        return histories
    rows = Vocabulary(histories.user_ids, "user_ids").lookup(user_ids)
    if (rows >= 0).sum() != len(histories):
        asked = set(user_ids.tolist())
        others = [user for user in histories.user_ids.tolist() if user not in asked]
        raise ValueError(
            f"load returned histories of users that were not asked for, such as {others[:5]}."
        )
    lengths = np.where(rows < 0, 0, histories.lengths[rows] if len(histories) else 0)
    starts = histories.offsets[np.maximum(rows, 0)]
    events = positions_of_ranges(starts, lengths)
    return Histories._trusted(
        histories.codes[events],
        offsets_of(lengths),
        histories.vocabulary,
        None if histories.timestamps is None else histories.timestamps[events],
        None if histories.weights is None else histories.weights[events],
        user_ids,
    )
