"""Backends that find the nearest items: exact, or approximate with an exact fallback."""

from __future__ import annotations

from numbers import Real
from typing import Any, Protocol

import numpy as np

from skue.items._id_lists import limits_of_users
from skue.kernels._segments import owners, user_item_keys
from skue.kernels._topk import top_k
from skue.serving.index._libraries import CellIndex, GraphIndex, LibraryIndex
from skue.serving.index._tuning import RECALL_AT, Tuning, tune

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
