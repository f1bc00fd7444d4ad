"""Where the vectors of a task come from: the store, and for the rest ``load`` and the encoder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from skue.encoders._base import UserEncoder
from skue.reading._ids import shown
from skue.serving.cache._counters import Counters
from skue.serving.cache._entries import Entry, key_of, pack_entry, unpack_entry
from skue.serving.cache._ledger import Ledger
from skue.serving.cache._loading import Loaded, load_and_encode
from skue.serving.cache._stores import GuardedStore
from skue.serving.cache._tasks import Task

# How many invalidated users a read removes from a store that was down: no caller waits for all.
_REMOVED_AT_ONCE = 1000
_LOG = logging.getLogger("skue.serving")


class VectorSource:
    """Reads, computes and keeps vectors, and puts them into the results of tasks.

    Parameters
    ----------
    encoder : UserEncoder
    store : GuardedStore or None
    secret : bytes or None
        Signs the entries.
    ledger : Ledger
    counters : Counters
    """

    def __init__(
        self,
        encoder: UserEncoder,
        store: GuardedStore | None,
        secret: bytes | None,
        ledger: Ledger,
        counters: Counters,
    ) -> None:
        self._encoder, self._encoder_id = encoder, encoder.encoder_id_
        self._store, self._secret = store, secret
        self._ledger, self._counters = ledger, counters
        self._n_dims = len(encoder.fallback_vector_)
        self._zero = not encoder.fallback_vector_.any()

    def read(self, task: Task) -> None:
        """Answer whom the store has (or memory, while the store is down); the rest is missing."""
        if self._store is None:
            task.missing = task.users
            return
        asked = {self._key(user): user for user in self._ledger.believed(task.users)}
        doubts = self._ledger.settled_doubts(None, _REMOVED_AT_ONCE)
        answer = self._store.get_many(list(asked))
        if answer is None:
            found, _ = self._ledger.recall(task.users, time.time())
            task.results.update(found)
        else:
            self.remove(list(doubts))
            self._unpack(task, asked, answer)
        task.missing = [user for user in task.users if user not in task.results]

    def load(self, task: Task) -> None:
        """Load, encode and keep who is missing; what goes wrong is counted and logged."""
        try:
            self.keep(task, self.compute(task, task.missing))
        except BaseException as error:
            self._counters.add(load_errors=1)
            if not isinstance(error, Exception):
                raise
            n_users = len(task.missing)
            _LOG.warning("No new vectors for %d users: %r", n_users, error, exc_info=True)

    def compute(self, task: Task, users: list[Any]) -> dict[Any, Entry]:
        """Load and encode users, and hand the vectors to who waits."""
        if not users:
            return {}
        # Of the moment before loading: what happens to a user from then on makes it old.
        now = time.time()
        loaded = load_and_encode(self._encoder, users, task.load)
        entries = {user: Entry(vector, now) for user, vector in loaded.vectors.items()}
        self._ledger.remember(task, entries)
        task.results.update((user, (entry, "fresh")) for user, entry in entries.items())
        task.ring()
        self._report(loaded)
        return entries

    def keep(self, task: Task, entries: dict[Any, Entry]) -> bool:
        """Write entries into the store, unless their users were invalidated meanwhile."""
        if self._store is None or not entries:
            return True
        current = self._ledger.current(task, entries)
        doubts = self._ledger.settled_doubts(current)
        packed = {}
        for user in current:
            key = self._key(user)
            packed[key] = pack_entry(key, self._encoder_id, entries[user], self._secret)
        if not self._store.set_many(packed):
            return False
        self._ledger.believe(doubts)
        return True

    def remove(self, users: list[Any]) -> None:
        """Remove users from the store, and believe it again about those whom it removed."""
        if self._store is None or not users:
            return
        doubts = self._ledger.settled_doubts(users)
        if self._store.delete_many([self._key(user) for user in users]):
            self._ledger.believe(doubts)

    def settle(self, task: Task) -> None:
        """Clean up after a task that has ended, or that was interrupted."""
        outdated = self._ledger.release(task)
        task.ring()
        # They may have been written just now, and other processes would believe it.
        self.remove(outdated)

    def _unpack(self, task: Task, asked: dict[str, Any], answer: Mapping[str, Any]) -> None:
        """Take over the entries of the store that may be served."""
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
            elif self._ledger.is_young(entry, now):
                young[user] = entry
            else:
                task.last_good[user] = entry
        self._ledger.remember(task, young)
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
