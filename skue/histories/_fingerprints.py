"""Which events of a log an earlier fit has learned from: hashes of events and those before them.

For each history that a two-tower encoder learned from, the hash of its newest events is
kept. In a later log, a history has been learned up to the position whose hash is among them. This
needs neither user ids nor times, and it still works if the oldest events have been dropped from
the log in the meantime. Item vectors keep a sample of the hashes of all events they know.
"""

from __future__ import annotations

import hashlib

import numpy as np

from skue.histories._histories import Histories
from skue.reading._ids import is_text

# Number of hashes in a sample of events.
_IN_SAMPLE = 4096
# Number of events hashed at once.
_STRETCH = 2**20
# Number of newest events in a hash.
_N_EVENTS = 8
# A history is searched for its learned end among this many of its newest events.
_FARTHEST = 100
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def learned_ends(histories: Histories, held_out: np.ndarray) -> np.ndarray:
    """Return the sorted hashes of the histories without the held-out events.

    Parameters
    ----------
    histories : Histories
    held_out : ndarray of shape (n_events,), bool
        The newest events of some users.

    Returns
    -------
    hashes : ndarray of shape (n_distinct_hashes,), uint64
    """
    starts = histories.offsets[:-1]
    owner = np.searchsorted(histories.offsets, np.flatnonzero(held_out), side="right") - 1
    stops = histories.offsets[1:] - np.bincount(owner, minlength=len(histories))
    filled = stops > starts
    return np.unique(_end_hashes(histories, starts[filled], stops[filled], _id_hashes(histories)))


def sample_of_events(histories: Histories, before: np.ndarray | None = None) -> np.ndarray:
    """Return a sample of the events: the 4,096 smallest hashes, with those of an earlier sample.

    Samples of two logs can be compared, because both keep the smallest hashes.
    """
    sample = np.empty(0, dtype=np.uint64) if before is None else before
    ids = _id_hashes(histories)
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
    hashes = _event_hashes(histories, events, _id_hashes(histories))
    if len(sample) >= _IN_SAMPLE:
        hashes = hashes[hashes <= sample[-1]]
    return float(_is_in(hashes, sample).mean()) if len(hashes) else 0.0


def count_new_events(histories: Histories, learned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many newest events of each user were not learned from, and the outdated hashes.

    Parameters
    ----------
    histories : Histories
    learned : ndarray of shape (n_hashes,), uint64
        From :func:`learned_ends`.

    Returns
    -------
    n_new : ndarray of shape (n_users,)
        All events of a user whose history is not recognised.
    outdated : ndarray of shape (n_outdated,), uint64
        Hashes of histories that have got new events.
    """
    starts, stops = histories.offsets[:-1], histories.offsets[1:]
    n_new = stops - starts
    outdated = [np.empty(0, dtype=np.uint64)]
    pending, ids = np.arange(len(histories)), _id_hashes(histories)
    for n_back in range(_FARTHEST + 1):
        pending = pending[stops[pending] - n_back > starts[pending]]
        hashes = _end_hashes(histories, starts[pending], stops[pending] - n_back, ids)
        found = _is_in(hashes, learned)
        n_new[pending[found]] = n_back
        if n_back:
            outdated.append(hashes[found])
        pending = pending[~found]
        if not len(pending):
            break
    return n_new, np.unique(np.concatenate(outdated))


def _event_hashes(histories: Histories, events: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the hashes of events, each with the seven events before it.

    Events with fewer events before them are left out, because different users may have the same.
    """
    users = np.searchsorted(histories.offsets, events, side="right") - 1
    starts = events - (_N_EVENTS - 1)
    whole = starts >= histories.offsets[users]
    return _end_hashes(histories, starts[whole], events[whole] + 1, ids)


def _end_hashes(
    histories: Histories, starts: np.ndarray, stops: np.ndarray, ids: np.ndarray
) -> np.ndarray:
    """Return the hash of the newest events of each range ``starts:stops``, none of them empty."""
    total = np.zeros(len(stops), dtype=np.uint64)
    for n_back in range(1, _N_EVENTS + 1):
        at = stops - n_back
        own = at >= starts
        total[own] = total[own] * _FACTOR + ids[histories.codes[at[own]]]
    return _mixed(total)


def _id_hashes(histories: Histories) -> np.ndarray:
    """Return a hash of each item id that is the same in every process."""
    ids = histories.item_ids
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
