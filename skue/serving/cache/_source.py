"""Getting vectors: from the store, or from ``load`` and the encoder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from skue.encoders._base import UserEncoder
from skue.reading._ids import shown
from skue.serving.cache._entries import Entry, key_of, pack_entry, unpack_entry
from skue.serving.cache._loading import Loaded, load_and_encode
from skue.serving.cache._state import Counters, SharedState
from skue.serving.cache._stores import GuardedStore
from skue.serving.cache._tasks import Task

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
