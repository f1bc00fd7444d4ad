"""Backends that find the nearest items: exact, or approximate with an exact fallback."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from skue._estimator import import_optional
from skue.items._id_lists import limits_of_users
from skue.kernels._arrays import owners, user_item_keys
from skue.kernels._topk import top_k
from skue.kernels._unit_rows import unit_rows

# How many items exact search compares in the time that faiss takes for one item of a cell and
# hnswlib for one candidate. Measured by benchmarks/ann.py. These are constants, not timings, so
# that opening an index twice gives the same index.
_WORK_OF_ONE_IN_A_CELL = 3
_WORK_OF_ONE_CANDIDATE = 150
# faiss warns of cells with fewer items.
_SMALLEST_CELL = 39


class CellIndex:
    """faiss: items in cells around k-means centres; the effort is the number of cells read."""

    method = "cells"

    def __init__(self, item_vectors: np.ndarray) -> None:
        faiss = import_optional("faiss", "faiss")
        n_items, n_dims = item_vectors.shape
        self._n_cells = max(1, min(int(2 * np.sqrt(n_items)), n_items // _SMALLEST_CELL))
        centres = faiss.IndexFlatIP(n_dims)
        self._index = faiss.IndexIVFFlat(centres, n_dims, self._n_cells, faiss.METRIC_INNER_PRODUCT)
        self._index.own_fields, _ = True, centres.this.disown()
        # Larger values take minutes for a million items and do not improve the cells.
        self._index.cp.max_points_per_centroid = 2 * _SMALLEST_CELL
        self._index.cp.niter = 8
        item_vectors = np.ascontiguousarray(item_vectors)
        self._index.train(item_vectors)
        self._index.add(item_vectors)
        self._parameters = faiss.SearchParametersIVF
        sizes = np.array([self._index.get_list_size(cell) for cell in range(self._n_cells)])
        # The mean size of the cell of an item, as larger cells are read more often.
        self._usual_size = float((sizes**2).sum() / max(n_items, 1))

    def describe(self, effort: int) -> dict[str, Any]:
        return {"n_cells": self._n_cells, "n_cells_read": min(effort, self._n_cells)}

    def work(self, effort: int) -> float:
        read = min(effort, self._n_cells)
        return self._n_cells + _WORK_OF_ONE_IN_A_CELL * self._usual_size * read

    def nearest(
        self, user_vectors: np.ndarray, n: int, effort: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = self._index.search(
            np.ascontiguousarray(user_vectors),
            n,
            params=self._parameters(nprobe=min(effort, self._n_cells)),
        )
        return rows, scores


class GraphIndex:
    """hnswlib: a graph of near items; the effort is the number of candidates on the way."""

    method = "graph"

    def __init__(self, item_vectors: np.ndarray) -> None:
        hnswlib = import_optional("hnswlib", "hnswlib")
        self._n_items = len(item_vectors)
        self._index = hnswlib.Index(space="ip", dim=item_vectors.shape[1])
        self._index.init_index(self._n_items, ef_construction=200, M=24, random_seed=0)
        # With several threads, the graph would be different each time.
        self._index.add_items(item_vectors, np.arange(self._n_items), num_threads=1)

    def describe(self, effort: int) -> dict[str, Any]:
        return {"n_candidates": effort}

    def work(self, effort: int) -> float:
        return _WORK_OF_ONE_CANDIDATE * effort

    def nearest(
        self, user_vectors: np.ndarray, n: int, effort: int
    ) -> tuple[np.ndarray, np.ndarray]:
        # Asking for more items raises the effort. The setting of the library would not be
        # thread-safe.
        asked = min(max(n, effort), self._n_items)
        try:
            rows, distances = self._index.knn_query(user_vectors, k=asked)
        except RuntimeError:  # the graph leads to fewer items, for example if many are equal
            shape = len(user_vectors), n
            return np.full(shape, -1), np.full(shape, -np.inf, dtype=np.float32)
        return rows[:, :n].astype(np.int64), 1 - distances[:, :n]


RECALL_AT = 20
# Queries of each kind: this many for tuning, and as many for verification.
_N_QUERIES = 256
_N_AVERAGED = (2, 8)
# With fewer items, nothing is faster than exact search.
_SMALLEST_CATALOGUE = 1000
_TIED = 1e-6
_GROWTH = 1.25


def sample_queries(item_vectors: np.ndarray, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Return queries of each kind: some for tuning, others for verification.

    A query is the average of a few random items with exponential weights, similar to the average
    of a history. For real histories, averages of 2 to 8 items took as many cells for the same
    recall as the users did, or up to half as many more. Single items are too easy, as each lies
    among its neighbours. Random directions took three to five times as many cells, but no user
    vector looks like them.
    """
    rng = np.random.default_rng(seed)
    parts: tuple[list[Any], list[Any]] = [], []
    for part in parts:
        for n_averaged in _N_AVERAGED:
            picked = rng.integers(len(item_vectors), size=(_N_QUERIES, n_averaged))
            weights = rng.exponential(size=(_N_QUERIES, n_averaged, 1))
            means = (item_vectors[picked] * weights).sum(axis=1)
            part.append(unit_rows(means).astype(np.float32))
    return parts


