"""Ranking metrics as exact expectations over the orders of tied items."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln

from skue.kernels._ranking import Positives


class TiedGroups(NamedTuple):
    """Groups of tied held-out items: ``relevant`` of ``tied`` items, below ``above`` others."""

    users: np.ndarray
    above: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    n_relevant: np.ndarray


def tied_groups(positives: Positives, keep: np.ndarray | None = None) -> TiedGroups:
    """Group each user's tied positives, best group first.

    Parameters
    ----------
    positives : Positives
    keep : ndarray of shape (n_positives,), bool, default=None
        Count only these positives as relevant.
    """
    users, scores, above, reached, n_relevant = positives
    if keep is not None:
        users, scores, above, reached = users[keep], scores[keep], above[keep], reached[keep]
        n_relevant = np.bincount(users, minlength=len(n_relevant))
    order = np.lexsort((-scores, users))
    users, above, reached = users[order], above[order], reached[order]
    # A positive is tied with the one before it unless that one is surely above it.
    opens = np.ones(len(users), dtype=bool)
    opens[1:] = (users[1:] != users[:-1]) | (reached[:-1] <= above[1:])
    first = np.flatnonzero(opens)
    last = np.append(first[1:], len(users)) - 1 if len(first) else first
    return TiedGroups(
        users[first], above[first], reached[last] - above[first], last - first + 1, n_relevant
    )


def expected_hits(groups: TiedGroups, k: int) -> np.ndarray:
    """Return the expected number of relevant items among each user's first k items."""
    hits = _slots(groups, k) * groups.relevant / groups.tied
    return np.bincount(groups.users, hits, minlength=len(groups.n_relevant))


def expected_hit_rate(groups: TiedGroups, k: int) -> np.ndarray:
    """Return the probability that a relevant item is among each user's first k items."""
    slots = _slots(groups, k)
    t, r = groups.tied, groups.relevant
    possible = t - r >= slots
    log_miss = np.full(len(t), -np.inf)
    log_miss[possible] = (_log_choose(t - r, slots) - _log_choose(t, slots))[possible]
    n_users = len(groups.n_relevant)
    miss = np.zeros(n_users)
    np.add.at(miss, groups.users, log_miss)
    return -np.expm1(miss)


def expected_dcg(groups: TiedGroups, k: int) -> np.ndarray:
    """Return each user's expected discounted cumulative gain at k."""
    gains = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, k + 2))))
    stop = np.minimum(groups.above + groups.tied, k)
    spread = gains[stop] - gains[np.minimum(groups.above, k)]
    dcg = groups.relevant / groups.tied * spread
    return np.bincount(groups.users, dcg, minlength=len(groups.n_relevant))


def ideal_dcg(n_relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the largest possible discounted cumulative gain at k."""
    gains = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, k + 2))))
    return gains[np.minimum(n_relevant, k)]


def expected_average_precision(groups: TiedGroups, k: int) -> np.ndarray:
    """Return each user's expected sum, over relevant items among the first k, of the precision.

    Among ``t`` tied items of which ``r`` are relevant, the one at place ``j`` is relevant with
    probability ``r / t``, and then ``(j - 1) (r - 1) / (t - 1)`` of those before it are.
    """
    users, a, t, r, n_relevant = groups
    starts = np.searchsorted(users, users)
    before = np.cumsum(r) - r
    before = before - before[starts] if len(users) else before
    stop = np.minimum(a + t, k)
    first = np.minimum(a, k)
    harmonic = np.append(0.0, np.cumsum(1 / np.arange(1.0, k + 1)))
    inverse = harmonic[stop] - harmonic[first]
    # The sum of (j - 1) / (a + j) over the places of the group that are among the first k.
    shifted = stop - first - (a + 1) * inverse
    sums = r / t * ((before + 1) * inverse + (r - 1) / np.maximum(t - 1, 1) * shifted)
    return np.bincount(users, sums, minlength=len(n_relevant))


def expected_reciprocal_rank(groups: TiedGroups) -> np.ndarray:
    """Return each user's expected reciprocal rank of the first relevant item."""
    is_first = np.ones(len(groups.users), dtype=bool)
    is_first[1:] = groups.users[1:] != groups.users[:-1]
    a, t, r = groups.above[is_first], groups.tied[is_first], groups.relevant[is_first]
    # With one relevant item, the mean of 1 / rank over the tied ranks.
    expected = (digamma(a + t + 1.0) - digamma(a + 1.0)) / t
    for index in np.flatnonzero(r > 1):
        m = np.arange(1, t[index] - r[index] + 2)
        chance = np.exp(_log_choose(t[index] - m, r[index] - 1) - _log_choose(t[index], r[index]))
        expected[index] = np.sum(chance / (a[index] + m))
    ranks = np.zeros(len(groups.n_relevant))
    ranks[groups.users[is_first]] = expected
    return ranks


def _slots(groups: TiedGroups, k: int) -> np.ndarray:
    """Return how many of the first k places each group of tied items takes."""
    return np.minimum(np.maximum(k - groups.above, 0), groups.tied)


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    n, k = np.maximum(n, 0), np.maximum(k, 0)
    with np.errstate(invalid="ignore"):
        return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(np.maximum(n - k, 0) + 1.0)
