"""Features of candidates, one function each. They know nothing after the query.

"Logarithm" means log(1 + value); of the transition score, which is mostly far below 1, the
feature is log(.001 + value). Ages are measured from the newest event of the user, in instants
(without times, in events).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skue.ranking._candidates import Candidates


def cosine(c: Candidates) -> np.ndarray:
    """Cosine of the user vector and the item vector."""
    return c.cosine


def cosine_rank(c: Candidates) -> np.ndarray:
    """Logarithm of the number of new candidates of the user with a larger cosine."""
    return np.log1p(_new_above(c, c.cosine))


def cosine_gap(c: Candidates) -> np.ndarray:
    """Largest cosine among the new candidates of the user, less the cosine."""
    largest = np.full(len(c.history.n_events), -np.inf)
    np.maximum.at(largest, c.users[c.own < 0], c.cosine[c.own < 0])
    return np.where(np.isfinite(largest), largest, 0.0)[c.users] - c.cosine


def own_count(c: Candidates) -> np.ndarray:
    """Logarithm of the number of events of the item in the history."""
    return np.log1p(_own(c, c.history.count))


def own_share(c: Candidates) -> np.ndarray:
    """Share of the events of the history that have the item."""
    return _own(c, c.history.count) / np.maximum(c.history.n_events, 1)[c.users]


def own_decayed_count(c: Candidates) -> np.ndarray:
    """Logarithm of the sum of exp(-age / 5) over the events of the item in the history."""
    return np.log1p(_own(c, c.history.decayed))


def own_instants(c: Candidates) -> np.ndarray:
    """Logarithm of the number of instants of the history that have the item."""
    return np.log1p(_own(c, c.history.instants))


def own_instant_share(c: Candidates) -> np.ndarray:
    """Share of the instants of the history that have the item, smoothed by one instant."""
    return _own(c, c.history.instants) / (c.history.n_instants + 1)[c.users]


def own_age(c: Candidates) -> np.ndarray:
    """Logarithm of the age of the item's newest event; of the length if the item is new."""
    missing = c.history.n_instants[c.users]
    return np.log1p(_own(c, c.history.age, missing))


def own_days(c: Candidates) -> np.ndarray:
    """Logarithm of the days since the item's newest event; since the first if the item is new."""
    return np.log1p(_own(c, c.history.days, c.history.n_days[c.users]))


def own_rate(c: Candidates) -> np.ndarray:
    """Logarithm of how often per instant the user comes back to the item; 0 if it is new.

    This is log(.0001 + (returns + 10 r) / (instants since the first choice + 10)), with r the
    returns per instant of all users of the item: few instants say little of a user.
    """
    expected = 10 * c.counts.returns_per_instant[c.rows]
    rate = (_returns(c) + expected) / (_own(c, c.history.first_age) + 10)
    return np.where(c.own >= 0, np.log(rate + 1e-4), 0.0)


def own_overdue(c: Candidates) -> np.ndarray:
    """log((age + 1) / (usual gap + 1)) of the item in instants; 0 if it is new.

    The usual gap is (sum of the user's gaps + 3 g) / (returns + 3), with g the mean gap of all
    users of the item. A large value says that the item is due.
    """
    age = _own(c, c.history.age)
    gaps = _own(c, c.history.first_age) - age + 3 * c.counts.return_gap[c.rows]
    gap = gaps / (_returns(c) + 3)
    return np.where(c.own >= 0, np.log((age + 1) / (gap + 1)), 0.0)


def is_new(c: Candidates) -> np.ndarray:
    """1 if the item is not in the history, else 0."""
    return (c.own < 0).astype(np.float64)


def return_rate(c: Candidates) -> np.ndarray:
    """Share of its users who come back to the item, smoothed; 0 if the item is new."""
    return np.where(c.own >= 0, c.counts.return_rate[c.rows], 0.0)


def popularity(c: Candidates) -> np.ndarray:
    """Logarithm of the number of users who chose the item."""
    return np.log1p(c.counts.popularity[c.rows])


def popularity_lately(c: Candidates) -> np.ndarray:
    """Logarithm of the number of recent events of the item, see :class:`LogCounts`."""
    return np.log1p(c.counts.lately[c.rows])


def trend(c: Candidates) -> np.ndarray:
    """log((recent events + 1) / (users who chose the item + 1))."""
    return np.log((c.counts.lately[c.rows] + 1) / (c.counts.popularity[c.rows] + 1))


def transition(c: Candidates) -> np.ndarray:
    """log(.001 + the transition score), see :func:`transition_scores`."""
    return np.log(c.transition + 1e-3)


def transition_rank(c: Candidates) -> np.ndarray:
    """Logarithm of the number of new candidates of the user with a larger transition score."""
    return np.log1p(_new_above(c, c.transition))


def history_length(c: Candidates) -> np.ndarray:
    """Logarithm of the number of events of the history."""
    return np.log1p(c.history.n_events)[c.users]


def history_instants(c: Candidates) -> np.ndarray:
    """Logarithm of the number of instants of the history."""
    return np.log1p(c.history.n_instants)[c.users]


def history_breadth(c: Candidates) -> np.ndarray:
    """Number of distinct items of the history over its events."""
    return (c.history.n_distinct / np.maximum(c.history.n_events, 1))[c.users]


FEATURES: dict[str, Callable[[Candidates], np.ndarray]] = {
    feature.__name__: feature
    for feature in (
        cosine,
        cosine_rank,
        cosine_gap,
        own_count,
        own_share,
        own_decayed_count,
        own_instants,
        own_instant_share,
        own_age,
        own_days,
        own_rate,
        own_overdue,
        is_new,
        return_rate,
        popularity,
        popularity_lately,
        trend,
        transition,
        transition_rank,
        history_length,
        history_instants,
        history_breadth,
    )
}


def feature_table(candidates: Candidates) -> np.ndarray:
    """Return the features of every candidate, shape (n_candidates, n_features)."""
    return np.column_stack([feature(candidates) for feature in FEATURES.values()])


def _own(c: Candidates, column: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
    """Return a column of the history for each candidate; ``missing`` for new items."""
    values = np.full(len(c.own), missing) if np.isscalar(missing) else np.array(missing, float)
    has = c.own >= 0
    values[has] = column[c.own[has]]
    return values


def _returns(c: Candidates) -> np.ndarray:
    """Return how often the user came back to the item at another instant."""
    return _own(c, c.history.instants - 1)


def _new_above(c: Candidates, scores: np.ndarray) -> np.ndarray:
    """Return how many new candidates of the same user have a larger score."""
    order = np.lexsort((-scores, c.users))
    is_new = c.own[order] < 0
    before: np.ndarray = np.cumsum(is_new) - is_new
    users, scores = c.users[order], scores[order]
    opens = np.ones(len(order), dtype=bool)
    opens[1:] = (scores[1:] != scores[:-1]) | (users[1:] != users[:-1])
    first_equal = np.flatnonzero(opens)[np.cumsum(opens) - 1]
    above = np.empty(len(order))
    above[order] = before[first_equal] - before[np.searchsorted(users, users)]
    return above


def ranks_of_user(users: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the rank of each score among those of the same user, 0 for the largest.

    Equal scores are ranked in the order in which they stand.
    """
    order = np.lexsort((-scores, users))
    users = users[order]
    ranks = np.empty(len(users), dtype=np.int64)
    ranks[order] = np.arange(len(users)) - np.searchsorted(users, users)
    return ranks
