"""Where held-out items rank in the whole catalogue.

Scores from one float32 product that differ by at most the tolerance are tied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from skue.kernels._arrays import is_among, owners, pairs_of_block, user_item_keys
from skue.kernels._threads import pooling_backend, spread
from skue.kernels._topk import top_k

TOLERANCE = 1e-6
# Scores other than cosines have any scale. This only evens out rounding.
_SCORE_TOLERANCE = 1e-9
BLOCK_BYTES = 8 * 2**20
# Users and items scored in one product. numba counts fastest in tiles that fit the cache. numpy
# counts row by row, so it needs long rows.
_TILES = {"numba": (512, 1024), "scipy": (256, 8192)}


class Positives(NamedTuple):
    """Held-out items that can be found, and how many items score above each of them.

    ``above`` counts the items that are surely above, ``reached`` those above or tied (including
    the held-out item). Unknown and excluded held-out items are not listed, but they are counted
    in ``n_relevant``.
    """

    users: np.ndarray
    scores: np.ndarray
    above: np.ndarray
    reached: np.ndarray
    n_relevant: np.ndarray


class Products:
    """Inner products of users and items, computed in tiles.

    Parameters
    ----------
    user_vectors : ndarray of shape (n_users, n_dims), float32
    item_vectors : ndarray of shape (n_items, n_dims), float32

    Raises
    ------
    ValueError
        If a vector is not finite.
    """

    def __init__(self, user_vectors: np.ndarray, item_vectors: np.ndarray) -> None:
        for vectors in (user_vectors, item_vectors):
            # A finite sum means finite terms. An infinite one may also be an overflow.
            if not np.isfinite(vectors.sum()) and not np.isfinite(vectors).all():
                raise ValueError("Scores are NaN: a user or item vector is not finite.")
        self._users, self.item_vectors = user_vectors, item_vectors

    def best(self, k: int, excluded: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        """Return the rows of the k best items of each user, best first, as in ``top_k``."""
        return top_k(self._users, self.item_vectors, k, excluded=excluded)[0]

    def tiles(self, start: int, stop: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the scores of these users for ``width`` items at a time, after the first item."""
        for column in range(0, len(self.item_vectors), width):
            yield column, self._users[start:stop] @ self.item_vectors[column : column + width].T

    def pairs(self, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the scores of pairs of a user and an item, float32."""
        users, items = self._users[users], self.item_vectors[rows]
        return np.einsum("ij,ij->i", users, items, dtype=np.float64).astype(np.float32)


def rank_positives(
    scores: Products | Callable[[int, int], np.ndarray],
    n_items: int,
    rows: np.ndarray,
    offsets: np.ndarray,
    *,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
    tolerance: float | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Positives, np.ndarray]:
    """Count the items above each held-out item, without sorting.

    Parameters
    ----------
    scores : Products or callable
        Products are computed in tiles by several threads. A callable ``scores(start, stop)``
        returns the scores of these users for all items, an array that may be overwritten.
    n_items : int
    rows : ndarray of shape (n_targets,)
        Item rows of the held-out items, distinct within a user; -1 is unknown.
    offsets : ndarray of shape (n_users + 1,)
    excluded : (rows, offsets), default=None
        Items to leave out of each user's ranking.
    tolerance : float, default=None
        Scores that differ by at most this much are tied. None is 1e-6 for products of unit
        vectors, and 1e-9 for other scores.
    block_bytes : int
        Memory for the scores of a block of users.

    Returns
    -------
    positives : Positives
    listed : ndarray of shape (n_positives,)
        Position of each of them in ``rows``.

    Raises
    ------
    ValueError
        If a score is NaN.
    """
    n_users = len(offsets) - 1
    tiled = isinstance(scores, Products)
    if tolerance is None:
        tolerance = TOLERANCE if tiled else _SCORE_TOLERANCE
    # The compiled count takes float32 only, and other scores than cosines may be float64.
    backend = pooling_backend() if tiled else "scipy"
    count = _counter(backend)
    most_users, width = _TILES[backend] if tiled else (n_users, n_items)
    width = max(1, min(width, n_items))
    size = max(1, min(most_users, block_bytes // (4 * width)))

    def rank(start: int) -> tuple[np.ndarray, ...]:
        block = _block(rows, offsets, excluded, n_items, start, min(start + size, n_users))
        if isinstance(scores, Products):
            counted = _count_products(scores, block, n_items, width, tolerance, count)
        else:
            counted = _count_whole(scores, block, tolerance)
        return block.positions, *counted

    starts = range(0, n_users, size)
    parts = spread(rank, starts) if tiled else list(map(rank, starts))
    listed, own, above, reached = map(np.concatenate, zip(*parts, strict=True))
    positives = Positives(owners(offsets)[listed], own, above, reached, np.diff(offsets))
    return positives, listed


class _Block(NamedTuple):
    """The held-out items of the users ``start:stop``, and the items to leave out.

    ``users`` and ``out_users`` are counted from ``start``. ``positions`` says where the held-out
    items stand among all of them.
    """

    start: int
    stop: int
    positions: np.ndarray
    users: np.ndarray
    rows: np.ndarray
    out_users: np.ndarray
    out_rows: np.ndarray


def _block(
    rows: np.ndarray,
    offsets: np.ndarray,
    excluded: tuple[np.ndarray, np.ndarray] | None,
    n_items: int,
    start: int,
    stop: int,
) -> _Block:
    """Select the held-out items of a block of users that are known and not excluded."""
    users, own_rows = pairs_of_block(rows, offsets, start, stop)
    keep = own_rows >= 0
    out_users = out_rows = np.empty(0, dtype=np.int64)
    if excluded is not None:
        out_users, out_rows = pairs_of_block(*excluded, start, stop)
    if len(out_rows):
        out = user_item_keys(out_users, out_rows, n_items)
        # Unknown items (row -1) are dropped already, so their keys do not matter.
        keep &= ~is_among(user_item_keys(users, own_rows, n_items), out)
    positions = offsets[start] + np.flatnonzero(keep)
    return _Block(start, stop, positions, users[keep], own_rows[keep], out_users, out_rows)


def _count_whole(
    scores: Callable[[int, int], np.ndarray], block: _Block, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the held-out items' scores and counts, from the scores of all items at once."""
    table = scores(block.start, block.stop)
    if np.isnan(table.max(initial=-np.inf)):
        raise ValueError("Scores are NaN: a user or item vector is not finite.")
    return _count_tiles([(0, table)], block, None, tolerance, count_with_numpy)


def _count_products(
    products: Products,
    block: _Block,
    n_items: int,
    width: int,
    tolerance: float,
    count: Callable[..., None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the held-out items' scores and counts, computed tile by tile."""

    def count_around(own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tiles = products.tiles(block.start, block.stop, width)
        return _count_tiles(tiles, block, own, tolerance, count)

    if width == n_items:
        return count_around(None)
    own = products.pairs(block.start + block.users, block.rows)
    counted = count_around(own)
    # Rounding depends on the place in a product. Where it matters, count again around the scores
    # found in the tiles.
    if np.abs(counted[0] - own).max(initial=0) > tolerance / 2:
        counted = count_around(counted[0])
    return counted


def _count_tiles(
    tiles: Iterable[tuple[int, np.ndarray]],
    block: _Block,
    own: np.ndarray | None,
    tolerance: float,
    count: Callable[..., None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the held-out items' scores in the tiles, and the counts around ``own``.

    ``own`` of None counts around the scores in the tiles, which must then be a single tile.
    """
    n_targets = len(block.rows)
    taken = np.zeros(n_targets, dtype=np.float32)
    above, reached = np.zeros(n_targets, dtype=np.int64), np.zeros(n_targets, dtype=np.int64)
    # Sorted by item, so that the items of a tile are a slice.
    order, out_order = np.argsort(block.rows), np.argsort(block.out_rows)
    rows, out_rows = block.rows[order], block.out_rows[out_order]
    for column, scores in tiles:
        ends = column, column + scores.shape[1]
        here = order[slice(*np.searchsorted(rows, ends))]
        found = scores[block.users[here], block.rows[here] - column]
        taken = taken.astype(found.dtype, copy=False)
        taken[here] = found
        out = out_order[slice(*np.searchsorted(out_rows, ends))]
        if len(out):
            scores[block.out_users[out], block.out_rows[out] - column] = -np.inf
        around = taken if own is None else own
        margin = around.dtype.type(tolerance)
        count(scores, block.users, around - margin, around + margin, above, reached)
    return taken, above, reached


def _counter(backend: str) -> Callable[..., None]:
    if backend == "scipy":
        return count_with_numpy
    from skue.kernels._ranking_numba import count_around

    return count_around


def count_with_numpy(
    scores: np.ndarray,
    users: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    above: np.ndarray,
    reached: np.ndarray,
) -> None:
    """Add, for each target, how many of its user's scores exceed ``upper`` or reach ``lower``.

    Parameters
    ----------
    scores : ndarray of shape (n_users, n_items), float32
    users, lower, upper : ndarray of shape (n_targets,)
    above, reached : ndarray of shape (n_targets,), int64
        The counts are added to these.
    """
    mask = np.empty(scores.shape[1], dtype=bool)
    # count_nonzero over one contiguous row is many times faster than over an axis.
    for index, user in enumerate(users.tolist()):
        row = scores[user]
        above[index] += np.count_nonzero(np.greater(row, upper[index], out=mask))
        reached[index] += np.count_nonzero(np.greater_equal(row, lower[index], out=mask))
