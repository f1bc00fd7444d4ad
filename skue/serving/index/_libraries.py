"""Libraries for approximate search behind one interface: effort, its cost, and search."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np

from skue._optional import import_optional

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