def _scores_to_reach(queries: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """Return the score that the 20 exact nearest items reach."""
    return top_k(queries, item_vectors, RECALL_AT)[1][:, -1:] - _TIED


LIBRARIES: dict[str, type[CellIndex | GraphIndex]] = {"faiss": CellIndex, "hnswlib": GraphIndex}
BACKENDS = ("exact", *LIBRARIES)

# Rows that each user must not get, and rows that each user (without offsets: any user) may get.
Excluded = tuple[np.ndarray, np.ndarray] | None
Allowed = tuple[np.ndarray, np.ndarray | None] | None


def check_backend(backend: Any, target_recall: Any) -> None:
    """Raise for an unknown backend or a recall that cannot be reached."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {sorted(BACKENDS)}, got {backend!r}.")
    is_number = isinstance(target_recall, Real) and not isinstance(target_recall, bool)
    if not is_number or not 0 < target_recall <= 1:
        raise ValueError(
            f"target_recall must be a number above 0 and at most 1, got {target_recall!r}."
        )


class Backend:
    """Finds the k nearest items of each user within limits, exactly or by a library.

    An approximate search fetches more than k items, drops those outside of the limits, and searches
    exactly for users who then have fewer than k.

    Parameters
    ----------
    name : {"exact", "faiss", "hnswlib"}
    item_vectors : ndarray of shape (n_items, n_dims), float32, rows of unit length
    target_recall : float
        The share of the exact 20 nearest items to find.

    Attributes
    ----------
    info : dict
        ``backend_info`` of :class:`VectorIndex`.
    """

    def __init__(self, name: str, item_vectors: np.ndarray, target_recall: float) -> None:
        self._item_vectors = item_vectors
        self._index: CellIndex | GraphIndex | None = None
        self._effort = 0
        self.info: dict[str, Any] = {"method": "exact", "recall": 1.0}
        if name != "exact":
            import_optional(name, name)
            self._tune(LIBRARIES[name], target_recall)

    def _tune(self, library: type[CellIndex | GraphIndex], target: float) -> None:
        """Build an index and find the least effort that reaches the target, if it is any faster."""
        n_items = len(self._item_vectors)
        if n_items < _SMALLEST_CATALOGUE:
            self.info["reason"] = f"exact search of {n_items} items is as fast"
            return
        index = library(self._item_vectors)
        tuned, checked = (
            [(queries, _scores_to_reach(queries, self._item_vectors)) for queries in kinds]
            for kinds in sample_queries(self._item_vectors)
        )

        def recall(effort: int, kinds: list[tuple[np.ndarray, np.ndarray]]) -> float:
            """Return the lowest recall of the kinds of queries."""
            found = [
                (index.nearest(queries, RECALL_AT, effort)[1], least) for queries, least in kinds
            ]
            return min(float((scores >= least).mean()) for scores, least in found)

        # Aim a little higher, as the recall of other queries is a little lower.
        aim, effort = target + 0.2 * (1 - target), 1.0
        while index.work(int(effort)) < n_items:
            self._effort = int(effort)
            if recall(self._effort, tuned) >= aim:
                reached = recall(self._effort, checked)
                if reached >= target:
                    self._index = index
                    self.info = {
                        "method": index.method,
                        **index.describe(self._effort),
                        "recall": reached,
                        "recall_at": RECALL_AT,
                        "work": index.work(self._effort) / n_items,
                    }
                    return
            effort = max(effort * _GROWTH, effort + 1)
        self.info["reason"] = (
            f"a recall of {target} takes at least as much work as exact search of {n_items} items"
        )

    def search(
        self, user_vectors: np.ndarray, k: int, excluded: Excluded, allowed: Allowed
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (-1 if missing) and cosines of the nearest items."""
        items = self._item_vectors
        n_items = len(items)
        n = _number_to_fetch(k, n_items, excluded, allowed)
        if self._index is not None:
            # More neighbours need more effort for the same recall. This raises it a little more.
            effort = int(self._effort * max(1.0, n / RECALL_AT) ** 0.5)
        if self._index is None or n > n_items or self._index.work(effort) > n_items:
            return top_k(user_vectors, items, k, excluded=excluded, allowed=allowed)
        rows, scores = self._index.nearest(user_vectors, n, effort)
        kept = _is_left(rows, n_items, excluded, allowed)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(kept, order, axis=1)
        rows = np.where(kept, np.take_along_axis(rows, order, axis=1), -1)
        scores = np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf)
        short = np.flatnonzero(kept.sum(axis=1) < k)
        if kept.shape[1] < k:
            missing = (0, 0), (0, k - kept.shape[1])
            rows = np.pad(rows, missing, constant_values=-1)
            scores = np.pad(scores, missing, constant_values=-np.inf)
        if len(short):
            limits = limits_of_users(excluded, short), limits_of_users(allowed, short)
            rows[short], scores[short] = top_k(
                user_vectors[short], items, k, excluded=limits[0], allowed=limits[1]
            )
        return rows, scores


