"""From counts of pairs, and features beside them, to item vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp

from skue.histories._histories import Histories
from skue.items._feature_rows import ScaledFeatures
from skue.items._feature_share import SHARES, chosen_share
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._pair_counts import PairCounts, counted
from skue.items._spectral import NEGLIGIBLE, predictions, spectral_vectors
from skue.kernels._cooccurrence import degree_normalized
from skue.kernels._ridge import best_ridge
from skue.kernels._rows import unit_rows

# Dimensions in which the share of the features is chosen, and iterations of the decomposition.
_FEW_DIMS, _FEW_ITERATIONS = 48, 2


class Embedded(NamedTuple):
    """Vectors of the items with pairs, before random directions are mixed in."""

    ids: np.ndarray
    vectors: np.ndarray
    share_of_repeats: float
    random_state: np.random.RandomState
    features: ScaledFeatures | None = None

    def to_items(self) -> ItemEmbeddings:
        """Return the items with pairs."""
        return ItemEmbeddings(self._with_own_directions(self.vectors), self.ids)

    def with_all_items(self) -> ItemEmbeddings:
        """Return the items with pairs, and all others that have features."""
        items = self.to_items()
        if self.features is None or not len(ids := self.features.ids_beside(items.ids)):
            return items
        of_features = best_ridge(self.features.of(items.ids), self.vectors)
        mean = self.vectors.mean(axis=0, dtype=np.float64)
        vectors = unit_rows(predictions(of_features, self.features.of(ids), mean))
        return items.extend(self._with_own_directions(vectors), ids)

    def _with_own_directions(self, vectors: np.ndarray) -> np.ndarray:
        """Mix a random direction into each vector, by the share of events that are repeats."""
        share = self.share_of_repeats
        if not share:
            return vectors
        own = unit_rows(self.random_state.normal(size=vectors.shape))
        return np.sqrt(1 - share) * vectors + np.sqrt(share) * own


def embedded(
    counts: PairCounts,
    n_dims: int,
    *,
    smoothing: float,
    random_state: np.random.RandomState,
    directed: bool = False,
    both_sides: bool = True,
    features: ScaledFeatures | None = None,
    share: float = 0.0,
    n_iter: int | Literal["auto"] = "auto",
) -> Embedded:
    """Return vectors of the items with pairs, of which there must be some.

    With features, ``share`` is their norm beside that of the counts.
    """
    table = degree_normalized(counts.pairs, smoothing=smoothing, directed=directed)
    ids, rows = counts.item_ids, None
    if features is not None:
        has_pairs = (np.diff(table.indptr) > 0) | (np.diff(table.tocsc().indptr) > 0)
        table = sp.csr_array(table[has_pairs][:, has_pairs])
        ids = ids[has_pairs]
        rows = features.of(ids)
    vectors = spectral_vectors(
        table,
        n_dims,
        random_state,
        directed=directed,
        both_sides=both_sides,
        features=rows,
        share=share,
        n_iter=n_iter,
    )
    norms = np.linalg.norm(vectors, axis=1)
    has_vector = norms > NEGLIGIBLE * norms.max()
    vectors = unit_rows(vectors[has_vector], norms[has_vector])
    return Embedded(ids[has_vector], vectors, counts.share_of_repeats, random_state, features)


def share_of_features(
    features: ScaledFeatures | None,
    histories: Histories,
    n_dims: int,
    *,
    window: int,
    smoothing: float,
    directed: bool = False,
    n_jobs: int | None = None,
) -> float:
    """Return the share of the features that held-out events choose, in few dimensions."""
    if features is None:
        return 0.0

    def learner(rest: Histories) -> Callable[[float], ItemEmbeddings]:
        counts = counted(rest, window=window, directed=directed, n_jobs=n_jobs)

        def learn(share: float) -> ItemEmbeddings:
            return embedded(
                counts,
                min(n_dims, _FEW_DIMS),
                smoothing=smoothing,
                random_state=np.random.RandomState(0),
                directed=directed,
                features=features,
                share=share,
                n_iter=_FEW_ITERATIONS,
            ).to_items()

        return learn

    return chosen_share(learner, histories)


def learned_vectors(
    histories: Histories,
    n_dims: int,
    *,
    window: int,
    smoothing: float,
    directed: bool = False,
    n_jobs: int | None = None,
    features: ScaledFeatures | None = None,
) -> Embedded | None:
    """Return the item vectors that towers start from, or None if there are no pairs of items.

    They are learned from which items are near each other. With ``directed``, they are learned from
    which follow which: items are similar if the same items come after them, or before them, or one
    comes after the other. Directions of negative eigenvalues are kept, because training can use
    them, and cannot change a column of zeros.
    """
    how: dict[str, Any] = {"window": window, "directed": directed, "n_jobs": n_jobs}
    counts = counted(histories, **how)
    if not counts.pairs.nnz:
        return None
    # Trained towers gain from about twice as many features as the averages that choose the share.
    share = share_of_features(features, histories, n_dims, smoothing=smoothing, **how)
    share = min(2 * share, SHARES[-1])
    return embedded(
        counts,
        n_dims,
        smoothing=smoothing,
        random_state=np.random.RandomState(0),
        directed=directed,
        both_sides=directed,
        features=features,
        share=share,
    )
