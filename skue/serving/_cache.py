"""The cache of user vectors: answers within a deadline, from memory, a store or the encoder."""

from __future__ import annotations

import atexit
import copy
import logging
import math
import os
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from itertools import islice
from numbers import Integral, Real
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import Interval

from skue.encoders._base import UserEncoder
from skue.histories._columns import features_in_order
from skue.histories._forms import as_histories, is_frame, is_series
from skue.histories._histories import Histories
from skue.kernels._arrays import offsets_of, positions_of_ranges
from skue.reading._ids import as_ids, shown
from skue.serving._stores import (
    Entry,
    GuardedStore,
    are_sound,
    check_options,
    checked_secret,
    key_of,
    pack_entry,
    unpack_entry,
)

# How often a waiting caller checks whether a task was interrupted. Otherwise the bell wakes it.
_LOOK_EVERY = 0.05


class Task:
    """The users that one call of ``get`` or ``warm`` computes.

    A task claims users so that no other task computes them. The claims count until the task is
    :meth:`done`. It is not done while the calling thread holds ``caller``, or while a pool has
    taken the task and not finished it. A claim therefore ends without any clean-up code: a signal
    handler may raise anywhere in the caller, because the interpreter always leaves the
    ``with task.caller`` block.

    Attributes
    ----------
    load : callable
    users : list
        Users claimed by this task.
    missing : list
        Users without an entry in the store.
    caller : Lock
        Held by the calling thread while it prepares or runs the task.
    taken : bool
        Whether a pool has taken the task.
    finished : bool
        Whether the task has ended. Users without a result then get none from it.
    results : dict of user to (Entry, status)
    last_good : dict of user to Entry
        Outdated entries from the store.
    outdated : set
        Users that were invalidated after they were claimed. Their results are not stored.
    """

    def __init__(self, load: Callable[..., Any]) -> None:
        self.load = load
        self.users: list[Any] = []
        self.missing: list[Any] = []
        self.caller = threading.Lock()
        self.taken = self.finished = False
        self.results: dict[Any, tuple[Entry, str]] = {}
        self.last_good: dict[Any, Entry] = {}
        self.outdated: set[Any] = set()
        self._process = os.getpid()
        self._bells: list[SimpleQueue[None]] = []

    def done(self) -> bool:
        """Return whether the task has ended or was interrupted."""
        # After a fork, the threads that ran the task do not exist in the child process.
        is_ours = self._process == os.getpid()
        return self.finished or not (is_ours and (self.taken or self.caller.locked()))

    def ring(self) -> None:
        """Wake the waiting callers, as there are new results or the task has ended."""
        for bell in self._bells:
            bell.put(None)

    def finish(self) -> None:
        """End the task."""
        self.finished = True
        self.ring()


def wait_for(waited: Mapping[Any, Task], until: float) -> None:
    """Wait until each user has a result or a task that is done, at most until the given time.

    Parameters
    ----------
    waited : dict of user to Task
    until : float
        On the clock of ``time.monotonic``; infinity for no limit.
    """
    users_of: dict[Task, set[Any]] = {}
    for user, task in waited.items():
        users_of.setdefault(task, set()).add(user)
    bell: SimpleQueue[None] = SimpleQueue()
    for task in users_of:
        task._bells.append(bell)
    # The bells are registered before the first check, so no ring is missed.
    while True:
        for task in list(users_of):
            if task.done() or users_of[task] <= task.results.keys():
                del users_of[task]
        left = until - time.monotonic()
        if not users_of or left <= 0:
            return
        with suppress(Empty):
            bell.get(timeout=min(left, _LOOK_EVERY))


Result = TypeVar("Result")


class Loaded(NamedTuple):
    """Vectors of users, errors and counts.

    Attributes
    ----------
    vectors : dict of user to ndarray of shape (n_dims,)
    errors : dict of user to Exception
        The error of each user without a vector.
    n_events, n_unknown : int
        Events of the users with a vector, and how many of them have unknown items.
    n_absent : int
        Users that labelled histories left out. They have no events.
    """

    vectors: dict[Any, np.ndarray]
    errors: dict[Any, Exception]
    n_events: int
    n_unknown: int
    n_absent: int


