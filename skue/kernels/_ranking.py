"""Where held-out items rank in the whole catalogue, with ties taken as they are.

Scores from one float32 product that differ by less than the tolerance are tied, and every metric
is its exact expectation over the orders of tied items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln

from skue.kernels._segments import owners

TOLERANCE = 1e-6
# Blocks of scores this large stay in the processor's cache while they are counted.
BLOCK_BYTES = 8 * 2**20


class Positives(NamedTuple):
    """Each held-out item that can be found, and how many items score above it.

    ``above`` counts the items surely above, ``reached`` those above or tied (itself included).
    Unknown and excluded held-out items are not listed; ``n_relevant`` counts them all the same.
    """

    users: np.ndarray
    scores: np.ndarray
    above: np.ndarray
    reached: np.ndarray
    n_relevant: np.ndarray


class TiedGroups(NamedTuple):
    """Groups of tied held-out items: ``relevant`` of the ``tied`` items under ``above`` others."""

    users: np.ndarray
    above: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    n_relevant: np.ndarray


def rank_positives(
    score_block: Callable[[int, int], np.ndarray],
    n_items: int,
    rows: np.ndarray,
    offsets: np.ndarray,
    *,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Positives, np.ndarray]:
    """Count, for every held-out item, the items above it, without sorting.

    Parameters
    ----------
    score_block : callable
        ``score_block(start, stop)`` returns the scores of these users, an array of shape
        (stop - start, n_items) that may be overwritten.
    n_items : int
    rows : ndarray of shape (n_targets,)
        Item rows of the held-out items, distinct within a user; -1 is unknown.
    offsets : ndarray of shape (n_users + 1,)
    excluded : (rows, offsets), default=None
        Items that leave each user's catalogue.
    tolerance : float
        Scores no further apart are tied.
    block_bytes : int
        Size of the scores held at a time.

    Returns
    -------
    positives : Positives
    listed : ndarray of shape (n_positives,)
        Position of each of them in ``rows``.

    Raises
    ------
    ValueError
        For a score that is NaN.
    """
    n_users = len(offsets) - 1
    block = max(1, block_bytes // max(4 * n_items, 1))
    users = owners(offsets)
    parts, listed = [], []
    for start in range(0, n_users, block):
        stop = min(start + block, n_users)
        scores = score_block(start, stop)
        if excluded is not None:
            own = excluded[1][start : stop + 1]
            scores[owners(own), excluded[0][own[0] : own[-1]]] = -np.inf
        targets = np.arange(offsets[start], offsets[stop])
        targets = targets[rows[targets] >= 0]
        own_scores = scores[users[targets] - start, rows[targets]]
        found = own_scores != -np.inf
        targets, own_scores = targets[found], own_scores[found]
        counts = _count_around(scores, users[targets] - start, own_scores, tolerance)
        parts.append((users[targets], own_scores, *counts))
        listed.append(targets)
    found_users, scores, above, reached = map(np.concatenate, zip(*parts, strict=True))
    positives = Positives(found_users, scores, above, reached, np.diff(offsets))
    return positives, np.concatenate(listed)


def _count_around(
    scores: np.ndarray, local_users: np.ndarray, own_scores: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Count the scores surely above each target's, and those not surely below it."""
    upper = own_scores + scores.dtype.type(tolerance)
    lower = own_scores - scores.dtype.type(tolerance)
    if np.isnan(own_scores).any() or np.isnan(scores.max(initial=-np.inf)):
        raise ValueError("Scores are NaN: a user or item vector is not finite.")
    above = np.empty(len(local_users), dtype=np.int64)
    reached = np.empty(len(local_users), dtype=np.int64)
    mask = np.empty(scores.shape[1], dtype=bool)
    # count_nonzero over one contiguous row is many times faster than over an axis.
    for index, user in enumerate(local_users.tolist()):
        row = scores[user]
        above[index] = np.count_nonzero(np.greater(row, upper[index], out=mask))
        reached[index] = np.count_nonzero(np.greater_equal(row, lower[index], out=mask))
    return above, reached


