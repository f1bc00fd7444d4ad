"""A cache of user vectors that bounds the wait and never mixes encoders."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, MutableMapping
from concurrent.futures import wait
from itertools import islice
from typing import Any

import numpy as np

from skue.encoders._base import UserEncoder
from skue.serving._counters import Counters
from skue.serving._entries import Entry, key_of, pack_entry, unpack_entry
from skue.serving._ids import id_list
from skue.serving._stores import GuardedStore
from skue.serving._work import BoundedPool, Pending, load_and_encode

_N_WORKERS = 8
_N_WAITING = 32
_STORE_REST = 1.0
_WARM_BATCH = 1024
# How many invalidated users a read removes from a store that was down: no caller waits for all.
_REMOVED_AT_ONCE = 1000
_FROM_BEFORE = ("cached", "stale")
_LOG = logging.getLogger("skue.serving")


class UserVectorCache:
    """User vectors of one fitted encoder, computed when they are missing.

    Entries are keyed by the encoder's id and carry a checksum: neither another encoder's vector
    nor another user's nor a damaged one is ever served. A store that fails is left alone for a
    second and then tried again; meanwhile the cache serves from its own memory and computes the
    rest. What :meth:`get` meets on its way is counted (and logged), never raised.

    Parameters
    ----------
    encoder : UserEncoder
        Fitted; refitting the object later does not change the cache.
    store : MutableMapping of str to bytes, default=None
        A dict, :class:`RedisStore`, :class:`LMDBStore`, or any other mapping. None keeps the
        vectors in this process.
    max_age : float, default=None
        Seconds after which a vector is computed anew. None keeps it until it is invalidated.
    max_entries : int, default=100_000
        How many vectors this process keeps: all there are without a store; with one, what it
        serves while the store is down or a user's new vector is late.
    deadline : float, default=None
        Seconds that a caller of :meth:`get` waits at most. Reading, loading and encoding go on in
        a bounded pool of threads and fill the cache. None waits until all is there.

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
    ) -> None:
        if not isinstance(encoder, UserEncoder):
            raise ValueError(f"encoder must be a user encoder, got {type(encoder).__name__}.")
        if isinstance(encoder.cold_start, str) and encoder.cold_start == "raise":
            raise ValueError(
                "A cache cannot serve an encoder with cold_start='raise': one new user would cost "
                "a whole batch its vectors. Set cold_start='mean'."
            )
        if not isinstance(max_entries, (int, np.integer)) or max_entries < 1:
            raise ValueError(f"max_entries must be an integer of at least 1, got {max_entries!r}.")
        for name, value in (("max_age", max_age), ("deadline", deadline)):
            if value is not None and not (isinstance(value, (int, float, np.number)) and value > 0):
                raise ValueError(f"{name} must be a positive number of seconds, got {value!r}.")
        # A copy that shares the arrays: refitting the original replaces its own.
        self.encoder = copy.copy(encoder)
        self.encoder_id = encoder.encoder_id_
        self.space_id = encoder.space_id_
        self.max_age, self.max_entries, self.deadline = max_age, max_entries, deadline
        self._n_dims = len(encoder.fallback_vector_)
        self._store = None if store is None else GuardedStore(store, time.monotonic, _STORE_REST)
        self._lock = threading.Lock()
        self._pool: BoundedPool | None = None
        # Newest last: each key's entry, and whether it may be served as "cached".
        self._memory: OrderedDict[str, tuple[Entry, bool]] = OrderedDict()
        self._pending: dict[str, Pending] = {}
        # Keys whose entries in the store are not believed: they were invalidated, and the store
        # has not deleted them yet or may still be given an outdated one. The second dict counts
        # the computations that may do so.
        self._distrusted: dict[str, object] = {}
        self._outdated: Counter[str] = Counter()
        self._counters = Counters()

    def get(self, user_ids: Any, load: Callable[[np.ndarray], Any]) -> tuple[Any, np.ndarray]:
        """Return one vector a user, within the deadline.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
            Integers or strings.
        load : callable
            ``load(missing_ids)`` returns the histories of the given users: one a user in the
            same order, or Histories with ``user_ids``, where users without events may be absent.
            Called at most once, possibly in another thread and after this call has returned.

        Returns
        -------
        vectors : ndarray of shape (n_users, n_dims), float32
        status : ndarray of shape (n_users,)
            ``"cached"``; ``"fresh"``, computed just now; ``"stale"``, the last good vector, as a
            newer one is not there in time; ``"fallback"``, the encoder's fallback vector.
        """
        until = None if self.deadline is None else time.monotonic() + self.deadline
        ids = id_list(user_ids, "user_ids").tolist()
        keys = [key_of(self.encoder_id, user) for user in ids]
        found, waited, own = self._claim(dict(zip(keys, ids, strict=True)))
        n_shed = 0
        if own and until is None:
            self._work(own, load)
        elif own and not self._workers().submit(self._work, own, load):
            n_shed = len(own)
            self._settle(own)
        if waited:
            left = None if until is None else max(until - time.monotonic(), 0)
            wait(waited.values(), timeout=left)
        n_late = 0
        for key, pending in waited.items():
            is_there = pending.done()
            n_late += not is_there
            entry, status = pending.result() if is_there else (None, "")
            found[key] = self._last_good(key, pending) if entry is None else (entry, status)
        vectors = np.empty((len(keys), self._n_dims), dtype=np.float32)
        for row, key in enumerate(keys):
            vectors[row] = found[key][0].vector
        statuses = [found[key][1] for key in keys]
        made = [found[key][0].time for key in keys if found[key][1] in _FROM_BEFORE]
        now = time.time()
        self._counters.served(statuses, [max(now - then, 0.0) for then in made])
        self._counters.add(timeouts=n_late, shed=n_shed)
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

        Raises
        ------
        RuntimeError
            When the store does not take the vectors. What ``load`` raises is raised too.
        """
        ids = list(dict.fromkeys(id_list(user_ids, "user_ids").tolist()))
        for start in range(0, len(ids), _WARM_BATCH):
            claimed = {}
            with self._lock:
                for user in ids[start : start + _WARM_BATCH]:
                    key = key_of(self.encoder_id, user)
                    # Who is being computed for a caller needs no second computation.
                    if key not in self._pending:
                        claimed[key] = user, self._pending.setdefault(key, Pending())
            try:
                entries = self._compute(claimed, load)
                if not self._keep(claimed, entries) and self._store is not None:
                    raise RuntimeError(
                        f"The store did not take {len(entries)} vectors: "
                        f"{self._store.last_error!r}. Call warm again when it is back."
                    ) from self._store.last_error
            finally:
                self._settle(claimed)
        return len(ids)

    def invalidate(self, user_ids: Any) -> None:
        """Forget users whose histories have changed: the next :meth:`get` computes them anew.

        A computation under way, which may have seen the old history, is kept nowhere. Should the
        new vector be late, the old one is served as ``"stale"``. Other processes that share the
        store and are computing the same user at this moment do not hear of it: call this where
        the user is served, or bound the harm with ``max_age``.

        Parameters
        ----------
        user_ids : array-like of shape (n_users,)
        """
        ids = id_list(user_ids, "user_ids").tolist()
        keys = [key_of(self.encoder_id, user) for user in ids]
        token = object()
        with self._lock:
            for key in keys:
                pending = self._pending.pop(key, None)
                if pending is not None:
                    pending.valid = False
                    self._outdated[key] += 1
                if key in self._memory:
                    self._memory[key] = self._memory[key][0], False
                if self._store is not None:
                    self._distrusted[key] = token
        self._remove(keys)

    @property
    def counters(self) -> dict[str, float]:
        """What happened so far, as a dict of numbers.

        Users answered: ``hits`` (cached) and ``misses``, which are ``fresh``, ``stale`` or
        ``fallbacks``; among them ``timeouts`` (not there at the deadline) and ``shed`` (the pool
        was full). Calls that failed: ``store_errors``, ``load_errors``. ``damaged``: entries that
        were not what was written for that user. ``unknown_item_rate``: share of the loaded events
        whose item the encoder does not know. ``mean_vector_age``, ``max_vector_age``: seconds,
        of cached and stale vectors served.
        """
        errors = 0 if self._store is None else self._store.n_errors
        return {**self._counters.numbers(), "store_errors": errors}

    def close(self) -> None:
        """Stop the pool; waiting work is dropped, and later calls get no new vectors."""
        self._workers().close()

    def __repr__(self) -> str:
        return (
            f"UserVectorCache(encoder_id={self.encoder_id!r}, space_id={self.space_id!r}, "
            f"n_entries={len(self._memory)})"
        )

    def _claim(self, users: dict[str, Any]) -> tuple[dict, dict, dict]:
        """Split users: found in memory, waited for, and those of them that are ours to compute."""
        found, waited, own = {}, {}, {}
        now = time.time()
        with self._lock:
            for key, user in users.items():
                entry = self._remembered(key, now) if self._store is None else None
                if entry is not None:
                    found[key] = entry, "cached"
                    continue
                pending = self._pending.get(key)
                if pending is None:
                    pending = self._pending[key] = Pending()
                    own[key] = user, pending
                waited[key] = pending
        return found, waited, own

    def _work(self, own: dict[str, tuple[Any, Pending]], load: Callable[..., Any]) -> None:
        """Answer claimed users from the store or by computing them; raise nothing."""
        try:
            missing = own if self._store is None else self._read(own)
            if missing:
                self._keep(missing, self._compute(missing, load))
        except Exception as error:
            self._counters.add(load_errors=1)
            _LOG.warning("No new vectors for %d users: %r", len(own), error, exc_info=True)
        finally:
            self._settle(own)

    def _read(self, own: dict[str, tuple[Any, Pending]]) -> dict[str, tuple[Any, Pending]]:
        """Answer those whom the store (or, while it is down, memory) has; return the others."""
        assert self._store is not None
        with self._lock:
            asked = [key for key in own if key not in self._distrusted]
            distrusted = self._settled_distrust(islice(self._distrusted, _REMOVED_AT_ONCE))
        answer = self._store.get_many(asked)
        if answer is not None:
            self._remove(list(distrusted))
        now, missing, n_damaged = time.time(), {}, 0
        for key, (user, pending) in own.items():
            entry = None
            if answer is None:
                with self._lock:
                    entry = self._remembered(key, now)
            elif key in answer:
                entry = unpack_entry(key, self.encoder_id, self._n_dims, answer[key])
                n_damaged += entry is None
            if entry is not None and self._is_young(entry, now):
                self._remember(key, pending, entry)
                pending.set_result((entry, "cached"))
            else:
                pending.last_good = entry
                missing[key] = user, pending
        self._counters.add(damaged=n_damaged)
        return missing

    def _compute(
        self, claimed: dict[str, tuple[Any, Pending]], load: Callable[..., Any]
    ) -> dict[str, Entry]:
        """Load and encode users, and hand the vectors to who waits."""
        if not claimed:
            return {}
        # Of the moment before loading: what happens to a user from then on makes it old.
        now = time.time()
        ids = id_list([user for user, _ in claimed.values()], "user_ids")
        vectors, n_events, n_unknown = load_and_encode(self.encoder, ids, load)
        entries = {}
        for (key, (_, pending)), vector in zip(claimed.items(), vectors, strict=True):
            entries[key] = Entry(vector.copy(), now)
            self._remember(key, pending, entries[key])
            pending.set_result((entries[key], "fresh"))
        self._counters.add(events=n_events, unknown_events=n_unknown)
        return entries

    def _keep(self, claimed: dict[str, tuple[Any, Pending]], entries: dict[str, Entry]) -> bool:
        """Write entries into the store, unless their users were invalidated meanwhile."""
        if self._store is None or not entries:
            return True
        with self._lock:
            valid = [key for key in entries if claimed[key][1].valid]
            tokens = self._settled_distrust(valid)
        packed = {key: pack_entry(key, self.encoder_id, entries[key]) for key in valid}
        if not self._store.set_many(packed):
            return False
        self._trust(tokens)
        return True

    def _settle(self, claimed: dict[str, tuple[Any, Pending]]) -> None:
        """End the claim on users; whoever has no vector by now gets none."""
        outdated = []
        with self._lock:
            for key, (_, pending) in claimed.items():
                if pending.valid:
                    del self._pending[key]
                else:
                    outdated.append(key)
                    self._outdated[key] -= 1
                    if not self._outdated[key]:
                        del self._outdated[key]
                if not pending.done():
                    pending.set_result((None, ""))
        # They may have been written just now, and other processes would believe it.
        self._remove(outdated)

    def _remembered(self, key: str, now: float) -> Entry | None:
        """Return what memory has to serve as cached. The lock is held."""
        entry, usable = self._memory.get(key, (None, False))
        if entry is None or not usable or not self._is_young(entry, now):
            return None
        self._memory.move_to_end(key)
        return entry

    def _remember(self, key: str, pending: Pending, entry: Entry) -> None:
        with self._lock:
            if not pending.valid and key in self._memory:
                return
            self._memory[key] = entry, pending.valid
            self._memory.move_to_end(key)
            while len(self._memory) > self.max_entries:
                self._memory.popitem(last=False)

    def _is_young(self, entry: Entry, now: float) -> bool:
        return self.max_age is None or now - entry.time <= self.max_age

    def _last_good(self, key: str, pending: Pending) -> tuple[Entry, str]:
        with self._lock:
            entry = pending.last_good or self._memory.get(key, (None, False))[0]
        if entry is not None:
            return entry, "stale"
        return Entry(self.encoder.fallback_vector_, time.time()), "fallback"

    def _remove(self, keys: list[str]) -> None:
        """Remove users from the store, and believe it again about those whom it removed."""
        if self._store is None or not keys:
            return
        with self._lock:
            tokens = self._settled_distrust(keys)
        if self._store.delete_many(keys):
            self._trust(tokens)

    def _settled_distrust(self, keys: Iterable[str]) -> dict[str, object]:
        """Return the distrusted keys that no outdated write is on its way to. The lock is held."""
        return {
            key: self._distrusted[key]
            for key in keys
            if key in self._distrusted and not self._outdated.get(key)
        }

    def _trust(self, tokens: dict[str, object]) -> None:
        """Believe the store's entries again, unless they were invalidated anew since."""
        with self._lock:
            for key, token in tokens.items():
                if self._distrusted.get(key) is token:
                    del self._distrusted[key]

    def _workers(self) -> BoundedPool:
        with self._lock:
            if self._pool is None:
                self._pool = BoundedPool(_N_WORKERS, _N_WAITING)
            return self._pool