def load_and_encode(encoder: UserEncoder, users: list[Any], load: Callable[..., Any]) -> Loaded:
    """Call ``load`` once for all users, and encode each history that can be encoded."""
    rows, n_absent = load_rows(users, load)
    allow_zero = not encoder.fallback_vector_.any()

    def encoded(part: np.ndarray) -> tuple[Histories, np.ndarray]:
        histories = as_histories(rows if len(part) == len(users) else take(rows, part))
        vectors = np.asarray(encoder.transform(histories), dtype=np.float32)
        _refuse_unsound(vectors, allow_zero)
        return histories, vectors

    parts, failed = in_parts(len(users), encoded)
    vectors: dict[Any, np.ndarray] = {}
    n_events = n_unknown = 0
    for part, (histories, found) in parts:
        known = encoder.item_embeddings_.rows_of(histories) >= 0
        n_events, n_unknown = n_events + len(known), n_unknown + int((~known).sum())
        vectors.update((users[row], vector.copy()) for row, vector in zip(part, found, strict=True))
    errors = {users[row]: error for row, error in failed.items()}
    return Loaded(vectors, errors, n_events, n_unknown, n_absent)


def in_parts(
    n_users: int, attempt: Callable[[np.ndarray], Result]
) -> tuple[list[tuple[np.ndarray, Result]], dict[int, Exception]]:
    """Call a function for all users, or for parts of them if it fails.

    A part that fails is halved, down to single users: at most 2 n attempts with at most
    n log2(n) users in all.

    Parameters
    ----------
    n_users : int
    attempt : callable
        Takes an array of users, by number.

    Returns
    -------
    parts : list of (users, result)
    failed : dict of user to Exception
    """
    results: list[tuple[np.ndarray, Result]] = []
    failed: dict[int, Exception] = {}
    waiting = [np.arange(n_users)] if n_users else []
    while waiting:
        part = waiting.pop()
        try:
            results.append((part, attempt(part)))
        except Exception as error:
            if len(part) == 1:
                failed[int(part[0])] = error
            else:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
    return results, failed


def load_rows(users: list[Any], load: Callable[..., Any]) -> tuple[Any, int]:
    """Return one row per user, in the order of the users, and how many users were left out.

    ``load`` gets a copy of the ids, which it may change.
    """
    given = as_ids(users, "user_ids")
    loaded = load(given)
    labels = labels_of(loaded)
    if labels is not None:
        return in_order_of(loaded, labels, users)
    n_rows = len(loaded) if _has_rows(loaded) else len(as_histories(loaded))
    if n_rows != len(users):
        raise ValueError(
            f"load returned {n_rows} histories for {len(users)} users. Return one history per "
            "user, in the order of the ids, or Histories with user_ids."
        )
    if given.tolist() != users:
        raise ValueError(
            "load changed the array of ids that it was given and returned histories without "
            "user_ids, so their users are not known. Return Histories with user_ids, or change a "
            "copy of the ids."
        )
    return loaded, 0


def labels_of(loaded: Any) -> list[Any] | None:
    """Return the user of each row, or None if the rows are not labelled."""
    if isinstance(loaded, Histories):
        return None if loaded.user_ids is None else loaded.user_ids.tolist()
    if not (is_series(loaded) or is_frame(loaded)) or not hasattr(loaded, "index"):
        return None
    # A pandas index that counts the rows is not a label.
    if type(loaded.index).__name__ == "RangeIndex" and loaded.index.equals(
        type(loaded.index)(len(loaded))
    ):
        return None
    return as_ids(loaded.index.to_numpy(), "the index of what load returned").tolist()


