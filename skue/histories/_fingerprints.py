"""Which events of a log an earlier fit has learned from: hashes of events and of ends of histories.

A two-tower encoder keeps hashes of the ends of the histories that it learned from. In a later log,
a history has been learned up to where its end is among them. Item vectors keep a sample of the
hashes of all events that they know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from skue.histories._histories import Histories
from skue.kernels._arrays import kept_offsets, starts_of_runs
from skue.reading._ids import is_text, pack_text

# Number of hashes in a sample of events.
_IN_SAMPLE = 4096
# Number of events hashed at once.
_STRETCH = 2**20
# Number of newest events in the hash of an event.
_N_EVENTS = 8
# Numbers of newest instants in the hashes of an end, with and without user ids. Short ends of
# different users may be equal, so without ids, shorter ones count as whole histories alone.
_LENGTHS, _LENGTHS_WITHOUT_IDS = (1, 2, 4, 8), (3, 5, 8)
# A history is searched for its learned end among this many of its newest instants.
_FARTHEST = 100
_FACTOR, _WHOLE = np.uint64(0x9E3779B97F4A7C15), np.uint64(1)


class LearnedHistories(NamedTuple):
    """The histories that were learned from, as hashes of their ends.

    An end is the newest few instants, each without the order of its events. With user ids, it is
    the end of this user, and there is a hash of each user.
    """

    hashes: np.ndarray  # sorted, uint64
    kind_of_ids: str | None  # None if a log had no user ids, or ids of another type

    @classmethod
    def of(cls, histories: Histories, held_out: np.ndarray) -> LearnedHistories:
        """Return the histories without the held-out events, which are newest instants."""
        hashes = [np.empty(0, dtype=np.uint64)]
        for ends in _ends_in_parts(histories, held_out):
            hashes += [ends.of_users(), *ends.at(ends.stops)]
        return cls(np.unique(np.concatenate(hashes)), _kind_of_ids(histories))

    def count_new(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """Return how many newest events of each user were not learned from, and outdated hashes.

        It is -1 for a history that has no learned end, unless its user was never learned from.
        Outdated are the hashes of ends that are not the end any more.
        """
        kind = _kind_of_ids(histories)
        knows_users = kind is not None and kind == self.kind_of_ids
        n_new, outdated = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.uint64)]
        for ends in _ends_in_parts(histories):
            n_back = np.full(len(ends.starts), -1)
            pending = np.arange(len(n_back))
            for n in range(_FARTHEST + 1):
                pending = pending[ends.stops[pending] - n > ends.starts[pending]]
                if not len(pending):
                    break
                hashes = ends.longest_at(ends.stops[pending] - n, pending)
                found = pending[_is_in(hashes, self.hashes)]
                n_back[found] = n
                if n:
                    outdated += ends.at(ends.stops[found] - n, found)
                pending = np.setdiff1d(pending, found, assume_unique=True)
            if knows_users:
                is_unknown = ~_is_in(ends.of_users(), self.hashes)
                n_back[is_unknown] = (ends.stops - ends.starts)[is_unknown]
            first_new = ends.first_events[ends.stops - np.maximum(n_back, 0)]
            n_new.append(np.where(n_back < 0, -1, ends.first_events[ends.stops] - first_new))
        return np.concatenate(n_new), np.unique(np.concatenate(outdated))

    def with_later(self, later: LearnedHistories, outdated: np.ndarray) -> LearnedHistories:
        """Return the histories of both fits."""
        still = np.setdiff1d(self.hashes, outdated, assume_unique=True)
        kind = self.kind_of_ids if self.kind_of_ids == later.kind_of_ids else None
        return LearnedHistories(np.union1d(still, later.hashes), kind)


class _Ends(NamedTuple):
    """Instants of some users: a hash of each, and the instants ``starts:stops`` of each user."""

    instants: np.ndarray
    first_events: np.ndarray  # of each instant, and the number of events at the end
    starts: np.ndarray
    stops: np.ndarray
    users: np.ndarray | None

    def of_users(self) -> np.ndarray:
        return np.empty(0, dtype=np.uint64) if self.users is None else _mixed(~self.users)

    def at(self, stops: np.ndarray, users: np.ndarray | slice = slice(None)) -> list[np.ndarray]:
        """Return the hashes of all lengths of the ends before these instants."""
        return [hashes[is_whole] for hashes, is_whole in self._by_length(stops, users)]

    def longest_at(self, stops: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Return the hash of the longest end before these instants, 0 where all are too long."""
        longest = np.zeros(len(stops), dtype=np.uint64)
        for hashes, is_whole in self._by_length(stops, users):
            longest[is_whole] = hashes[is_whole]
        return longest

    def _by_length(
        self, stops: np.ndarray, users: np.ndarray | slice
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        total = np.zeros(len(stops), dtype=np.uint64)
        salt = np.uint64(0) if self.users is None else self.users[users]
        lengths = _LENGTHS_WITHOUT_IDS if self.users is None else _LENGTHS
        for n_back in range(1, lengths[-1] + 1):
            at = stops - n_back
            own = at >= self.starts[users]
            total[own] = total[own] * _FACTOR + self.instants[at[own]]
            if n_back in lengths:
                yield _mixed(total + salt), own
            elif n_back < lengths[0]:
                yield _mixed(total + _WHOLE), at == self.starts[users]


def _ends_in_parts(histories: Histories, held_out: np.ndarray | None = None) -> Iterator[_Ends]:
    """Yield the ends of users with a bounded number of events at a time, held-out ones removed."""
    ids = _mixed(_id_hashes(histories.item_ids))
    users = None if histories.user_ids is None else _id_hashes(histories.user_ids)
    bounds = np.searchsorted(histories.offsets, np.arange(0, len(histories.codes), _STRETCH))
    for start, stop in pairwise(np.unique([*bounds, len(histories)])):
        part = histories[start:stop]
        own, offsets = slice(*histories.offsets[[start, stop]]), part.offsets
        times = np.arange(len(part.codes)) if part.timestamps is None else part.timestamps
        first_events = np.flatnonzero(np.append(starts_of_runs(times, offsets), True))
        sums = np.add.reduceat(ids[part.codes], first_events[:-1]) if len(part.codes) else ids[:0]
        starts, stops = (
            np.searchsorted(first_events, offsets[:-1]),
            np.searchsorted(first_events, offsets[1:]),
        )
        if held_out is not None:
            n_held_out = np.diff(kept_offsets(offsets, held_out[own]))
            stops = np.searchsorted(first_events, offsets[1:] - n_held_out)
        own_users = None if users is None else users[start:stop]
        yield _Ends(_mixed(sums), first_events, starts, stops, own_users)


def _kind_of_ids(histories: Histories) -> str | None:
    ids = histories.user_ids
    return None if ids is None else "text" if is_text(ids) else "integers"


def content_hash(histories: Histories) -> str:
    """Return a hash of all columns that is the same in every process."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(vars(histories).items()):
        column = value.ids if name == "vocabulary" else value
        if isinstance(column, np.ndarray) and column.dtype == object:
            column, ends = pack_text(column)
            digest.update(ends.tobytes())
        if isinstance(column, np.ndarray):
            digest.update(f"{name} {column.dtype} {column.shape} ".encode())
            digest.update(column.tobytes())
        else:
            digest.update(f"{name} {column!r} ".encode())
    return digest.hexdigest()


def sample_of_events(histories: Histories, before: np.ndarray | None = None) -> np.ndarray:
    """Return a sample of the events: the 4,096 smallest hashes, with those of an earlier sample.

    Samples of two logs can be compared, because both keep the smallest hashes.
    """
    sample = np.empty(0, dtype=np.uint64) if before is None else before
    ids = _id_hashes(histories.item_ids)
    for start in range(0, len(histories.codes), _STRETCH):
        stop = min(start + _STRETCH, len(histories.codes))
        hashes = _event_hashes(histories, np.arange(start, stop), ids)
        sample = np.unique(np.append(sample, hashes))[:_IN_SAMPLE]
    return sample


def share_learned(histories: Histories, events: np.ndarray, sample: np.ndarray) -> float:
    """Return the share of events that were learned from.

    Parameters
    ----------
    histories : Histories
    events : ndarray of shape (n_events,)
        Positions of the events.
    sample : ndarray of shape (n_sampled,), uint64
        From :func:`sample_of_events`.
    """
    hashes = _event_hashes(histories, events, _id_hashes(histories.item_ids))
    if len(sample) >= _IN_SAMPLE:
        hashes = hashes[hashes <= sample[-1]]
    return float(_is_in(hashes, sample).mean()) if len(hashes) else 0.0


def _event_hashes(histories: Histories, events: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the hashes of events, each with the seven events before it.

    Events with fewer events before them are left out, because different users may have the same.
    """
    users = np.searchsorted(histories.offsets, events, side="right") - 1
    newest = events[events - (_N_EVENTS - 1) >= histories.offsets[users]]
    total = np.zeros(len(newest), dtype=np.uint64)
    for n_back in range(_N_EVENTS):
        total = total * _FACTOR + ids[histories.codes[newest - n_back]]
    return _mixed(total)


def _id_hashes(ids: np.ndarray) -> np.ndarray:
    """Return a hash of each id that is the same in every process."""
    if not is_text(ids):
        return _mixed(ids.astype(np.uint64))
    digests = (hashlib.blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8) for id_ in ids)
    return np.frombuffer(b"".join(digest.digest() for digest in digests), dtype="<u8")


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return the values with all bits mixed (splitmix64)."""
    values = values + _FACTOR
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _is_in(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Whether each value is in a sorted array."""
    if not len(among):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(among, values), len(among) - 1)
    return among[at] == values
