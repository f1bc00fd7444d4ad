"""Tuning an approximate index to a recall, with queries that resemble users."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skue.kernels._rows import unit_rows
from skue.kernels._topk import top_k
from skue.serving.index._libraries import LibraryIndex

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
