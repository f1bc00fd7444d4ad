"""One pass over the catalogue, from which every metric is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config

from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.histories._targets import target_rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._ranking import (
    BLOCK_BYTES,
    TOLERANCE,
    expected_dcg,
    expected_hit_rate,
    expected_hits,
    expected_reciprocal_rank,
    ideal_dcg,
    product_blocks,
    rank_positives,
    tied_groups,
)
from skue.kernels._segments import kept_offsets, owners
from skue.metrics._vectors import user_and_item_vectors


class Evaluation:
    """Where each user's held-out items rank, and per-user metrics of it.

    Attributes
    ----------
    n_relevant : ndarray of shape (n_users,)
        Held-out items of each user.
    cold : ndarray of shape (n_users,), bool
        Users with no known event.
    repeated : ndarray of shape (n_targets,), bool
        Held-out items that the history already holds.
    unknown : ndarray of shape (n_targets,), bool
        Held-out items outside the catalogue: misses.
    """

    def __init__(
        self,
        score_block: Callable[[int, int], np.ndarray],
        items: ItemEmbeddings,
        histories: Histories,
        y: Any,
        *,
        exclude_seen: bool = False,
        tolerance: float = TOLERANCE,
    ) -> None:
        rows, offsets = target_rows(y, len(histories), items.lookup)
        seen, known = items.rows_of(histories), None
        known = seen >= 0
        seen_offsets = kept_offsets(histories.offsets, known)
        seen = seen[known]
        self.n_relevant = np.diff(offsets)
        self.cold = np.diff(seen_offsets) == 0
        self.unknown = rows < 0
        keys = owners(seen_offsets) * np.int64(len(items)) + seen
        self.repeated = ~self.unknown & np.isin(owners(offsets) * np.int64(len(items)) + rows, keys)
        self._positives, self._listed = rank_positives(
            score_block,
            len(items),
            rows,
            offsets,
            excluded=(seen, seen_offsets) if exclude_seen else None,
            tolerance=tolerance,
            block_bytes=min(BLOCK_BYTES, int(get_config()["working_memory"] * 2**20)),
        )
        self._owners = owners(offsets)
        self._groups = tied_groups(self._positives)

    def hits(self, k: int) -> np.ndarray:
        """Return the expected hits among the first k."""
        return expected_hits(self._groups, k)

    def recall(self, k: int, normalize: str = "relevant") -> np.ndarray:
        """Return the recall of each user, in one of the three ways of RecallAtK."""
        if normalize == "hit":
            return expected_hit_rate(self._groups, k)
        relevant = self.n_relevant
        return self.hits(k) / (np.minimum(relevant, k) if normalize == "min" else relevant)

    def ndcg(self, k: int) -> np.ndarray:
        """Return the normalised discounted cumulative gain of each user."""
        return expected_dcg(self._groups, k) / ideal_dcg(self.n_relevant, k)

    def reciprocal_rank(self) -> np.ndarray:
        """Return the reciprocal rank of each user's first hit."""
        return expected_reciprocal_rank(self._groups)

    def part_recall(self, k: int, *, repeated: bool) -> float:
        """Return the share of repeated (or new) held-out items that are found, NaN without any.

        Each user's share counts the same.
        """
        chosen = self.repeated if repeated else ~self.repeated
        n_users = len(self.n_relevant)
        relevant = np.bincount(self._owners[chosen], minlength=n_users)
        hits = expected_hits(tied_groups(self._positives, chosen[self._listed]), k)
        has = relevant > 0
        return float(np.mean(hits[has] / relevant[has])) if has.any() else float("nan")


def evaluate(estimator: Any, X: Any, y: Any, *, exclude_seen: bool = False) -> Evaluation:
    """Rank the held-out items of every user by the estimator's vectors.

    Parameters
    ----------
    estimator : encoder, Pipeline or ColumnTransformer, fitted
    X : any form that it takes
    y : held-out item ids, one or an array of them a user
    exclude_seen : bool, default=False

    Returns
    -------
    evaluation : Evaluation
    """
    users, items, encoder, history = user_and_item_vectors(estimator, X)
    blocks = product_blocks(unit_rows(users), unit_rows(items))
    histories = as_histories(history)
    return Evaluation(blocks, encoder.item_embeddings_, histories, y, exclude_seen=exclude_seen)


def unit_rows(vectors: Any) -> np.ndarray:
    """Return float32 rows of length 1; zero rows stay zero, anything not finite raises."""
    vectors = np.ascontiguousarray(np.asarray(vectors), dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"Vectors must have two axes, got shape {vectors.shape}.")
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise ValueError(f"Vectors must be finite, but row {row} holds NaN or infinity.")
    return vectors / np.where(norms > 0, norms, 1.0).astype(np.float32)[:, None]