def in_order_of(loaded: Any, labels: list[Any], users: list[Any]) -> tuple[Any, int]:
    """Put labelled rows in the order of the users. Users left out get an empty history."""
    row_of = dict(zip(labels, range(len(labels)), strict=True))
    if len(row_of) < len(labels):
        twice = [user for row, user in enumerate(labels) if row_of[user] != row]
        raise ValueError(
            f"load returned more than one history of a user: {_some(twice)}. Return one per user."
        )
    asked = set(users)
    others = [user for user in labels if user not in asked]
    if others:
        raise ValueError(
            f"load returned histories of users that were not asked for, such as {_some(others)}. "
            f"It was asked for {_some(users)}."
        )
    order = np.array([row_of.get(user, -1) for user in users], dtype=np.int64)
    n_absent = int((order < 0).sum())
    if isinstance(loaded, Histories):
        return histories_in_order(loaded, order), n_absent
    if n_absent:
        left_out = [user for user in users if user not in row_of]
        raise ValueError(
            f"load returned a {type(loaded).__name__} without rows for {_some(left_out)}. Return "
            "one row per user, or Histories with user_ids, which may leave out users without "
            "events."
        )
    return take(loaded, order), 0


def histories_in_order(histories: Histories, order: np.ndarray) -> Histories:
    """Return the histories of these rows; row -1 is an empty history."""
    if not len(histories):
        return Histories.from_lists([[]] * len(order))
    lengths = np.where(order < 0, 0, histories.lengths[order])
    events = positions_of_ranges(histories.offsets[np.maximum(order, 0)], lengths)
    return Histories._trusted(
        histories.codes[events],
        offsets_of(lengths),
        histories.vocabulary,
        None if histories.timestamps is None else histories.timestamps[events],
        None if histories.weights is None else histories.weights[events],
        None,
        features_in_order(histories.user_features, order),
    )


def take(rows: Any, positions: np.ndarray) -> Any:
    """Return some rows of histories in any form."""
    if isinstance(rows, (list, tuple)):
        return [rows[row] for row in positions.tolist()]
    if isinstance(rows, Histories):
        return rows[positions]
    return _safe_indexing(rows, positions)


def _has_rows(loaded: Any) -> bool:
    return hasattr(loaded, "__len__") and not isinstance(loaded, (str, bytes, dict))


def _refuse_unsound(vectors: np.ndarray, zero: bool) -> None:
    sound = are_sound(vectors, zero)
    if not sound.all():
        row = int(np.flatnonzero(~sound)[0])
        raise ValueError(
            f"the encoder returned a vector of length {np.linalg.norm(vectors[row]):.4g}, not 1"
        )


def _some(users: list[Any]) -> str:
    return f"[{', '.join(shown(user) for user in users[:5])}]"