def product_blocks(
    user_vectors: np.ndarray, item_vectors: np.ndarray
) -> Callable[[int, int], np.ndarray]:
    """Return a score_block of inner products, which reuses one buffer."""
    buffer = np.empty((0, len(item_vectors)), dtype=np.float32)

    def score_block(start: int, stop: int) -> np.ndarray:
        nonlocal buffer
        if len(buffer) < stop - start:
            buffer = np.empty((stop - start, len(item_vectors)), dtype=np.float32)
        return np.matmul(user_vectors[start:stop], item_vectors.T, out=buffer[: stop - start])

    return score_block


def tied_groups(positives: Positives, keep: np.ndarray | None = None) -> TiedGroups:
    """Gather each user's tied positives into groups, best group first.

    Parameters
    ----------
    positives : Positives
    keep : ndarray of shape (n_positives,), bool, default=None
        Take only these positives as relevant; ``n_relevant`` is then their number.
    """
    users, scores, above, reached, n_relevant = positives
    if keep is not None:
        users, scores, above, reached = users[keep], scores[keep], above[keep], reached[keep]
        n_relevant = np.bincount(users, minlength=len(n_relevant))
    order = np.lexsort((-scores, users))
    users, above, reached = users[order], above[order], reached[order]
    # A positive is tied with the one before it when that one is not surely above it.
    opens = np.ones(len(users), dtype=bool)
    opens[1:] = (users[1:] != users[:-1]) | (reached[:-1] <= above[1:])
    first = np.flatnonzero(opens)
    last = np.append(first[1:], len(users)) - 1 if len(first) else first
    return TiedGroups(
        users[first], above[first], reached[last] - above[first], last - first + 1, n_relevant
    )


def expected_hits(groups: TiedGroups, k: int) -> np.ndarray:
    """Return the expected number of relevant items among each user's first k."""
    hits = _slots(groups, k) * groups.relevant / groups.tied
    return np.bincount(groups.users, hits, minlength=len(groups.n_relevant))


def expected_hit_rate(groups: TiedGroups, k: int) -> np.ndarray:
    """Return the probability that each user's first k hold a relevant item."""
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
    """Return the largest possible gain at k."""
    gains = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, k + 2))))
    return gains[np.minimum(n_relevant, k)]


def expected_reciprocal_rank(groups: TiedGroups) -> np.ndarray:
    """Return each user's expected reciprocal rank of the first relevant item."""
    is_first = np.ones(len(groups.users), dtype=bool)
    is_first[1:] = groups.users[1:] != groups.users[:-1]
    a, t, r = groups.above[is_first], groups.tied[is_first], groups.relevant[is_first]
    # One relevant item: the mean of 1 / rank over a run of ranks.
    expected = (digamma(a + t + 1.0) - digamma(a + 1.0)) / t
    for index in np.flatnonzero(r > 1):
        m = np.arange(1, t[index] - r[index] + 2)
        chance = np.exp(_log_choose(t[index] - m, r[index] - 1) - _log_choose(t[index], r[index]))
        expected[index] = np.sum(chance / (a[index] + m))
    ranks = np.zeros(len(groups.n_relevant))
    ranks[groups.users[is_first]] = expected
    return ranks


def expected_recall(
    user_vectors: np.ndarray,
    item_vectors: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    *,
    k: int,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """Return the mean over users of hits among the first k per relevant item."""
    score_block = product_blocks(user_vectors, item_vectors)
    positives, _ = rank_positives(score_block, len(item_vectors), rows, offsets, excluded=excluded)
    groups = tied_groups(positives)
    return float(np.mean(expected_hits(groups, k) / groups.n_relevant))


def _slots(groups: TiedGroups, k: int) -> np.ndarray:
    """Return how many places of the first k the tied items of each group get."""
    return np.minimum(np.maximum(k - groups.above, 0), groups.tied)


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    n, k = np.maximum(n, 0), np.maximum(k, 0)
    with np.errstate(invalid="ignore"):
        return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(np.maximum(n - k, 0) + 1.0)
