"""The cache of user vectors: answers within a deadline, from memory, a store or the encoder."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from itertools import islice
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval

from skue.encoders._base import UserEncoder
from skue.encoders._pipelines import unwrapped
from skue.reading._ids import shown
from skue.serving._loading import Loaded, load_and_encode, user_list
from skue.serving._stores import (
    Entry,
    GuardedStore,
    Store,
    check_options,
    checked_secret,
    key_of,
    pack_entry,
    unpack_entry,
)
from skue.serving._workers import WorkerPool

_LOG = logging.getLogger("skue.serving")
_WARM_BATCH = 1024
# Seconds after which users whose computation has never started are computed by another call.
_PATIENCE = 60.0
# How many invalidated users one read removes from a store that was down, to limit its wait.
_REMOVED_AT_ONCE = 1000
# How many invalidations are remembered for reads of the store that are on their way.
_REMEMBERED = 100_000
_SECONDS = [None, Interval(Real, 0, None, closed="right")]
_CONSTRAINTS: dict[str, list[Any]] = {
    "max_age": _SECONDS,
    "max_entries": [Interval(Integral, 1, None, closed="left")],
    "deadline": _SECONDS,
}
_COUNTER_OF = {"cached": "hits", "fresh": "fresh", "stale": "stale", "fallback": "fallbacks"}
_OTHER_COUNTERS = ("timeouts", "shed", "errors", "absent", "load_errors", "damaged")


def snapshot(estimator: Any) -> Any:
    """Return a copy that shares the arrays. Refitting the original replaces its own."""
    copied = object.__new__(type(estimator))
    copied.__dict__ = vars(estimator).copy()
    return copied


class Claim(Future[Entry]):
    """A user that is being computed; all callers wait for the same one.

    It is cancelled if the computation was interrupted.

    Attributes
    ----------
    expires : float
        When it may be replaced, on the clock of ``time.monotonic``, because its caller was
        interrupted before the computation started. Infinity from the start of the computation.
    outdated : bool
        Whether the user was invalidated since. The vector is then answered, but not kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expires = time.monotonic() + _PATIENCE
        self.outdated = False

    def is_open(self) -> bool:
        """Return whether there is, or will be, a result."""
        if not self.done():
            return time.monotonic() < self.expires
        return not self.cancelled() and self.exception() is None


# The entry of each user, and where it came from.
Found = dict[Any, tuple[Entry, str]]
Claims = dict[Any, Claim]


