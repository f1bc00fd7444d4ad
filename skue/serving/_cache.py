"""The cache of user vectors: answers within a deadline, from memory, a store or the encoder."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skue.encoders._base import UserEncoder
from skue.encoders._pipelines import unwrapped
from skue.reading._ids import shown
from skue.serving._loading import Loaded, load_and_encode, user_list
from skue.serving._stores import (
    Entry,
    GuardedStore,
    Store,
    checked_secret,
    key_of,
    pack_entry,
    unpack_entry,
)
from skue.serving._workers import WorkerPool

_LOG = logging.getLogger("skue.serving")
_WARM_BATCH = 1024
# How many invalidations are remembered.
_REMEMBERED = 100_000
_SECONDS = [None, Interval(Real, 0, None, closed="right")]
_CONSTRAINTS: dict[str, list[Any]] = {
    "max_age": _SECONDS,
    "max_entries": [Interval(Integral, 1, None, closed="left")],
    "deadline": _SECONDS,
}
_COUNTER_OF = {"cached": "hits", "fresh": "fresh", "stale": "stale", "fallback": "fallbacks"}
_OTHER_COUNTERS = ("timeouts", "shed", "errors", "absent", "load_errors", "damaged")

# A vector, its time, and the status of the user who gets it.
Answer = tuple[Entry, str]
# Users that are being read or computed. All callers wait for the same future.
Claims = dict[Any, Future[Answer]]


def snapshot(estimator: Any) -> Any:
    """Return a copy that shares the arrays. Refitting the original replaces its own."""
    copied = object.__new__(type(estimator))
    copied.__dict__ = vars(estimator).copy()
    return copied


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
        A fitted encoder, or a search or FrozenEstimator around one. Refitting it later does not
        change the cache.
    store : Store, default=None
        A dict or another mapping of str to bytes, :class:`RedisStore`, :class:`LMDBStore`, or your
        own: see :class:`~skue.serving.Store`. None keeps the vectors in the memory of this process
        only.
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
        A copy of the given encoder.
    encoder_id, space_id : str
        ``encoder_id_`` and ``space_id_`` of the encoder.
    deadline, max_age, max_entries : as given
        The given values.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, UserVectorCache
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea", "cup"]])
    >>> log = {"ann": ["tea"], "bob": ["cup", "cup"]}
    >>> cache = UserVectorCache(encoder)
    >>> vectors, status = cache.get(["bob"], load=lambda ids: [log.get(i, []) for i in ids])
    >>> vectors, status = cache.get(["ann", "bob"], load=lambda ids: [log.get(i, []) for i in ids])
    >>> vectors
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    >>> status
    array(['fresh', 'cached'], dtype='<U8')
    """

    def __init__(
        self,
        encoder: UserEncoder,
        store: Store | None = None,
        *,
        max_age: float | None = None,
        max_entries: int = 100_000,
        deadline: float | None = None,
        key: bytes | None = None,
    ) -> None:
        encoder = unwrapped(encoder)
        if not isinstance(encoder, UserEncoder):
            raise ValueError(f"encoder must be a user encoder, got {type(encoder).__name__}.")
        if isinstance(encoder.cold_start, str) and encoder.cold_start == "raise":
            raise ValueError(
                "A cache cannot use an encoder with cold_start='raise': every new user would be an "
                "error. Set cold_start='mean'."
            )
        options = {"max_age": max_age, "max_entries": max_entries, "deadline": deadline}
        validate_parameter_constraints(_CONSTRAINTS, options, "UserVectorCache")
        self.encoder = snapshot(encoder)
        self.encoder_id = self.encoder.encoder_id_
        self.space_id = self.encoder.space_id_
        self.max_age, self.max_entries, self.deadline = max_age, max_entries, deadline
        self._fallback = self.encoder.fallback_vector_
        self._store = None if store is None else GuardedStore(store)
        self._secret = checked_secret(key)
        self._readers, self._loaders = WorkerPool("skue-cache-read"), WorkerPool("skue-cache-load")
        self._closed = False
        # One lock for all of the following. No other code is called while it is held.
        self._lock = threading.Lock()
        self._claims: Claims = {}
        # The newest entry of each user, and the last invalidations. An entry of a time before
        # the invalidation of its user is outdated, wherever it is.
        self._memory: OrderedDict[Any, Entry] = OrderedDict()
        self._invalidated: OrderedDict[Any, float] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._age_sum, self._age_max = 0.0, 0.0

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

            The ids are a read-only array. The function is called at most once, possibly in another
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
        until, users = self._until(), user_list(user_ids)
        found, claims = self._start(dict.fromkeys(users), load, until)
        wait(claims.values(), None if until == math.inf else max(until - time.monotonic(), 0.0))
        ended = {user: claim for user, claim in claims.items() if claim.done()}
        found |= {user: claim.result() for user, claim in ended.items() if not claim.exception()}
        found |= self._from_memory(user for user in claims if user not in found)
        vectors = np.empty((len(users), len(self._fallback)), dtype=np.float32)
        for row, user in enumerate(users):
            vectors[row] = found[user][0].vector
        self._count(timeouts=len(claims) - len(ended))
        self._count_answers([found[user] for user in users])
        return vectors, np.array([found[user][1] for user in users], dtype="<U8")

    def warm(self, user_ids: Any, load: Callable[[np.ndarray], Any]) -> int:
        """Compute and store vectors, for example before switching to a new encoder.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
            The users to compute; each counts once.
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
            mine: Claims = {}
            try:
                self._claim(users[start : start + _WARM_BATCH], mine)
                entries = self._compute(mine, load)
                if not self._write(entries):
                    assert self._store is not None
                    raise RuntimeError(
                        f"The store failed to write {len(entries)} vectors: "
                        f"{self._store.last_error!r}. Call warm again when it is available."
                    ) from self._store.last_error
            finally:
                self._release(mine, RuntimeError("warm failed"))
            n_warmed += len(entries)
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
            The users whose histories have changed.
        """
        users = user_list(user_ids)
        with self._lock:
            now = time.time()
            for user in users:
                self._claims.pop(user, None)
                self._invalidated[user] = now
                self._invalidated.move_to_end(user)
            while len(self._invalidated) > _REMEMBERED:
                user, then = self._invalidated.popitem(last=False)
                if user in self._memory and self._memory[user].time <= then:
                    del self._memory[user]
        self._remove(users)

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
        with self._lock:
            counts, age_sum, age_max = self._counts.copy(), self._age_sum, self._age_max
        names = (*_COUNTER_OF.values(), *_OTHER_COUNTERS)
        numbers: dict[str, float] = {name: counts[name] for name in names}
        numbers["misses"] = counts["fresh"] + counts["stale"] + counts["fallbacks"]
        numbers["unknown_item_rate"] = counts["unknown_events"] / max(counts["events"], 1)
        numbers["mean_vector_age"] = age_sum / max(counts["hits"] + counts["stale"], 1)
        numbers["max_vector_age"] = age_max
        numbers["store_errors"] = 0 if self._store is None else self._store.n_errors
        return numbers

    def close(self) -> None:
        """Stop computing: later calls answer from memory only.

        This does not wait. Queued work is dropped, and running work is finished.
        """
        self._closed = self._readers.closed = self._loaders.closed = True

    def __enter__(self) -> UserVectorCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"UserVectorCache(encoder_id={self.encoder_id!r}, space_id={self.space_id!r}, "
            f"n_entries={len(self._memory)})"
        )

    def _until(self) -> float:
        """Return when a call that starts now has to end, on the clock of ``time.monotonic``."""
        if self.deadline is None or self.deadline > threading.TIMEOUT_MAX:
            return math.inf
        return time.monotonic() + self.deadline

    def _start(
        self, users: Iterable[Any], load: Callable[..., Any], until: float
    ) -> tuple[dict[Any, Answer], Claims]:
        """Return the answers that are known at once, and claims of the other users.

        Without a deadline, the caller does all the work. With a deadline, a thread reads the
        store, and passes the missing users to a second pool, which loads and encodes. Users in
        the store therefore never wait for loads.
        """
        if self._closed:
            return self._from_memory(users), {}
        mine: Claims = {}
        try:
            found, claims = self._claim(users, mine, in_memory=self._store is None)
            if mine and until == math.inf:
                self._compute_and_write(self._read(mine), load)
            elif mine and self._store is None:
                self._pass_on(self._loaders, self._compute_and_write, mine, load)
            elif mine:
                self._pass_on(self._readers, self._read_and_pass_on, mine, load)
        except BaseException as error:
            self._release(mine, error)
            raise
        return found, claims

    def _claim(
        self, users: Iterable[Any], mine: Claims, *, in_memory: bool = False
    ) -> tuple[dict[Any, Answer], Claims]:
        """Claim users for one computation in the process.

        Returns the answers that are in memory, if these count, and the claims of all other users.
        Claims of users that the caller has to compute are also added to ``mine``.
        """
        found: dict[Any, Answer] = {}
        claims: Claims = {}
        with self._lock:
            now = time.time()
            for user in users:
                entry = self._memory.get(user) if in_memory else None
                if entry is not None and self._is_current(user, entry, now):
                    self._memory.move_to_end(user)
                    found[user] = entry, "cached"
                    continue
                claim = self._claims.get(user)
                if claim is None or (claim.done() and claim.exception() is not None):
                    claim = mine[user] = self._claims[user] = Future()
                claims[user] = claim
        return found, claims

    def _release(self, claims: Claims, error: BaseException | None = None) -> None:
        """Drop claims. Those without a result end with the error."""
        with self._lock:
            for user, claim in claims.items():
                if self._claims.get(user) is claim:
                    del self._claims[user]
        for claim in claims.values():
            if not claim.done():
                claim.set_exception(error)

    def _pass_on(
        self, pool: WorkerPool, step: Callable[..., None], mine: Claims, load: Callable[..., Any]
    ) -> None:
        """Let a thread do a step for claimed users. If there is no place, their claims end."""
        if not pool.submit(step, mine, load):
            self._count(shed=len(mine))
            self._release(mine, RuntimeError("too many calls wait"))

    def _read_and_pass_on(self, mine: Claims, load: Callable[..., Any]) -> None:
        missing = self._read(mine)
        if missing:
            self._pass_on(self._loaders, self._compute_and_write, missing, load)

    def _read(self, mine: Claims) -> Claims:
        """Answer users in the store, or in memory while it is down; return the others."""
        if self._store is None:
            return mine
        keys = {user: key_of(self.encoder_id, user) for user in mine}
        stored = self._store.get_many(list(keys.values()))
        entries: dict[Any, Entry] = {}
        for user, key in keys.items():
            if stored is not None and key in stored:
                entry = unpack_entry(key, len(self._fallback), stored[key], self._secret)
                if entry is None:
                    self._count(damaged=1)
                else:
                    entries[user] = entry
        with self._lock:
            now = time.time()
            seen = entries if stored is not None else self._memory
            current = {u: seen[u] for u in mine if u in seen and self._is_current(u, seen[u], now)}
            self._remember(entries)
        for user, entry in current.items():
            mine[user].set_result((entry, "cached"))
        self._release({user: mine[user] for user in current})
        return {user: claim for user, claim in mine.items() if user not in current}

    def _compute_and_write(self, mine: Claims, load: Callable[..., Any]) -> None:
        """Load, encode and store users. Errors are counted and logged."""
        try:
            self._write(self._compute(mine, load))
            self._release(mine)
        except BaseException as error:
            self._count(load_errors=1)
            _LOG.warning("No new vectors for %d users: %r", len(mine), error, exc_info=True)
            self._release(mine, error)
            if not isinstance(error, Exception):
                raise

    def _compute(self, mine: Claims, load: Callable[..., Any]) -> dict[Any, Entry]:
        """Load and encode users, and end their claims with the vectors or errors."""
        if not mine:
            return {}
        # The time before loading, as the history does not include later events.
        now = time.time()
        loaded = load_and_encode(self.encoder, list(mine), load)
        entries = {user: Entry(vector, now) for user, vector in loaded.vectors.items()}
        with self._lock:
            self._remember(entries)
        self._report(loaded)
        for user, entry in entries.items():
            mine[user].set_result((entry, "fresh"))
        for user, error in loaded.errors.items():
            mine[user].set_exception(error)
        return entries

    def _write(self, entries: dict[Any, Entry]) -> bool:
        """Write entries to the store, but for those of users that were invalidated meanwhile."""
        current = self._not_invalidated(entries)
        if self._store is None or not current:
            return True
        packed = {}
        for user in current:
            key = key_of(self.encoder_id, user)
            packed[key] = pack_entry(key, entries[user], self._secret)
        if not self._store.set_many(packed):
            return False
        # Other processes would use what was written after its invalidation.
        still_current = self._not_invalidated(entries)
        self._remove([user for user in current if user not in still_current])
        return True

    def _remove(self, users: list[Any]) -> None:
        """Remove users from the store."""
        if self._store is not None and users:
            self._store.delete_many([key_of(self.encoder_id, user) for user in users])

    def _not_invalidated(self, entries: dict[Any, Entry]) -> set[Any]:
        with self._lock:
            return {u for u, entry in entries.items() if entry.time > self._invalidated.get(u, 0.0)}

    def _is_current(self, user: Any, entry: Entry, now: float) -> bool:
        """Return whether an entry may be served as "cached"."""
        is_young = self.max_age is None or now - entry.time <= self.max_age
        return is_young and entry.time > self._invalidated.get(user, 0.0)

    def _remember(self, entries: dict[Any, Entry]) -> None:
        """Keep the newest entry of each user in memory."""
        for user, entry in entries.items():
            if user not in self._memory or self._memory[user].time < entry.time:
                self._memory[user] = entry
                self._memory.move_to_end(user)
        while len(self._memory) > self.max_entries:
            self._memory.popitem(last=False)

    def _from_memory(self, users: Iterable[Any]) -> dict[Any, Answer]:
        """Return the newest vector of each user, however old, or the fallback."""
        found: dict[Any, Answer] = {}
        with self._lock:
            now = time.time()
            for user in users:
                entry = self._memory.get(user)
                if entry is None:
                    found[user] = Entry(self._fallback, now), "fallback"
                else:
                    is_current = self._is_current(user, entry, now)
                    found[user] = entry, "cached" if is_current else "stale"
        return found

    def _count(self, **counts: int) -> None:
        with self._lock:
            self._counts.update(counts)

    def _count_answers(self, answers: list[Answer]) -> None:
        """Count one answer, and the ages of its cached and stale vectors."""
        now = time.time()
        kept = [entry for entry, status in answers if status in ("cached", "stale")]
        ages = [max(now - entry.time, 0.0) for entry in kept]
        with self._lock:
            self._counts.update(_COUNTER_OF[status] for _, status in answers)
            self._age_sum += sum(ages)
            self._age_max = max([self._age_max, *ages])

    def _report(self, loaded: Loaded) -> None:
        self._count(
            events=loaded.n_events,
            unknown_events=loaded.n_unknown,
            errors=len(loaded.errors),
            absent=loaded.n_absent,
        )
        if loaded.errors:
            user, error = next(iter(loaded.errors.items()))
            _LOG.warning(
                "The histories of %d of %d users cannot be encoded. User %s: %r",
                len(loaded.errors),
                len(loaded.errors) + len(loaded.vectors),
                shown(user),
                error,
                exc_info=error,
            )
