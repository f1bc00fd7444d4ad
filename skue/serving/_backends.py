"""Backends that find the nearest items: exact, or approximate with an exact fallback."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, NamedTuple, Protocol

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


class LibraryIndex(Protocol):
    """An index whose search gets more accurate and slower with more effort."""

    method: ClassVar[str]

    def __init__(self, item_vectors: np.ndarray) -> None: ...

    @staticmethod
    def require() -> Any:
        """Import the library, or raise an error that says how to install it."""

    def describe(self, effort: int) -> dict[str, Any]:
        """Return the effort in the terms of the library."""

    def work(self, effort: int) -> float:
        """Return the work of a query, as the number of items of an exact search."""

    def nearest(
        self, user_vectors: np.ndarray, n: int, effort: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (-1 if missing) and cosines of about the n nearest items, nearest first."""


class CellIndex:
    """faiss: items in cells around k-means centres; the effort is the number of cells read."""

    method: ClassVar[str] = "cells"

    @staticmethod
    def require() -> Any:
        return import_optional("faiss", "faiss")

    def __init__(self, item_vectors: np.ndarray) -> None:
        faiss = self.require()
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

    method: ClassVar[str] = "graph"

    @staticmethod
    def require() -> Any:
        return import_optional("hnswlib", "hnswlib")

    def __init__(self, item_vectors: np.ndarray) -> None:
        hnswlib = self.require()
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


class Tuning(NamedTuple):
    """The result of tuning.

    Parameters
    ----------
    effort : int
        0 for exact search.
    recall : float
        The lowest recall of the kinds of queries, on those kept for verification.
    work : float
        Work of a query as a share of the work of exact search.
    reason : str
        Why exact search is used, or an empty string.
    """

    effort: int
    recall: float
    work: float
    reason: str = ""


def tune(
    library: type[LibraryIndex], item_vectors: np.ndarray, target: float
) -> tuple[LibraryIndex | None, Tuning]:
    """Build an index and find the least effort that reaches the target.

    Parameters
    ----------
    library : class of LibraryIndex
    item_vectors : ndarray of shape (n_items, n_dims), float32, rows of unit length
    target : float
        The share of the exact 20 nearest items to find.

    Returns
    -------
    index : LibraryIndex, or None if exact search is as fast
    tuning : Tuning
    """
    n_items = len(item_vectors)
    library.require()
    if n_items < _SMALLEST_CATALOGUE:
        return None, Tuning(0, 1.0, 1.0, f"exact search of {n_items} items is as fast")
    index = library(item_vectors)
    tuned, checked = (
        [(queries, _scores_to_reach(queries, item_vectors)) for queries in kinds]
        for kinds in sample_queries(item_vectors)
    )
    # Aim a little higher, as the recall of other queries is a little lower.
    aim = target + 0.2 * (1 - target)
    effort, recall = 1.0, 0.0
    while index.work(int(effort)) < n_items:
        if _lowest_recall(index, int(effort), tuned) >= aim:
            recall = _lowest_recall(index, int(effort), checked)
            if recall >= target:
                return index, Tuning(int(effort), recall, index.work(int(effort)) / n_items)
        effort = max(effort * _GROWTH, effort + 1)
    reason = f"a recall of {target} takes at least as much work as exact search of {n_items} items"
    return None, Tuning(0, 1.0, 1.0, reason)


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


def _lowest_recall(
    index: LibraryIndex, effort: int, kinds: list[tuple[np.ndarray, np.ndarray]]
) -> float:
    return min(
        float((index.nearest(queries, RECALL_AT, effort)[1] >= least).mean())
        for queries, least in kinds
    )


LIBRARIES: dict[str, type[LibraryIndex]] = {"faiss": CellIndex, "hnswlib": GraphIndex}
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


class Backend(Protocol):
    """Finds the k nearest items of each user within the limits."""

    info: dict[str, Any]

    def search(
        self, user_vectors: np.ndarray, k: int, excluded: Excluded, allowed: Allowed
    ) -> tuple[np.ndarray, np.ndarray]: ...


def make_backend(name: str, item_vectors: np.ndarray, target_recall: float) -> Backend:
    """Build a backend. An approximate one is tuned, and replaced if exact search is as fast."""
    exact = ExactBackend(item_vectors)
    if name == "exact":
        return exact
    index, tuning = tune(LIBRARIES[name], item_vectors, target_recall)
    exact.info = {"method": "exact", "recall": 1.0, "reason": tuning.reason}
    return exact if index is None else ApproximateBackend(exact, index, tuning)


class ExactBackend:
    """Computes every cosine by matrix products in blocks."""

    def __init__(self, item_vectors: np.ndarray) -> None:
        self.item_vectors = item_vectors
        self.info: dict[str, Any] = {"method": "exact", "recall": 1.0}

    def search(
        self, user_vectors: np.ndarray, k: int, excluded: Excluded, allowed: Allowed
    ) -> tuple[np.ndarray, np.ndarray]:
        return top_k(user_vectors, self.item_vectors, k, excluded=excluded, allowed=allowed)


class ApproximateBackend:
    """Fetches more than k items, drops those outside the limits, and falls back to exact search."""

    def __init__(self, exact: ExactBackend, index: LibraryIndex, tuning: Tuning) -> None:
        self._exact, self._index, self._effort = exact, index, tuning.effort
        self.info = {
            "method": index.method,
            **index.describe(tuning.effort),
            "recall": tuning.recall,
            "recall_at": RECALL_AT,
            "work": tuning.work,
        }

    def search(
        self, user_vectors: np.ndarray, k: int, excluded: Excluded, allowed: Allowed
    ) -> tuple[np.ndarray, np.ndarray]:
        n_items = len(self._exact.item_vectors)
        n = _number_to_fetch(k, n_items, excluded, allowed)
        # More neighbours need more effort for the same recall. This raises it a little more.
        effort = int(self._effort * max(1.0, n / RECALL_AT) ** 0.5)
        if n > n_items or self._index.work(effort) > n_items:
            return self._exact.search(user_vectors, k, excluded, allowed)
        rows, scores = self._index.nearest(user_vectors, n, effort)
        kept = _is_left(rows, n_items, excluded, allowed)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(kept, order, axis=1)
        rows = np.where(kept, np.take_along_axis(rows, order, axis=1), -1)
        scores = np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf)
        short = np.flatnonzero(~kept.all(axis=1)) if kept.shape[1] == k else np.arange(len(rows))
        if kept.shape[1] < k:
            rows, scores = _widened(rows, k, -1), _widened(scores, k, -np.inf)
        if len(short):
            rows[short], scores[short] = self._exact.search(
                user_vectors[short],
                k,
                limits_of_users(excluded, short),
                limits_of_users(allowed, short),
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


def _widened(found: np.ndarray, k: int, missing: float) -> np.ndarray:
    """Pad rows or scores to k columns."""
    return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=missing)