class Held(NamedTuple):
    """An entry in memory, whether it may be served as "cached", and when it was put there."""

    entry: Entry
    is_current: bool
    since: float


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
        check_options(UserVectorCache, _CONSTRAINTS, options)
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
        # The newest entry of each user, newest last.
        self._memory: OrderedDict[Any, Held] = OrderedDict()
        self._claims: Claims = {}
        # When users were invalidated: stored entries that are not newer are ignored. Those that
        # the store failed to remove are kept until it does.
        self._invalidated: OrderedDict[Any, float] = OrderedDict()
        self._unremoved: dict[Any, float] = {}
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
        until, users = self._until(), user_list(user_ids)
        found: Found = {}
        missing = list(dict.fromkeys(users))
        while missing:
            missing = self._answer(missing, load, until, found)
        vectors = np.empty((len(users), len(self._fallback)), dtype=np.float32)
        for row, user in enumerate(users):
            vectors[row] = found[user][0].vector
        statuses = [found[user][1] for user in users]
        self._count_answers(statuses, [found[user][0].time for user in users])
        return vectors, np.array(statuses, dtype="<U8")

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
            # Users that a caller of get is computing are not computed again.
            _, _, mine = self._claim(users[start : start + _WARM_BATCH], since=math.inf)
            try:
                entries = self._compute(mine, load)
                if not self._write(mine, entries) and self._store is not None:
                    raise RuntimeError(
                        f"The store failed to write {len(entries)} vectors: "
                        f"{self._store.last_error!r}. Call warm again when it is available."
                    ) from self._store.last_error
            finally:
                self._release(mine)
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
                claim = self._claims.pop(user, None)
                if claim is not None:
                    claim.outdated = True
                if user in self._memory:
                    self._memory[user] = self._memory[user]._replace(is_current=False)
                if self._store is not None:
                    self._unremoved[user] = self._invalidated[user] = now
                    self._invalidated.move_to_end(user)
            while len(self._invalidated) > _REMEMBERED:
                self._invalidated.popitem(last=False)
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
        self._closed = True
        self._readers.close()
        self._loaders.close()

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

    def _answer(
        self, users: list[Any], load: Callable[..., Any], until: float, found: Found
    ) -> list[Any]:
        """Add vectors to ``found``, and return the users whose computation was interrupted."""
        seen, claims = self._start(users, load, until)
        found.update(seen)
        if claims:
            patience = min(until, *(c.expires for c in claims.values())) - time.monotonic()
            wait(claims.values(), None if patience == math.inf else max(patience, 0.0))
        interrupted, n_late = [], 0
        for user in users:
            if user in found:
                continue
            claim = claims.get(user)
            if claim is None:
                found[user] = self._last_good(user)
            elif claim.done() and not claim.cancelled():
                is_failed = claim.exception() is not None
                found[user] = self._last_good(user) if is_failed else (claim.result(), "fresh")
            elif time.monotonic() >= until:
                n_late += 1
                found[user] = self._last_good(user)
            else:
                interrupted.append(user)
        if n_late:
            self._count(timeouts=n_late)
        return interrupted

    def _start(
        self, users: list[Any], load: Callable[..., Any], until: float
    ) -> tuple[Found, Claims]:
        """Return the vectors that the cache has, and claims of the users that are computed.

        Without a deadline, the caller does all the work. With a deadline, a thread reads the
        store, and passes the missing users to a second pool, which loads and encodes. Users in
        the store therefore never wait for loads.
        """
        if self._closed:
            return self._in_memory(users), {}
        if until == math.inf:
            seen, claims, mine = self._look(users)
            try:
                self._compute_and_write(mine, load)
            finally:
                self._release(mine)
            return seen, claims
        if self._store is None:
            return self._look_and_compute(users, load)
        reading = self._readers.submit(self._look_and_compute, users, load)
        if reading is None:
            self._count(shed=len(users))
            return self._in_memory(users), {}
        wait([reading], max(until - time.monotonic(), 0.0))
        if reading.cancelled():  # by close
            return self._in_memory(users), {}
        if reading.done():
            return reading.result()
        self._count(timeouts=len(users))
        return {}, {}

    def _look_and_compute(self, users: list[Any], load: Callable[..., Any]) -> tuple[Found, Claims]:
        """Return what the cache has, and let a thread compute the users that no other computes."""
        seen, claims, mine = self._look(users)
        if mine:
            computing = self._loaders.submit(self._compute_and_write, mine, load)
            if computing is None:
                self._count(shed=len(mine))
                self._release(mine, RuntimeError("too many calls wait for load"))
            else:
                computing.add_done_callback(partial(self._release_after, mine))
        return seen, claims

    def _look(self, users: list[Any]) -> tuple[Found, Claims, Claims]:
        """Return the vectors in the store or in memory, and claim the missing users."""
        if self._store is None:
            return self._claim(users, since=-math.inf)
        started = time.monotonic()
        seen = self._read(users)
        missing = [user for user in users if user not in seen]
        more, claims, mine = self._claim(missing, since=started)
        return seen | more, claims, mine

    def _claim(self, users: Iterable[Any], since: float) -> tuple[Found, Claims, Claims]:
        """Claim users for one computation in the process.

        Returns
        -------
        seen : Found
            Vectors in memory that were put there since the given time, on the clock of
            ``time.monotonic``: perhaps after the caller has looked into the store.
        claims : Claims
            All other users.
        mine : Claims
            Those that the caller has to compute.
        """
        seen: Found = {}
        claims: Claims = {}
        mine: Claims = {}
        now = time.time()
        with self._lock:
            for user in users:
                held = self._current(user, now)
                if held is not None and held.since >= since:
                    seen[user] = held.entry, "cached"
                    continue
                claim = self._claims.get(user)
                if claim is None or not claim.is_open():
                    claim = self._claims[user] = mine[user] = Claim()
                claims[user] = claim
        return seen, claims, mine

    def _compute_and_write(self, mine: Claims, load: Callable[..., Any]) -> None:
        """Load, encode and store users. Errors are counted and logged."""
        try:
            self._write(mine, self._compute(mine, load))
        except BaseException as error:
            self._count(load_errors=1)
            _LOG.warning("No new vectors for %d users: %r", len(mine), error, exc_info=True)
            if not isinstance(error, Exception):
                raise
            self._release(mine, error)

    def _compute(self, mine: Claims, load: Callable[..., Any]) -> dict[Any, Entry]:
        """Load and encode users, and end their claims with the vectors or errors."""
        with self._lock:
            # Claims that have expired while they waited are computed by another call.
            users = [user for user, claim in mine.items() if claim.is_open()]
            for claim in mine.values():
                claim.expires = math.inf
        if not users:
            return {}
        # The time before loading, as the history does not include later events.
        now = time.time()
        loaded = load_and_encode(self.encoder, users, load)
        entries = {user: Entry(vector, now) for user, vector in loaded.vectors.items()}
        with self._lock:
            for user, entry in entries.items():
                self._remember(user, entry, current=not mine[user].outdated)
        self._report(loaded)
        for user in users:
            if user in entries:
                mine[user].set_result(entries[user])
            else:
                mine[user].set_exception(loaded.errors[user])
        return entries

    def _release_after(self, mine: Claims, computing: Future[Any]) -> None:
        # An interrupt that load raises in a thread has no caller, so it is a failed load.
        self._release(mine, None if computing.cancelled() else computing.exception())

    def _release(self, mine: Claims, error: BaseException | None = None) -> None:
        """Drop claims. Those without a result end with the error, or else are cancelled."""
        with self._lock:
            for user, claim in mine.items():
                if self._claims.get(user) is claim:
                    del self._claims[user]
        for claim in mine.values():
            if claim.done():
                continue
            if error is not None:
                claim.set_exception(error)
            elif claim.cancel():
                claim.set_running_or_notify_cancel()  # wakes the callers

    def _read(self, users: list[Any]) -> Found:
        """Return the vectors in the store, or in memory while the store is down."""
        assert self._store is not None
        keys = {key_of(self.encoder_id, user): user for user in users}
        answer = self._store.get_many(list(keys))
        if answer is None:
            return self._in_memory(users)
        with self._lock:
            unremoved = list(islice(self._unremoved, _REMOVED_AT_ONCE))
        self._remove(unremoved)
        zero, n_damaged = not self._fallback.any(), 0
        entries: dict[Any, Entry] = {}
        for key, data in answer.items():
            entry = unpack_entry(key, len(self._fallback), data, self._secret, zero=zero)
            if entry is None:
                n_damaged += 1
            else:
                entries[keys[key]] = entry
        now, seen = time.time(), {}
        with self._lock:
            for user, entry in entries.items():
                times = (self._invalidated.get(user, 0.0), self._unremoved.get(user, 0.0))
                if entry.time <= max(times):
                    continue
                if user not in self._memory or self._memory[user].entry.time < entry.time:
                    self._remember(user, entry, current=True)
                if self._is_young(entry, now):
                    seen[user] = entry, "cached"
        if n_damaged:
            self._count(damaged=n_damaged)
        return seen

    def _write(self, mine: Claims, entries: dict[Any, Entry]) -> bool:
        """Write the entries of users that were not invalidated meanwhile to the store."""
        if self._store is None or not entries:
            return True
        packed = {}
        for user, entry in entries.items():
            if not mine[user].outdated:
                key = key_of(self.encoder_id, user)
                packed[key] = pack_entry(key, entry, self._secret)
        if not self._store.set_many(packed):
            return False
        outdated = []
        with self._lock:
            for user, entry in entries.items():
                if mine[user].outdated:
                    outdated.append(user)
                    self._unremoved.setdefault(user, time.time())
                elif self._unremoved.get(user, math.inf) < entry.time:
                    del self._unremoved[user]
        # Outdated entries may just have been written, and other processes would use them.
        self._remove(outdated)
        return True

    def _remove(self, users: list[Any]) -> None:
        """Remove users from the store. If that fails, the next read tries again."""
        if self._store is None or not users:
            return
        with self._lock:
            times = {user: self._unremoved.get(user) for user in users}
        if self._store.delete_many([key_of(self.encoder_id, user) for user in users]):
            with self._lock:
                for user, invalidated in times.items():
                    # Unless it was invalidated again since.
                    if invalidated is not None and self._unremoved.get(user) == invalidated:
                        del self._unremoved[user]

    def _in_memory(self, users: list[Any]) -> Found:
        now = time.time()
        with self._lock:
            found = {user: self._current(user, now) for user in users}
        return {user: (held.entry, "cached") for user, held in found.items() if held is not None}

    def _current(self, user: Any, now: float) -> Held | None:
        """Return what is in memory if it may be served as "cached"."""
        held = self._memory.get(user)
        if held is None or not held.is_current or not self._is_young(held.entry, now):
            return None
        self._memory.move_to_end(user)
        return held

    def _is_young(self, entry: Entry, now: float) -> bool:
        return self.max_age is None or now - entry.time <= self.max_age

    def _remember(self, user: Any, entry: Entry, *, current: bool) -> None:
        """Keep an entry in memory; an outdated one only if there is no other."""
        if current or user not in self._memory:
            self._memory[user] = Held(entry, current, time.monotonic())
            self._memory.move_to_end(user)
        while len(self._memory) > self.max_entries:
            self._memory.popitem(last=False)

    def _last_good(self, user: Any) -> tuple[Entry, str]:
        """Return the newest vector of the user, however old, or the fallback."""
        with self._lock:
            held = self._memory.get(user)
        if held is None:
            return Entry(self._fallback, time.time()), "fallback"
        return held.entry, "stale"

    def _count(self, **counts: int) -> None:
        with self._lock:
            self._counts.update(counts)

    def _count_answers(self, statuses: list[str], times: list[float]) -> None:
        """Count one answer, and the ages of its cached and stale vectors."""
        now = time.time()
        served = zip(statuses, times, strict=True)
        ages = [max(now - then, 0.0) for status, then in served if status in ("cached", "stale")]
        with self._lock:
            for status, counter in _COUNTER_OF.items():
                self._counts[counter] += statuses.count(status)
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
