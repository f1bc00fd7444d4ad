"""Where held-out items rank in the whole catalogue, with ties taken as they are.

Scores from one float32 product that differ by less than the tolerance are tied, and every metric
is its exact expectation over the orders of tied items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln

from skue.kernels._pooling import pooling_backend
from skue.kernels._segments import owners
from skue.kernels._threads import spread

TOLERANCE = 1e-6
BLOCK_BYTES = 8 * 2**20
# Users and items scored in one product: few scores stay in the cache while they are counted, but
# numpy, which counts row by row, wants long rows.
_TILES = {"numba": (512, 1024), "scipy": (256, 8192)}


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
        (stop - start, n_items) that may be overwritten; :class:`Products` are worked out by
        several threads, some of the items at a time.
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
    products = score_block if isinstance(score_block, Products) else None
    most, width = (n_users, n_items) if products is None else _TILES[pooling_backend()]
    width = min(width, n_items)
    block = max(1, min(most, block_bytes // max(4 * width, 1)))
    users = owners(offsets)
    # The compiled count takes float32; scores that are no cosines may be of another kind.
    count = count_with_numpy if products is None else _counter()

    def tiles(start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        if products is not None:
            for column in range(0, n_items, width):
                yield column, products.tile(start, stop, column, width)
            return
        scores = score_block(start, stop)
        if np.isnan(scores.max(initial=-np.inf)):
            raise ValueError("Scores are NaN: a user or item vector is not finite.")
        yield 0, scores

    def rank(start: int) -> tuple[np.ndarray, ...]:
        stop = min(start + block, n_users)
        targets = np.arange(offsets[start], offsets[stop])
        targets = targets[rows[targets] >= 0]
        out_users, out_rows = _pairs_of_block(excluded, start, stop)
        if len(out_rows):
            out = out_users * np.int64(n_items) + out_rows
            targets = targets[
                ~np.isin((users[targets] - start) * np.int64(n_items) + rows[targets], out)
            ]
        where = _Where(users[targets] - start, rows[targets], out_users, out_rows)

        def counted(own: np.ndarray | None) -> tuple[np.ndarray, ...]:
            return _count_tiles(tiles(start, stop), where, own, tolerance, count)

        if width == n_items:
            return users[targets], *counted(None), targets
        assert products is not None
        own = products.pairs(users[targets], rows[targets])
        taken, above, reached = counted(own)
        # Rounding depends on the place in a product: where it shows, its own scores are the truth.
        if np.abs(taken - own).max(initial=0) > tolerance / 2:
            taken, above, reached = counted(taken)
        return users[targets], taken, above, reached, targets

    starts = range(0, n_users, block)
    parts = spread(rank, starts) if products is not None else list(map(rank, starts))
    found_users, own, above, reached, listed = map(np.concatenate, zip(*parts, strict=True))
    return Positives(found_users, own, above, reached, np.diff(offsets)), listed


class _Where(NamedTuple):
    """Where in a block of scores its held-out items stand, and what leaves the catalogues."""

    users: np.ndarray
    rows: np.ndarray
    out_users: np.ndarray
    out_rows: np.ndarray


def _count_tiles(
    tiles: Iterator[tuple[int, np.ndarray]],
    where: _Where,
    own: np.ndarray | None,
    tolerance: float,
    count: Callable[..., None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the held-out items' scores in the tiles, and the counts around ``own``.

    Without ``own`` (a single tile) the scores themselves are counted around.
    """
    n_targets = len(where.rows)
    taken = np.zeros(n_targets, dtype=np.float32)
    above, reached = np.zeros(n_targets, dtype=np.int64), np.zeros(n_targets, dtype=np.int64)
    # By item, so that what falls into a tile is a slice.
    order, out_order = np.argsort(where.rows), np.argsort(where.out_rows)
    rows, out_rows = where.rows[order], where.out_rows[out_order]
    around = None if own is None else _around(own, tolerance)
    for column, scores in tiles:
        ends = column, column + scores.shape[1]
        here = order[slice(*np.searchsorted(rows, ends))]
        found = scores[where.users[here], where.rows[here] - column]
        taken = taken.astype(found.dtype, copy=False)
        taken[here] = found
        leaves = out_order[slice(*np.searchsorted(out_rows, ends))]
        if len(leaves):
            scores[where.out_users[leaves], where.out_rows[leaves] - column] = -np.inf
        bounds = _around(taken, tolerance) if around is None else around
        count(scores, where.users, *bounds, above, reached)
    return taken, above, reached


def _around(scores: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    margin = scores.dtype.type(tolerance)
    return scores - margin, scores + margin


def _pairs_of_block(
    excluded: tuple[np.ndarray, np.ndarray] | None, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return users, counted from the first, and rows of what leaves their catalogues."""
    if excluded is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    rows, offsets = excluded
    own = offsets[start : stop + 1]
    return owners(own), rows[own[0] : own[-1]]


def _counter() -> Callable[..., None]:
    if pooling_backend() == "numba":
        from skue.kernels._ranking_numba import count_around

        return count_around
    return count_with_numpy


def count_with_numpy(
    scores: np.ndarray,
    users: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    above: np.ndarray,
    reached: np.ndarray,
) -> None:
    """Add, for each target, how many scores of its user are above ``upper``, or reach ``lower``.

    Parameters
    ----------
    scores : ndarray of shape (n_users, n_items), float32
    users, lower, upper : ndarray of shape (n_targets,)
    above, reached : ndarray of shape (n_targets,), int64
        Where the counts are added.
    """
    mask = np.empty(scores.shape[1], dtype=bool)
    # count_nonzero over one contiguous row is many times faster than over an axis.
    for index, user in enumerate(users.tolist()):
        row = scores[user]
        above[index] += np.count_nonzero(np.greater(row, upper[index], out=mask))
        reached[index] += np.count_nonzero(np.greater_equal(row, lower[index], out=mask))


class Products:
    """Inner products of users and items, worked out a tile at a time.

    Parameters
    ----------
    user_vectors : ndarray of shape (n_users, n_dims), float32
    item_vectors : ndarray of shape (n_items, n_dims), float32

    Raises
    ------
    ValueError
        For vectors that are not finite.
    """

    def __init__(self, user_vectors: np.ndarray, item_vectors: np.ndarray) -> None:
        for vectors in (user_vectors, item_vectors):
            # A sum is finite when all of its terms are, but for an overflow.
            if not np.isfinite(vectors.sum()) and not np.isfinite(vectors).all():
                raise ValueError("Scores are NaN: a user or item vector is not finite.")
        self._users, self._items = user_vectors, item_vectors

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Return the scores of these users, of shape (stop - start, n_items)."""
        return self.tile(start, stop, 0, len(self._items))

    def tile(self, start: int, stop: int, column: int, width: int) -> np.ndarray:
        """Return the scores of these users and of some of the items."""
        return self._users[start:stop] @ self._items[column : column + width].T

    def pairs(self, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the scores of single pairs, float32."""
        users, items = self._users[users], self._items[rows]
        return np.einsum("ij,ij->i", users, items, dtype=np.float64).astype(np.float32)


def product_blocks(user_vectors: np.ndarray, item_vectors: np.ndarray) -> Products:
    """Return a score_block of inner products."""
    return Products(user_vectors, item_vectors)


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
