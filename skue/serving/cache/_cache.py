"""A cache of user vectors that bounds the wait and never mixes encoders or users."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, MutableMapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skue.encoders._base import UserEncoder
from skue.serving._ids import id_list
from skue.serving.cache._counters import Counters
from skue.serving.cache._entries import Entry, checked_secret
from skue.serving.cache._ledger import Ledger
from skue.serving.cache._runner import TaskRunner
from skue.serving.cache._source import VectorSource
from skue.serving.cache._stores import GuardedStore
from skue.serving.cache._tasks import Task, wait_for

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

    Entries are kept under the encoder's id and the user's id and carry a checksum over both. What
    is damaged, of another encoder or of another user is never served. With ``key`` the checksum
    is a signature: then this holds against people who can write to the store, too.

    A store that fails is left alone for a second and then tried again. Meanwhile the cache serves
    from its own memory and computes the rest. What :meth:`get` meets on its way is counted and
    logged, not raised.

    Parameters
    ----------
    encoder : UserEncoder
        A fitted encoder. Refitting it later does not change the cache.
    store : MutableMapping of str to bytes, default=None
        A dict, :class:`RedisStore`, :class:`LMDBStore`, or any other mapping. None keeps the
        vectors in this process.
    max_age : float, default=None
        Seconds after which a vector is computed anew. None keeps it until it is invalidated.
    max_entries : int, default=100_000
        How many vectors this process keeps. Without a store these are all; with one, they are
        served while the store is down or while a user's new vector is late.
    deadline : float, default=None
        The longest time in seconds that a caller of :meth:`get` waits. Reading, loading and
        encoding go on in threads and fill the cache. None (or infinity) waits until all is there,
        and does the work in the caller's own thread.
    key : bytes, default=None
        A secret of at least 16 bytes that signs the entries (HMAC-SHA256). Entries that are not
        signed with it are ignored and counted as ``damaged``. Give the same one to all processes
        that share the store.

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
        self._ledger = Ledger(max_entries, max_age)
        self._lock = self._ledger.lock
        self._closed = False
        self._counters = Counters()
        self._source = VectorSource(
            self.encoder, self._store, checked_secret(key), self._ledger, self._counters
        )
        self._runner = TaskRunner(
            self._source, self._ledger, self._counters, has_store=store is not None
        )

    def get(self, user_ids: Any, load: Callable[[np.ndarray], Any]) -> tuple[Any, np.ndarray]:
        """Return one vector a user, within the deadline.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
            Integers or strings.
        load : callable
            ``load(missing_ids)`` returns the histories of the given users in any form that
            :func:`skue.as_histories` reads: one a user, in the order of ``missing_ids``. Histories
            with ``user_ids``, and pandas objects with an index of user ids, may come in any order;
            such Histories may leave out users without events. Users that were not asked for, or
            that come twice, are an error of the whole call.

            The array of ids is the callable's own. It is called at most once, possibly in another
            thread and after ``get`` has returned. A single history that cannot be encoded costs
            only its own user the vector.

        Returns
        -------
        vectors : ndarray of shape (n_users, n_dims), float32
        status : ndarray of shape (n_users,)
            ``"cached"``, kept from before; ``"fresh"``, computed just now; ``"stale"``, the last
            good vector, because a new one is missing or late; ``"fallback"``, the encoder's
            fallback vector, because there is no other.
        """
        until = math.inf if self.deadline is None else time.monotonic() + self.deadline
        users = id_list(user_ids, "user_ids").tolist()
        if self._store is None:
            found, missing = self._ledger.recall(users, time.time())
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
        """Compute and keep the vectors of users, before a new encoder is switched to.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
        load : callable
            As for :meth:`get`; called for about a thousand users at a time.

        Returns
        -------
        n_warmed : int
            The number of users, without those whose history could not be encoded. These are
            counted as ``errors`` and logged.

        Raises
        ------
        RuntimeError
            When the store does not take the vectors. What ``load`` raises is raised too.
        """
        users = list(dict.fromkeys(id_list(user_ids, "user_ids").tolist()))
        n_failed = 0
        for start in range(0, len(users), _WARM_BATCH):
            task = Task(load)
            with task.caller:
                try:
                    # Who is being computed for a caller needs no second computation.
                    self._ledger.claim(users[start : start + _WARM_BATCH], task)
                    entries = self._source.compute(task, task.users)
                    if not self._source.keep(task, entries) and self._store is not None:
                        raise RuntimeError(
                            f"The store did not take {len(entries)} vectors: "
                            f"{self._store.last_error!r}. Call warm again when it is back."
                        ) from self._store.last_error
                    n_failed += len(task.users) - len(entries)
                    task.finish()
                finally:
                    self._source.settle(task)
        return len(users) - n_failed

    def invalidate(self, user_ids: Any) -> None:
        """Forget users whose histories have changed: the next :meth:`get` computes them anew.

        A computation under way may have seen the old history, and is kept nowhere. If the new
        vector is late, the old one is served as ``"stale"``. Other processes that share the store
        and are computing the same user at this moment do not hear of it: call this where the user
        is served, or bound the harm with ``max_age``.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
        """
        users = id_list(user_ids, "user_ids").tolist()
        self._ledger.forget(users, doubt=self._store is not None)
        self._source.remove(users)

    @property
    def counters(self) -> dict[str, float]:
        """What happened so far, as a dict of numbers.

        Users answered: ``hits`` (cached) and ``misses``, which are ``fresh``, ``stale`` or
        ``fallbacks``; among them ``timeouts`` (not there at the deadline) and ``shed`` (too much
        work was waiting). Users whose own history could not be encoded: ``errors``. Users whom
        labelled histories left out, and who therefore have no events: ``absent``. Calls that
        failed: ``store_errors``, ``load_errors``. Entries in the store that were not what this
        cache may serve for that user: ``damaged``.

        ``unknown_item_rate`` is the share of the loaded events whose item the encoder does not
        know. The age of a cached or stale vector is the time of the answer minus the time just
        before its history was loaded, in seconds. ``mean_vector_age`` is the sum of the ages of
        all such vectors served, divided by their number; ``max_vector_age`` is the largest.
        """
        errors = 0 if self._store is None else self._store.n_errors
        return {**self._counters.numbers(), "store_errors": errors}

    def close(self) -> None:
        """Stop working: later calls answer from memory, and get no new vectors.

        This does not wait. Work that nobody has begun is dropped; work under way is finished.
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
            f"n_entries={len(self._ledger)})"
        )

    @property
    def _pending(self) -> dict[Any, Task]:
        return self._ledger.pending()

    def _answer(
        self,
        users: list[Any],
        load: Callable[..., Any],
        until: float,
        found: dict[Any, tuple[Entry, str]],
    ) -> list[Any]:
        """Find vectors of users, or what stands for them; return whose task was interrupted."""
        waited = {} if self._closed else self._begin(users, load, until)
        wait_for(waited, until)
        interrupted, n_late = [], 0
        for user in users:
            task = waited.get(user)
            # In this order: a task that is done has all the results that it will have.
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
        """Start computing whom nobody computes; return the task that computes each user."""
        task = Task(load)
        with task.caller:
            waited = self._ledger.claim(users, task)
            if task.users and until == math.inf:
                self._runner.run_here(task)
            elif task.users:
                self._runner.run_in_threads(task)
        return waited

    def _last_good(self, user: Any, task: Task | None) -> tuple[Entry, str]:
        entry = None if task is None else task.last_good.get(user)
        entry = entry or self._ledger.last_good(user)
        if entry is not None:
            return entry, "stale"
        return Entry(self.encoder.fallback_vector_, time.time()), "fallback"


def _check(encoder: Any, options: dict[str, Any]) -> None:
    if not isinstance(encoder, UserEncoder):
        raise ValueError(f"encoder must be a user encoder, got {type(encoder).__name__}.")
    if isinstance(encoder.cold_start, str) and encoder.cold_start == "raise":
        raise ValueError(
            "A cache cannot serve an encoder with cold_start='raise': every new user would be an "
            "error. Set cold_start='mean'."
        )
    for name, value in options.items():
        # To Python, bool is a number.
        if isinstance(value, bool):
            raise ValueError(f"{name} must be a number, got {value}.")
    validate_parameter_constraints(_CONSTRAINTS, options, UserVectorCache.__name__)
