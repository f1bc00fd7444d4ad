"""The cache of user vectors: answers within a deadline, from memory, a store or the encoder."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, MutableMapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval

from skue.encoders._base import UserEncoder
from skue.reading._ids import as_ids, shown
from skue.serving.cache._entries import Entry, checked_secret
from skue.serving.cache._source import VectorSource
from skue.serving.cache._state import Counters, SharedState
from skue.serving.cache._stores import GuardedStore, check_options
from skue.serving.cache._tasks import Task, wait_for
from skue.serving.cache._threads import TaskRunner

_STORE_REST = 1.0
_WARM_BATCH = 1024
_SECONDS = [None, Interval(Real, 0, None, closed="right")]
_CONSTRAINTS: dict[str, list[Any]] = {
    "max_age": _SECONDS,
    "max_entries": [Interval(Integral, 1, None, closed="left")],
    "deadline": _SECONDS,
}


class UserVectorCache:
    """User vectors of one fitted encoder, computed when they are missing.

    The key of an entry holds the ids of the encoder and the user, and its checksum covers both.
    Entries that are damaged, or belong to another encoder or another user, are never served. With
    ``key``, entries are signed, which also protects against people who can write to the store.

    If the store fails, it is not called for a second and then tried again. Meanwhile the cache
    serves vectors from memory and computes the others. Errors during :meth:`get` are counted and
    logged, not raised.

    Parameters
    ----------
    encoder : UserEncoder
        A fitted encoder. Refitting it later does not change the cache.
    store : MutableMapping of str to bytes, default=None
        A dict, :class:`RedisStore`, :class:`LMDBStore`, or any other mapping. None keeps the
        vectors in the memory of this process only.
    max_age : float, default=None
        Seconds after which a vector is computed again. None keeps it until it is invalidated.
    max_entries : int, default=100_000
        How many vectors this process keeps in memory. With a store, they are served only while
        the store is down or a new vector is late.
    deadline : float, default=None
        The longest time in seconds that :meth:`get` waits. Reading, loading and encoding continue
        in threads and fill the cache. None (or infinity) waits for all vectors, and does the work
        in the thread of the caller.
    key : bytes, default=None
        A secret of at least 16 bytes to sign entries with (HMAC-SHA256). Entries that are not
        signed with it are ignored and counted as ``damaged``. All processes that share the store
        need the same key.

    Attributes
    ----------
    encoder : UserEncoder
    encoder_id, space_id : str
    deadline, max_age, max_entries : as given

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, UserVectorCache
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea", "cup"]])
    >>> log = {"ann": ["tea"], "bob": ["cup", "cup"]}
    >>> cache = UserVectorCache(encoder)
    >>> vectors, status = cache.get(["bob"], load=lambda ids: [log[i] for i in ids])
    >>> vectors, status = cache.get(["ann", "bob"], load=lambda ids: [log[i] for i in ids])
    >>> vectors
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    >>> status
    array(['fresh', 'cached'], dtype='<U8')
    """

    def __init__(
        self,
        encoder: UserEncoder,
        store: MutableMapping[str, bytes] | None = None,
        *,
        max_age: float | None = None,
        max_entries: int = 100_000,
        deadline: float | None = None,
        key: bytes | None = None,
    ) -> None:
        _check(encoder, {"max_age": max_age, "max_entries": max_entries, "deadline": deadline})
        # A copy that shares the arrays: refitting the original replaces its own.
        self.encoder = copy.copy(encoder)
        self.encoder_id = encoder.encoder_id_
        self.space_id = encoder.space_id_
        self.max_age, self.max_entries, self.deadline = max_age, max_entries, deadline
        self._store = None if store is None else GuardedStore(store, time.monotonic, _STORE_REST)
        self._state = SharedState(max_entries, max_age)
        self._closed = False
        self._counters = Counters()
        self._source = VectorSource(
            self.encoder, self._store, checked_secret(key), self._state, self._counters
        )
        self._runner = TaskRunner(
            self._source, self._state, self._counters, has_store=store is not None
        )

    def get(self, user_ids: Any, load: Callable[[np.ndarray], Any]) -> tuple[Any, np.ndarray]:
        """Return one vector per user, within the deadline.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
            Integers or strings.
        load : callable
            ``load(missing_ids)`` returns the histories of the given users in any form that
            :func:`skue.as_histories` accepts: one history per user, in the order of
            ``missing_ids``. Histories with ``user_ids``, and pandas objects with an index of user
            ids, may be in any order. Histories with ``user_ids`` may leave out users without
            events. Users that were not asked for, or that occur twice, are an error of the whole
            call.

            The function gets a copy of the ids. It is called at most once, possibly in another
            thread and after ``get`` has returned. If a single history cannot be encoded, only its
            user gets no new vector.

        Returns
        -------
        vectors : ndarray of shape (n_users, n_dims), float32
        status : ndarray of shape (n_users,)
            ``"cached"``: a stored vector. ``"fresh"``: computed in this call. ``"stale"``: an
            outdated vector, because the new one failed or is late. ``"fallback"``: the fallback
            vector of the encoder, because there is no other.
        """
        until = math.inf if self.deadline is None else time.monotonic() + self.deadline
        users = user_list(user_ids)
        if self._store is None:
            found, missing = self._state.recall(users, time.time())
        else:
            found, missing = {}, list(dict.fromkeys(users))
        while missing:
            missing = self._answer(missing, load, until, found)
        vectors = np.empty((len(users), len(self.encoder.fallback_vector_)), dtype=np.float32)
        for row, user in enumerate(users):
            vectors[row] = found[user][0].vector
        statuses = [found[user][1] for user in users]
        made = [found[user][0].time for user in users if found[user][1] in ("cached", "stale")]
        now = time.time()
        self._counters.served(statuses, [max(now - then, 0.0) for then in made])
        return vectors, np.array(statuses, dtype="<U8")

    def warm(self, user_ids: Any, load: Callable[[np.ndarray], Any]) -> int:
        """Compute and store vectors, for example before switching to a new encoder.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
        load : callable
            As for :meth:`get`; called for about a thousand users at a time.

        Returns
        -------
        n_warmed : int
            How many vectors this call computed and the cache holds. Histories that could not be
            encoded are counted as ``errors`` and logged. Users that another call is computing at
            this moment do not count.

        Raises
        ------
        RuntimeError
            If the store fails to write the vectors. Exceptions of ``load`` are raised as well.
        """
        users = list(dict.fromkeys(user_list(user_ids)))
        n_warmed = 0
        for start in range(0, len(users), _WARM_BATCH):
            task = Task(load)
            with task.caller:
                try:
                    # Users that a caller of get is computing are not computed again.
                    self._state.claim(users[start : start + _WARM_BATCH], task)
                    entries = self._source.compute(task, task.users)
                    if not self._source.keep(task, entries) and self._store is not None:
                        raise RuntimeError(
                            f"The store failed to write {len(entries)} vectors: "
                            f"{self._store.last_error!r}. Call warm again when it is available."
                        ) from self._store.last_error
                    n_warmed += len(entries)
                    task.finish()
                finally:
                    self._source.settle(task)
        return n_warmed if self._store is not None else min(n_warmed, self.max_entries)

    def invalidate(self, user_ids: Any) -> None:
        """Mark the vectors of users as outdated: the next :meth:`get` computes them again.

        Call this when their histories have changed. The result of a running computation is not
        kept, as it may be based on the old history. If the new vector is late, the old one is
        served as ``"stale"``. Another process that shares the store and is computing the same
        user at this moment is not notified. Call this in the process that serves the user, or
        limit the age of vectors with ``max_age``.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
        """
        users = user_list(user_ids)
        self._state.forget(users, distrust=self._store is not None)
        self._source.remove(users)

    @property
    def counters(self) -> dict[str, float]:
        """Counters as a dict of numbers.

        - ``hits``: users answered with a cached vector.
        - ``misses``: all other users, which are ``fresh``, ``stale`` or ``fallbacks``. Among them
          are ``timeouts`` (not ready at the deadline) and ``shed`` (the queue was full).
        - ``errors``: users whose history could not be encoded.
        - ``absent``: users that labelled histories left out, and that therefore have no events.
        - ``store_errors`` and ``load_errors``: calls that failed.
        - ``damaged``: stored entries that were invalid for their user and encoder.
        - ``unknown_item_rate``: the share of the loaded events whose item the encoder does not
          know.
        - ``mean_vector_age`` and ``max_vector_age``: mean and maximum of the ages of the cached
          and stale vectors served, in seconds since just before their histories were loaded.
        """
        errors = 0 if self._store is None else self._store.n_errors
        return {**self._counters.numbers(), "store_errors": errors}

    def close(self) -> None:
        """Stop computing: later calls answer from memory only.

        This does not wait. Queued work is dropped, and running work is finished.
        """
        self._closed = True
        self._runner.close()

    def __enter__(self) -> UserVectorCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"UserVectorCache(encoder_id={self.encoder_id!r}, space_id={self.space_id!r}, "
            f"n_entries={len(self._state)})"
        )

    def _answer(
        self,
        users: list[Any],
        load: Callable[..., Any],
        until: float,
        found: dict[Any, tuple[Entry, str]],
    ) -> list[Any]:
        """Add a vector of each user to ``found``; return users whose task was interrupted."""
        waited = {} if self._closed else self._begin(users, load, until)
        wait_for(waited, until)
        interrupted, n_late = [], 0
        for user in users:
            task = waited.get(user)
            # Checked before the results are read: no results are added after a task is done.
            is_done = task is None or task.done()
            result = None if task is None else task.results.get(user)
            if result is not None:
                found[user] = result
            elif task is None or task.finished or time.monotonic() >= until:
                found[user] = self._last_good(user, task)
                n_late += not is_done
            else:
                interrupted.append(user)
        if n_late:
            self._counters.add(timeouts=n_late)
        return interrupted

    def _begin(self, users: list[Any], load: Callable[..., Any], until: float) -> dict[Any, Task]:
        """Start computing the users that no task computes; return the task of each user."""
        task = Task(load)
        with task.caller:
            waited = self._state.claim(users, task)
            if task.users and until == math.inf:
                self._runner.run_here(task)
            elif task.users:
                self._runner.run_in_threads(task)
        return waited

    def _last_good(self, user: Any, task: Task | None) -> tuple[Entry, str]:
        entry = None if task is None else task.last_good.get(user)
        entry = entry or self._state.last_good(user)
        if entry is not None:
            return entry, "stale"
        return Entry(self.encoder.fallback_vector_, time.time()), "fallback"


def user_list(user_ids: Any) -> list[Any]:
    # A single string would be taken for a list of its characters.
    if isinstance(user_ids, (str, bytes)) or not isinstance(user_ids, Iterable):
        one = shown(user_ids)
        raise ValueError(f"user_ids must be a list of ids, got {one}. Write one id as [{one}].")
    return as_ids(user_ids, "user_ids").tolist()


def _check(encoder: Any, options: dict[str, Any]) -> None:
    if not isinstance(encoder, UserEncoder):
        raise ValueError(f"encoder must be a user encoder, got {type(encoder).__name__}.")
    if isinstance(encoder.cold_start, str) and encoder.cold_start == "raise":
        raise ValueError(
            "A cache cannot use an encoder with cold_start='raise': every new user would be an "
            "error. Set cold_start='mean'."
        )
    check_options(UserVectorCache, _CONSTRAINTS, options)