def _number_to_fetch(k: int, n_items: int, excluded: Excluded, allowed: Allowed) -> int:
    """Return how many items to fetch so that usually k of them are within the limits."""
    n, share = min(k, n_items), 1.0
    if excluded is not None:
        n += int(np.diff(excluded[1]).max(initial=0))
    if allowed is not None:
        rows, offsets = allowed
        listed = len(rows) if offsets is None else np.diff(offsets).min(initial=n_items)
        # Allowed items may be further from the user than the others.
        share = min(1.0, listed / n_items / 1.5)
    return int(np.ceil(n / share)) if share * n_items >= n else n_items + 1


def _is_left(rows: np.ndarray, n_items: int, excluded: Excluded, allowed: Allowed) -> np.ndarray:
    """Return which of the found rows (one line a user) are within the limits."""
    left = rows >= 0
    if allowed is not None:
        listed, offsets = allowed
        if offsets is None:
            may = np.zeros(n_items, dtype=bool)
            may[listed] = True
            left &= may[rows]
        else:
            left &= _is_listed(rows, n_items, listed, offsets)
    if excluded is not None:
        left &= ~_is_listed(rows, n_items, *excluded)
    return left


def _is_listed(
    rows: np.ndarray, n_items: int, listed: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    keys = user_item_keys(owners(offsets), listed, n_items)
    return np.isin(user_item_keys(np.arange(len(rows))[:, None], rows, n_items), keys)