class SharedState:
    """Vectors in memory, claims of users and invalidations, under one lock.

    Each method takes the lock once and calls no other code while holding it. If an exception
    interrupts a method, the state stays valid for all other threads.

    Parameters
    ----------
    max_entries : int
        How many vectors are kept.
    max_age : float or None
        Seconds for which a vector may be served as "cached".
    """

    def __init__(self, max_entries: int, max_age: float | None) -> None:
        self.lock = threading.Lock()
        self._max_entries, self._max_age = max_entries, max_age
        # The entry of each user and whether it may be served as "cached", newest last.
        self._memory: OrderedDict[Any, tuple[Entry, bool]] = OrderedDict()
        self._claims: dict[Any, Task] = {}
        self._sweep_at = 1000
        # Users whose entries in the store are ignored: they were invalidated, and the store has
        # not removed the entries yet. The values distinguish successive invalidations.
        self._distrusted: dict[Any, object] = {}
        # Tasks that may still write an outdated entry of an invalidated user.
        self._late_writers: dict[Any, list[Task]] = {}

    def __len__(self) -> int:
        return len(self._memory)

    def is_young(self, entry: Entry, now: float) -> bool:
        return self._max_age is None or now - entry.time <= self._max_age

    def recall(
        self, users: Iterable[Any], now: float
    ) -> tuple[dict[Any, tuple[Entry, str]], list[Any]]:
        """Return the entries that may be served as "cached", and the users without one."""
        found: dict[Any, tuple[Entry, str]] = {}
        missing = []
        oldest = -float("inf") if self._max_age is None else now - self._max_age
        memory = self._memory
        with self.lock:
            for user in users:
                held = memory.get(user)
                if held is not None and held[1] and held[0].time >= oldest:
                    memory.move_to_end(user)
                    found[user] = held[0], "cached"
                else:
                    missing.append(user)
        return found, list(dict.fromkeys(missing)) if missing else missing

    def last_good(self, user: Any) -> Entry | None:
        """Return the user's newest entry, however old."""
        with self.lock:
            held = self._memory.get(user)
        return None if held is None else held[0]

    def remember(self, task: Task, entries: Mapping[Any, Entry]) -> None:
        """Keep the entries of a task, those of invalidated users only to be served as "stale"."""
        with self.lock:
            for user, entry in entries.items():
                current = user not in task.outdated
                if current or user not in self._memory:
                    self._memory[user] = entry, current
                    self._memory.move_to_end(user)
            while len(self._memory) > self._max_entries:
                self._memory.popitem(last=False)

    def claim(self, users: Iterable[Any], task: Task) -> dict[Any, Task]:
        """Claim the users that no task computes; return the task that computes each user."""
        holders = {}
        with self.lock:
            self._sweep()
            for user in users:
                holder = self._claims.get(user)
                if holder is None or holder.done():
                    holder = self._claims[user] = task
                    task.users.append(user)
                holders[user] = holder
        return holders

    def take(self, task: Task) -> None:
        """Mark the task as taken by a pool, and drop users that another task has claimed since.

        Another task can claim them if the caller was interrupted: see :class:`Task`.
        """
        with self.lock:
            task.taken = True
            task.users = [
                user
                for user in task.users
                if self._claims.get(user) is task or user in task.outdated
            ]

    def release(self, task: Task) -> list[Any]:
        """Drop the claims of a task, and return its users that were invalidated meanwhile."""
        with self.lock:
            for user in task.users:
                if self._claims.get(user) is task:
                    del self._claims[user]
            return list(task.outdated)

    def forget(self, users: Iterable[Any], *, distrust: bool) -> None:
        """Make the next caller compute users anew; ``distrust`` ignores their stored entries."""
        token = object()
        with self.lock:
            for user in users:
                task = self._claims.get(user)
                if distrust:
                    self._distrusted[user] = token
                    if task is not None:
                        self._late_writers.setdefault(user, []).append(task)
                if task is not None:
                    task.outdated.add(user)
                    del self._claims[user]
                if user in self._memory:
                    self._memory[user] = self._memory[user][0], False

    def trusted(self, users: Iterable[Any]) -> list[Any]:
        """Return the users whose entries in the store are valid."""
        with self.lock:
            return [user for user in users if user not in self._distrusted]

    def current(self, task: Task, users: Iterable[Any]) -> list[Any]:
        """Return the users that were not invalidated since the task claimed them."""
        with self.lock:
            return [user for user in users if user not in task.outdated]

    def removable(self, users: Iterable[Any] | None, most: int = 0) -> dict[Any, object]:
        """Return users to be trusted again once the store has removed or replaced their entries.

        Users are left out while a task may still write an outdated entry. If ``users`` is None,
        the ``most`` users that were invalidated first are considered.

        Returns
        -------
        tokens : dict of user to object
            For :meth:`trust`.
        """
        with self.lock:
            return {
                user: self._distrusted[user]
                for user in (islice(self._distrusted, most) if users is None else users)
                if user in self._distrusted and not self._has_late_writer(user)
            }

    def trust(self, tokens: Mapping[Any, object]) -> None:
        """Trust the entries of users again, unless they were invalidated again since."""
        with self.lock:
            for user, token in tokens.items():
                if self._distrusted.get(user) is token:
                    del self._distrusted[user]

    def _has_late_writer(self, user: Any) -> bool:
        writers = self._late_writers.get(user, ())
        if all(task.done() for task in writers):
            self._late_writers.pop(user, None)
            return False
        return True

    def _sweep(self) -> None:
        """Drop the claims of interrupted tasks once there may be many."""
        if len(self._claims) + len(self._late_writers) <= self._sweep_at:
            return
        self._claims = {user: task for user, task in self._claims.items() if not task.done()}
        for user in list(self._late_writers):
            self._has_late_writer(user)
        self._sweep_at = 2 * (len(self._claims) + len(self._late_writers)) + 1000


