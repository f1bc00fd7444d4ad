"""How an index finds the nearest items: exactly, or approximately and topped up exactly."""

from __future__ import annotations

from numbers import Real
from typing import Any, Protocol

import numpy as np

from skue.kernels._segments import offsets_of, owners, positions_of_ranges
from skue.kernels._topk import top_k
from skue.serving.index._libraries import CellIndex, GraphIndex, LibraryIndex
from skue.serving.index._tuning import RECALL_AT, Tuning, tune

LIBRARIES: dict[str, type[LibraryIndex]] = {"faiss": CellIndex, "hnswlib": GraphIndex}
BACKENDS = ("exact", *LIBRARIES)

# Rows that each user must not get, and those that a user (without offsets: anybody) may get.
Excluded = tuple[np.ndarray, np.ndarray] | None
Allowed = tuple[np.ndarray, np.ndarray | None] | None


def check_backend(backend: Any, target_recall: Any) -> None:
    """Raise for a backend that is unknown and a recall that cannot be reached."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {sorted(BACKENDS)}, got {backend!r}.")
    is_number = isinstance(target_recall, Real) and not isinstance(target_recall, bool)
    if not is_number or not 0 < target_recall <= 1:
        raise ValueError(
            f"target_recall must be a number above 0 and at most 1, got {target_recall!r}."
        )


class Backend(Protocol):
    """Finds the k nearest items of each user among those that the limits leave."""

    info: dict[str, Any]

    def search(
        self, user_vectors: np.ndarray, k: int, excluded: Excluded, allowed: Allowed
    ) -> tuple[np.ndarray, np.ndarray]: ...


def make_backend(name: str, item_vectors: np.ndarray, target_recall: float) -> Backend:
    """Build a backend; an approximate one is tuned, and exact where that is no slower."""
    exact = ExactBackend(item_vectors)
    if name == "exact":
        return exact
    index, tuning = tune(LIBRARIES[name], item_vectors, target_recall)
    exact.info = {"method": "exact", "recall": 1.0, "reason": tuning.reason}
    return exact if index is None else ApproximateBackend(exact, index, tuning)


class ExactBackend:
    """Every cosine, by matrix products in blocks."""

    def __init__(self, item_vectors: np.ndarray) -> None:
        self.item_vectors = item_vectors
        self.info: dict[str, Any] = {"method": "exact", "recall": 1.0}

    def search(
        self, user_vectors: np.ndarray, k: int, excluded: Excluded, allowed: Allowed
    ) -> tuple[np.ndarray, np.ndarray]:
        return top_k(user_vectors, self.item_vectors, k, excluded=excluded, allowed=allowed)


class ApproximateBackend:
    """Fetches more than was asked for, drops what is refused, and tops up exactly."""

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
        # For more neighbours more has to be looked through; this keeps the recall, and a little.
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
                user_vectors[short], k, _of_users(excluded, short), _of_users(allowed, short)
            )
        return rows, scores


def _number_to_fetch(k: int, n_items: int, excluded: Excluded, allowed: Allowed) -> int:
    """Return how many of the nearest leave k to a user who loses the usual share to the limits."""
    n, share = min(k, n_items), 1.0
    if excluded is not None:
        n += int(np.diff(excluded[1]).max(initial=0))
    if allowed is not None:
        rows, offsets = allowed
        listed = len(rows) if offsets is None else np.diff(offsets).min(initial=n_items)
        # What is allowed may lie far from a user more often than not.
        share = min(1.0, listed / n_items / 1.5)
    return int(np.ceil(n / share)) if share * n_items >= n else n_items + 1


def _is_left(rows: np.ndarray, n_items: int, excluded: Excluded, allowed: Allowed) -> np.ndarray:
    """Tell which of the found rows (one line a user) the limits leave."""
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
    keys = owners(offsets) * n_items + listed
    return np.isin(np.arange(len(rows))[:, None] * n_items + rows, keys)


def _of_users(limits: Any, users: np.ndarray) -> Any:
    """Return the limits of the picked users."""
    if limits is None or limits[1] is None:
        return limits
    rows, offsets = limits
    lengths = np.diff(offsets)[users]
    return rows[positions_of_ranges(offsets[:-1][users], lengths)], offsets_of(lengths)


def _widened(found: np.ndarray, k: int, missing: float) -> np.ndarray:
    """Return found rows or scores with k columns."""
    return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=missing)
