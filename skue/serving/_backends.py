"""How an index finds the nearest items: exactly, or through a library for approximate search."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from skue._optional import import_optional
from skue.kernels._segments import offsets_of, positions_of_ranges
from skue.kernels._topk import top_k

# Bounds the matrix of who may get what, users by items.
_MASK_CELLS = 2**22
# Where so much of the catalogue would have to be fetched, exact search is as quick.
_LARGEST_FETCH = 0.1


class Limits:
    """Which items each user of a batch may get.

    Parameters
    ----------
    n_users, n_items : int
    excluded : (rows, offsets), default=None
        Item rows that a user must not get.
    allowed : (rows, offsets), default=None
        Item rows that a user may get.
    shared : ndarray of shape (n_items,), bool, default=None
        Items that anyone may get.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        excluded: tuple[np.ndarray, np.ndarray] | None = None,
        allowed: tuple[np.ndarray, np.ndarray] | None = None,
        shared: np.ndarray | None = None,
    ) -> None:
        self.n_users, self.n_items = n_users, n_items
        self.excluded, self.allowed, self.shared = excluded, allowed, shared

    @property
    def leave_all(self) -> bool:
        """Whether everyone may get everything."""
        return self.excluded is None and self.allowed is None and self.shared is None

    def of_users(self, start: int, stop: int) -> np.ndarray:
        """Return the matrix of what a stretch of users must not get."""
        refused = np.zeros((stop - start, self.n_items), dtype=bool)
        if self.allowed is not None:
            rows, users = _listed(self.allowed, start, stop)
            refused[:] = True
            refused[users, rows] = False
        if self.shared is not None:
            refused |= ~self.shared
        if self.excluded is not None:
            rows, users = _listed(self.excluded, start, stop)
            refused[users, rows] = True
        return refused

    def take(self, users: np.ndarray) -> Limits:
        """Return the limits of the picked users."""
        return Limits(
            len(users),
            self.n_items,
            None if self.excluded is None else _picked(self.excluded, users),
            None if self.allowed is None else _picked(self.allowed, users),
            self.shared,
        )

    def smallest_share(self) -> float:
        """Return the share of the catalogue that the most limited user is left with, or less."""
        share = 1.0 if self.shared is None else float(self.shared.mean())
        if self.allowed is not None:
            share = min(share, np.diff(self.allowed[1]).min(initial=self.n_items) / self.n_items)
        return share

    def most_excluded(self) -> int:
        return 0 if self.excluded is None else int(np.diff(self.excluded[1]).max(initial=0))


class Backend(Protocol):
    """Finds the k nearest items of each user among those that the limits leave."""

    def search(
        self, user_vectors: np.ndarray, k: int, limits: Limits
    ) -> tuple[np.ndarray, np.ndarray]: ...


