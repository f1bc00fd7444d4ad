"""Candidates of a block of users: the items that the second stage orders."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from skue.encoders._events import Events
from skue.kernels._arrays import owners, user_item_keys
from skue.kernels._topk import best_of_row
from skue.ranking._counts import LogCounts, OwnItems


class Candidates(NamedTuple):
    """Pairs of a user and an item, sorted by user and item, with all that features need."""

    users: np.ndarray
    rows: np.ndarray
    cosine: np.ndarray
    transition: np.ndarray
    own: np.ndarray
    history: OwnItems
    counts: LogCounts


def candidates_of(
    nearest: np.ndarray,
    user_vectors: np.ndarray,
    item_vectors: np.ndarray,
    events: Events,
    counts: LogCounts,
    n_more: int,
) -> Candidates:
    """Return the candidates of a block of users.

    These are the nearest items, ``n_more`` with the highest transition scores, ``n_more`` of the
    most popular, and all items of the history.

    Parameters
    ----------
    nearest : ndarray of shape (n_users, n_nearest)
        Item rows; -1 where there are no more.
    user_vectors : ndarray of shape (n_users, n_dims)
    item_vectors : ndarray of shape (n_items, n_dims)
    events : Events
        The histories of the users.
    counts : LogCounts
    n_more : int
    """
    n_users, n_items = len(user_vectors), len(item_vectors)
    transitions, history = counts.transition_scores(events), OwnItems(events, n_items)
    following = user_item_keys(owners(transitions.indptr), transitions.indices, n_items)
    everyone = np.arange(n_users)[:, None]
    keys = [
        user_item_keys(everyone, nearest, n_items)[nearest >= 0],
        following[_places_of_largest(transitions, n_more)],
        user_item_keys(everyone, counts.by_popularity[:n_more], n_items).ravel(),
        history.keys,
    ]
    pairs = np.unique(np.concatenate(keys))
    users, rows = np.divmod(pairs, n_items)
    return Candidates(
        users,
        rows,
        _cosines(user_vectors, item_vectors, users, rows),
        _values_at(transitions.data, following, pairs).astype(np.float64),
        history.find(pairs),
        history,
        counts,
    )


def _places_of_largest(scores: sp.csr_array, n_best: int) -> np.ndarray:
    """Return the places of the largest entries of each user among all entries."""
    places = [np.empty(0, dtype=np.int64)]
    for start, stop in pairwise(scores.indptr.tolist()):
        if start < stop:
            best, _ = best_of_row(scores.data[start:stop], min(n_best, stop - start))
            places.append(start + best)
    return np.concatenate(places)


def _values_at(values: np.ndarray, known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the value of each key; ``known`` are the keys of the values, sorted; others are 0."""
    if not len(known):
        return np.zeros(len(keys))
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[at] == keys, values[at], 0.0)


def _cosines(
    user_vectors: np.ndarray, item_vectors: np.ndarray, users: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return the cosine of each pair, user by user, so that it does not depend on other users."""
    cosines = np.empty(len(users))
    bounds = np.searchsorted(users, np.arange(len(user_vectors) + 1))
    for vector, (start, stop) in zip(user_vectors, pairwise(bounds.tolist()), strict=True):
        cosines[start:stop] = item_vectors[rows[start:stop]] @ vector
    return cosines