class Counters:
    """Counters of a cache, and the ages of the vectors that it served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._age_sum, self._age_max = 0.0, 0.0

    def add(self, **counts: int) -> None:
        """Increase counters."""
        with self._lock:
            self._counts.update(counts)

    def served(self, statuses: Sequence[str], ages: Sequence[float]) -> None:
        """Count one answer: the status of each user and the ages of cached and stale vectors."""
        with self._lock:
            self._counts["hits"] += statuses.count("cached")
            self._counts["misses"] += len(statuses) - statuses.count("cached")
            self._counts["fresh"] += statuses.count("fresh")
            self._counts["stale"] += statuses.count("stale")
            self._counts["fallbacks"] += statuses.count("fallback")
            self._age_sum += sum(ages)
            self._age_max = max([self._age_max, *ages])

    def numbers(self) -> dict[str, float]:
        """Return all counters, as described in ``UserVectorCache.counters``."""
        with self._lock:
            counts = self._counts.copy()
            age_sum, age_max = self._age_sum, self._age_max
        names = (
            *("hits", "misses", "fresh", "stale", "fallbacks", "timeouts", "shed"),
            *("errors", "absent", "load_errors", "damaged"),
        )
        numbers: dict[str, float] = {name: counts[name] for name in names}
        numbers["unknown_item_rate"] = counts["unknown_events"] / max(counts["events"], 1)
        numbers["mean_vector_age"] = age_sum / max(counts["hits"] + counts["stale"], 1)
        numbers["max_vector_age"] = age_max
        return numbers


# How many invalidated users one read removes from a store that was down, to limit its wait.
_REMOVED_AT_ONCE = 1000
_LOG = logging.getLogger("skue.serving")


class VectorSource:
    """Reads, computes and stores vectors, and adds them to the results of tasks.

    Parameters
    ----------
    encoder : UserEncoder
    store : GuardedStore or None
    secret : bytes or None
        Key to sign the entries with.
    state : SharedState
    counters : Counters
    """

    def __init__(
        self,
        encoder: UserEncoder,
        store: GuardedStore | None,
        secret: bytes | None,
        state: SharedState,
        counters: Counters,
    ) -> None:
        self._encoder, self._encoder_id = encoder, encoder.encoder_id_
        self._store, self._secret = store, secret
        self._state, self._counters = state, counters
        self._n_dims = len(encoder.fallback_vector_)
        self._zero = not encoder.fallback_vector_.any()

    def read(self, task: Task) -> None:
        """Get vectors from the store, or from memory without a store or while it is down."""
        asked = {self._key(user): user for user in self._state.trusted(task.users)}
        tokens = self._state.removable(None, _REMOVED_AT_ONCE)
        answer = None if self._store is None else self._store.get_many(list(asked))
        if answer is None:
            # Another task may have computed users between the caller's look and its claim.
            found, _ = self._state.recall(task.users, time.time())
            task.results.update(found)
        else:
            self.remove(list(tokens))
            self._unpack(task, asked, answer)
        task.missing = [user for user in task.users if user not in task.results]

    def load(self, task: Task) -> None:
        """Load, encode and store the missing users. Errors are counted and logged."""
        try:
            self.keep(task, self.compute(task, task.missing))
        except BaseException as error:
            self._counters.add(load_errors=1)
            if not isinstance(error, Exception):
                raise
            n_users = len(task.missing)
            _LOG.warning("No new vectors for %d users: %r", n_users, error, exc_info=True)

    def compute(self, task: Task, users: list[Any]) -> dict[Any, Entry]:
        """Load and encode users, and wake the callers that wait for them."""
        if not users:
            return {}
        # The time before loading, as the history does not include later events.
        now = time.time()
        loaded = load_and_encode(self._encoder, users, task.load)
        entries = {user: Entry(vector, now) for user, vector in loaded.vectors.items()}
        self._state.remember(task, entries)
        task.results.update((user, (entry, "fresh")) for user, entry in entries.items())
        task.ring()
        self._report(loaded)
        return entries

    def keep(self, task: Task, entries: dict[Any, Entry]) -> bool:
        """Write the entries of users that were not invalidated meanwhile to the store."""
        if self._store is None or not entries:
            return True
        current = self._state.current(task, entries)
        tokens = self._state.removable(current)
        packed = {}
        for user in current:
            key = self._key(user)
            packed[key] = pack_entry(key, self._encoder_id, entries[user], self._secret)
        if not self._store.set_many(packed):
            return False
        self._state.trust(tokens)
        return True

    def remove(self, users: list[Any]) -> None:
        """Remove users from the store, and trust its entries again if that succeeds."""
        if self._store is None or not users:
            return
        tokens = self._state.removable(users)
        if self._store.delete_many([self._key(user) for user in users]):
            self._state.trust(tokens)

    def settle(self, task: Task) -> None:
        """Clean up after a task that has ended, or that was interrupted."""
        outdated = self._state.release(task)
        task.ring()
        # Outdated entries may just have been written, and other processes would use them.
        self.remove(outdated)

    def _unpack(self, task: Task, asked: dict[str, Any], answer: Mapping[str, Any]) -> None:
        """Add the valid entries of the store to the results."""
        young: dict[Any, Entry] = {}
        now = time.time()
        for key, user in asked.items():
            if key not in answer:
                continue
            data = answer[key]
            entry = unpack_entry(
                key, self._encoder_id, self._n_dims, data, self._secret, zero=self._zero
            )
            if entry is None:
                self._counters.add(damaged=1)
            elif self._state.is_young(entry, now):
                young[user] = entry
            else:
                task.last_good[user] = entry
        self._state.remember(task, young)
        task.results.update((user, (entry, "cached")) for user, entry in young.items())

    def _report(self, loaded: Loaded) -> None:
        self._counters.add(
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

    def _key(self, user: Any) -> str:
        return key_of(self._encoder_id, user)


# Threads and queue places of each pool.
N_WORKERS = 8
N_WAITING = 32
# Seconds that the exit of the program waits for running work.
EXIT_PATIENCE = 1.0
# Seconds after which a thread without work ends.
_IDLE = 10.0
_LOG = logging.getLogger("skue.serving")
_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class TaskRunner:
    """Runs tasks in the thread of the caller or in two pools of threads.

    Without a deadline, the caller does all the work. With a deadline, a thread of the first pool
    reads the store, and passes the missing users to the second pool, which loads and encodes.
    Users in the store therefore never wait for loads.

    Parameters
    ----------
    source : VectorSource
    state : SharedState
    counters : Counters
    has_store : bool
    """

    def __init__(
        self, source: VectorSource, state: SharedState, counters: Counters, *, has_store: bool
    ) -> None:
        self._source, self._state, self._counters = source, state, counters
        self._loaders = WorkerPool(N_WORKERS, N_WAITING, "skue-cache-load")
        self._readers = WorkerPool(N_WORKERS, N_WAITING, "skue-cache-read")
        self._first = self._readers if has_store else self._loaders

    def run_here(self, task: Task) -> None:
        """Do all the work of a task here. KeyboardInterrupt and its kind are raised."""
        try:
            self._source.read(task)
            if task.missing:
                self._source.load(task)
            task.finish()
        finally:
            # Only cleans up early. Later calls are correct without it: see Task.
            self._source.settle(task)

    def run_in_threads(self, task: Task) -> None:
        """Do the work of a task in threads. If the queue is full, end it without results.

        The caller holds ``task.caller``, so that the claims of the task count throughout.
        """
        step = self._read_and_hand_on if self._first is self._readers else self._read_and_load
        if self._first.submit(step, task):
            task.taken = True
        else:
            task.missing = task.users
            self._shed(task)

    def close(self) -> None:
        """Accept no more tasks, and end those that have not started."""
        for pool in (self._readers, self._loaders):
            for task in pool.close():
                self._end(task)

    def _read_and_hand_on(self, task: Task) -> None:
        handed_on = False
        try:
            self._state.take(task)
            self._source.read(task)
            task.ring()
            handed_on = bool(task.missing) and self._loaders.submit(self._load, task)
        finally:
            if not handed_on:
                self._shed(task)

    def _read_and_load(self, task: Task) -> None:
        try:
            self._state.take(task)
            self._source.read(task)
            self._source.load(task)
        finally:
            self._end(task)

    def _load(self, task: Task) -> None:
        try:
            self._source.load(task)
        finally:
            self._end(task)

    def _shed(self, task: Task) -> None:
        """End a task early, and count its missing users."""
        self._counters.add(shed=len(task.missing))
        self._end(task)

    def _end(self, task: Task) -> None:
        task.finish()
        self._source.settle(task)


class WorkerPool:
    """Daemon threads with a bounded queue.

    A signal handler may raise anywhere inside ``submit``. The places in use are therefore counted
    from the queue and the state of each thread. A counter that callers have to decrease could be
    left too high.

    Parameters
    ----------
    n_workers : int
    n_waiting : int
        How many tasks may wait for a thread.
    name : str
        Name of the threads.
    """

    def __init__(self, n_workers: int, n_waiting: int, name: str) -> None:
        self._n_workers, self._n_waiting, self._name = n_workers, n_waiting, name
        self._queue: SimpleQueue[tuple[Callable[[Any], None], Any] | None] = SimpleQueue()
        # Whether each thread is busy. Only the thread itself changes its value.
        self._at_work: dict[threading.Thread, bool] = {}
        self._lock = threading.Lock()
        self._closed = False
        _POOLS.add(self)

    def submit(self, step: Callable[[Any], None], task: Any) -> bool:
        """Run ``step(task)`` in a thread; return False if the pool is full or closed."""
        with self._lock:
            for thread in [thread for thread in list(self._at_work) if not thread.is_alive()]:
                del self._at_work[thread]
            n_open = self._queue.qsize() + sum(list(self._at_work.values()))
            if self._closed or n_open >= self._n_workers + self._n_waiting:
                return False
            n_threads = len(self._at_work)
            has_thread = n_threads > 0
            if n_threads <= n_open and n_threads < self._n_workers:
                # If no thread can be started, the existing threads run the task later.
                has_thread |= self._start_thread()
            if not has_thread:
                return False
            self._queue.put((step, task))
        return True

    def close(self) -> list[Any]:
        """Accept no more tasks, and return those that have not started."""
        dropped = []
        with self._lock:
            self._closed = True
            with suppress(Empty):
                while True:
                    item = self._queue.get_nowait()
                    if item is not None:
                        dropped.append(item[1])
            for _ in self._at_work:
                self._queue.put(None)
        return dropped

    def is_busy(self) -> bool:
        """Return whether a live thread has work to do."""
        at_work = [busy for thread, busy in list(self._at_work.items()) if thread.is_alive()]
        return any(at_work) or bool(at_work and not self._closed and not self._queue.empty())

    def _start_thread(self) -> bool:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._at_work[thread] = False
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            del self._at_work[thread]
            _LOG.warning("A thread of the cache could not be started: %r", error)
            return False
        return True

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            try:
                item = self._queue.get(timeout=_IDLE)
            except Empty:
                # Nothing can be submitted while the lock is held.
                with self._lock:
                    if self._queue.empty():
                        self._at_work.pop(me, None)
                        return
                continue
            if item is None:
                return
            step, task = item
            self._at_work[me] = True
            try:
                step(task)
            except BaseException:
                _LOG.warning("A thread of the cache met an error.", exc_info=True)
            finally:
                self._at_work[me] = False
                # An idle thread must not keep the task and its cache alive.
                del item, step, task


def _wait_at_exit() -> None:
    until = time.monotonic() + EXIT_PATIENCE
    while any(pool.is_busy() for pool in list(_POOLS)) and time.monotonic() < until:
        time.sleep(0.005)


atexit.register(_wait_at_exit)


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