class ExactBackend:
    """Every cosine, by matrix products in blocks."""

    def __init__(self, item_vectors: np.ndarray) -> None:
        self._item_vectors = item_vectors

    def search(
        self, user_vectors: np.ndarray, k: int, limits: Limits
    ) -> tuple[np.ndarray, np.ndarray]:
        if limits.allowed is None and limits.shared is None:
            return top_k(user_vectors, self._item_vectors, k, excluded=limits.excluded)
        rows = np.empty((len(user_vectors), k), dtype=np.int64)
        scores = np.empty((len(user_vectors), k), dtype=np.float32)
        step = max(1, _MASK_CELLS // limits.n_items)
        for start in range(0, len(user_vectors), step):
            stop = min(start + step, len(user_vectors))
            refused = limits.of_users(start, stop)
            listed = np.flatnonzero(refused) % limits.n_items, offsets_of(refused.sum(axis=1))
            rows[start:stop], scores[start:stop] = top_k(
                user_vectors[start:stop], self._item_vectors, k, excluded=listed
            )
        return rows, scores


class _ApproximateBackend:
    """What the adapters share: fetch more than asked, drop what is refused, top up exactly."""

    def __init__(self, item_vectors: np.ndarray) -> None:
        self._exact = ExactBackend(item_vectors)
        self._build(np.ascontiguousarray(item_vectors))

    def _build(self, item_vectors: np.ndarray) -> None:
        raise NotImplementedError

    def _nearest(self, user_vectors: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (-1 where none) and cosines of about the n nearest, nearest first."""
        raise NotImplementedError

    def search(
        self, user_vectors: np.ndarray, k: int, limits: Limits
    ) -> tuple[np.ndarray, np.ndarray]:
        share = limits.smallest_share()
        wanted = (min(k, limits.n_items) + limits.most_excluded()) / max(share, 1e-9)
        n = min(int(wanted * (1.0 if share == 1 else 1.5)), limits.n_items)
        if n > max(k, _LARGEST_FETCH * limits.n_items):
            return self._exact.search(user_vectors, k, limits)
        rows, scores = self._nearest(user_vectors, n)
        kept = rows >= 0
        if share < 1 or limits.excluded is not None:
            step = max(1, _MASK_CELLS // limits.n_items)
            for start in range(0, len(rows), step):
                refused = limits.of_users(start, min(start + step, len(rows)))
                part = slice(start, start + step)
                kept[part] &= ~np.take_along_axis(refused, np.maximum(rows[part], 0), axis=1)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        found_rows = np.full((len(rows), k), -1, dtype=np.int64)
        found_scores = np.full((len(rows), k), -np.inf, dtype=np.float32)
        width = order.shape[1]
        kept = np.take_along_axis(kept, order, axis=1)
        found_rows[:, :width] = np.where(kept, np.take_along_axis(rows, order, axis=1), -1)
        found_scores[:, :width] = np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf)
        short = np.flatnonzero((found_rows < 0).any(axis=1))
        if len(short):
            found_rows[short], found_scores[short] = self._exact.search(
                user_vectors[short], k, limits.take(short)
            )
        return found_rows, found_scores


class FaissBackend(_ApproximateBackend):
    """faiss: inverted lists over k-means cells, a quarter of them read for each user."""

    def _build(self, item_vectors: np.ndarray) -> None:
        faiss = import_optional("faiss", "faiss")
        n_items, n_dims = item_vectors.shape
        n_cells = int(np.sqrt(n_items))
        # Below this many items faiss itself calls the cells ill-defined.
        if n_items < 39 * n_cells:
            self._index = faiss.IndexFlatIP(n_dims)
        else:
            cells = faiss.IndexFlatIP(n_dims)
            self._index = faiss.IndexIVFFlat(cells, n_dims, n_cells, faiss.METRIC_INNER_PRODUCT)
            self._index.own_fields, _ = True, cells.this.disown()
            self._index.train(item_vectors)
            self._index.nprobe = max(8, n_cells // 4)
        self._index.add(item_vectors)

    def _nearest(self, user_vectors: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = self._index.search(np.ascontiguousarray(user_vectors), n)
        return rows, scores


class HnswlibBackend(_ApproximateBackend):
    """hnswlib: a graph of near neighbours, walked towards each user."""

    def _build(self, item_vectors: np.ndarray) -> None:
        hnswlib = import_optional("hnswlib", "hnswlib")
        self._index = hnswlib.Index(space="ip", dim=item_vectors.shape[1])
        self._index.init_index(len(item_vectors), ef_construction=200, M=24, random_seed=0)
        self._index.add_items(item_vectors, np.arange(len(item_vectors)))
        self._index.set_ef(200)

    def _nearest(self, user_vectors: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        if n > self._index.ef:
            self._index.set_ef(n)
        rows, distances = self._index.knn_query(user_vectors, k=n)
        return rows.astype(np.int64), 1 - distances


BACKENDS: dict[str, Any] = {
    "exact": ExactBackend,
    "faiss": FaissBackend,
    "hnswlib": HnswlibBackend,
}


def _listed(
    lists: tuple[np.ndarray, np.ndarray], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    rows, offsets = lists
    own = offsets[start : stop + 1]
    return rows[own[0] : own[-1]], np.repeat(np.arange(stop - start), np.diff(own))


def _picked(
    lists: tuple[np.ndarray, np.ndarray], users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows, offsets = lists
    lengths = np.diff(offsets)[users]
    return rows[positions_of_ranges(offsets[:-1][users], lengths)], offsets_of(lengths)
