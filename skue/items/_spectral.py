"""Item vectors by truncated decomposition of pair counts, with features of items beside them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from skue.histories._histories import Histories
from skue.histories._splits import newest_instants
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ScaledFeatures
from skue.items._pair_counts import PairCounts, count_pairs
from skue.kernels._arrays import kept_offsets, owners
from skue.kernels._pair_counts import degree_normalized
from skue.kernels._pooling import decayed_averages
from skue.kernels._ridge import best_ridge, predictions
from skue.kernels._svd import truncated_svd
from skue.kernels._topk import top_k
from skue.kernels._unit_rows import NEGLIGIBLE_NORM, unit_rows

# Between the spectral embedding (0) and vectors whose inner products approximate the counts (1/2).
# With 1/2, the items of a dense log, where a few singular values dominate, would all be similar.
_SPECTRUM_EXPONENT = 0.25
# Vectors no longer than this share of the longest are mostly rounding errors.
NOISE = 1e-4
# Rounds in which items get the directions of their neighbours.
_N_ROUNDS = 2
# Norms of the features, as shares of the norm of the counts. Without validation, the second.
SHARES = (0.0, 0.15, 0.3, 0.6)
DEFAULT_SHARE = SHARES[1]
# Users, dimensions, iterations and decay by which the share is chosen.
_MOST_USERS, _FEWEST_USERS = 3000, 200
_FEW_DIMS, _FEW_ITERATIONS = 48, 2
_DECAY = 0.3
_K = 20

# Towers start from pairs with at most this many events between them, so that logs of large baskets
# have about as many pairs per event as others.
_MOST_BETWEEN = 20


def learned_items(
    histories: Histories,
    n_dims: int,
    *,
    window: int,
    smoothing: float,
    directed: bool = False,
    n_jobs: int | None = None,
    features: ScaledFeatures | None = None,
) -> ItemEmbeddings | None:
    """Return the items that towers start from, or None if there are no pairs of items.

    They are learned from which items are near each other. With ``directed``, they are learned from
    which follow which: items are similar if the same items come after them, or before them, or one
    comes after the other. Directions of negative eigenvalues are kept, because training can use
    them, and cannot change a column of zeros.
    """
    counts = count_pairs(
        histories, window=window, directed=directed, most_between=_MOST_BETWEEN, n_jobs=n_jobs
    )
    if not counts.pairs.nnz:
        return None
    share = chosen_share(
        features,
        histories,
        n_dims,
        window=window,
        smoothing=smoothing,
        directed=directed,
        n_jobs=n_jobs,
    )
    return spectral_items(
        counts,
        n_dims,
        np.random.RandomState(0),
        smoothing=smoothing,
        directed=directed,
        both_sides=directed,
        features=features,
        # Trained towers gain from about twice as many features as the averages that choose.
        share=min(2 * share, SHARES[-1]),
    )


def spectral_items(
    counts: PairCounts,
    n_dims: int,
    random_state: np.random.RandomState,
    *,
    smoothing: float,
    directed: bool = False,
    both_sides: bool = True,
    features: ScaledFeatures | None = None,
    share: float = 0.0,
    n_iter: int | Literal["auto"] = "auto",
    with_all_features: bool = False,
) -> ItemEmbeddings:
    """Return vectors of the items with pairs, of which there must be some.

    A random direction is mixed into each, by the share of events that are repeats.

    Parameters
    ----------
    features : ScaledFeatures, default=None
    share : float, default=0
        Norm of the features beside that of the counts.
    with_all_features : bool, default=False
        Whether to add items without pairs that have features, by ridge regression.
    """
    # Items without pairs would get directions of rounding errors.
    has_pairs = np.diff(counts.pairs.indptr) > 0
    has_pairs[counts.pairs.indices] = True
    ids = counts.item_ids[has_pairs]
    pairs = counts.pairs[has_pairs][:, has_pairs]
    table = degree_normalized(pairs, smoothing=smoothing, directed=directed)
    vectors = spectral_vectors(
        table,
        n_dims,
        random_state,
        directed=directed,
        both_sides=both_sides,
        features=None if features is None else features.of(ids),
        share=share,
        n_iter=n_iter,
    )
    norms = np.linalg.norm(vectors, axis=1)
    vectors = unit_rows(vectors, norms)
    is_noise = norms <= NOISE * norms.max()
    if is_noise.any():
        beside = table[is_noise][:, is_noise]
        vectors[is_noise] = of_neighbours(beside + beside.T, vectors.shape[1], random_state)
    repeats = counts.share_of_repeats
    items = ItemEmbeddings(_with_own_directions(vectors, repeats, random_state), ids)
    if features is None or not with_all_features:
        return items
    others = features.ids_beside(ids)
    if not len(others):
        return items
    predicted = predicted_vectors(features, ids, vectors, others)
    return items.extend(_with_own_directions(predicted, repeats, random_state), others)


def predicted_vectors(
    features: ScaledFeatures, ids: np.ndarray, vectors: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Return unit vectors of other items, by ridge regression of these vectors on features."""
    weights = best_ridge(features.of(ids), vectors)
    mean = vectors.mean(axis=0, dtype=np.float64)
    return unit_rows(predictions(weights, features.of(others), mean))


def of_neighbours(
    table: sp.csr_array, n_dims: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Return random directions, added up over neighbours, so that neighbours are similar.

    This places items that only appear with one another, too rarely for one of the dimensions.
    """
    vectors = random_state.normal(size=(table.shape[0], n_dims))
    for _ in range(_N_ROUNDS):
        vectors = unit_rows(vectors + 2 * unit_rows(table @ vectors))
    return vectors


def _with_own_directions(
    vectors: np.ndarray, share: float, random_state: np.random.RandomState
) -> np.ndarray:
    """Mix a random direction into each vector."""
    if not share:
        return vectors
    own = unit_rows(random_state.normal(size=vectors.shape))
    mixed = np.sqrt(1 - share) * vectors + np.sqrt(share) * own
    cancels = np.linalg.norm(mixed, axis=1) <= NEGLIGIBLE_NORM  # where there is one dimension
    mixed[cancels] = vectors[cancels]
    return mixed


def spectral_vectors(
    table: sp.csr_array,
    n_dims: int,
    random_state: np.random.RandomState,
    *,
    directed: bool = False,
    both_sides: bool = True,
    features: Any = None,
    share: float = 0.0,
    n_iter: int | Literal["auto"] = "auto",
) -> np.ndarray:
    r"""Return vectors of the items of a normalised table of counts, not scaled to length 1.

    The vectors are :math:`(U + V) \Sigma^{1/4}`, with :math:`U \Sigma V^T` the truncated singular
    value decomposition of the counts :math:`C`, or :math:`U \Sigma^{1/4}` without ``both_sides``.
    With features :math:`F`, they are :math:`U \Sigma^{1/4}` of :math:`[C, \alpha F]`. Directed
    counts :math:`M` with features are decomposed as :math:`[[M, \alpha F], [\alpha F^T, 0]]`.

    Of a symmetric table, left and right vectors are equal where the eigenvalue is positive. Where
    it is negative, they are opposite, and the sum is zero: along such a direction, items are far
    from those that they appear with.

    Parameters
    ----------
    table : csr_array of shape (n_items, n_items)
    n_dims : int
    random_state : RandomState
    directed : bool, default=False
    both_sides : bool, default=True
    features : csr_array or ndarray of shape (n_items, n_features), default=None
        Rows of length 1 or 0.
    share : float, default=0
        Frobenius norm of :math:`\alpha F`, as a share of that of the counts.
    n_iter : int or "auto", default="auto"
        Number of power iterations of the decomposition.
    """
    n_items = table.shape[0]
    if features is not None and share:
        beside = scaled_to(table, features, share)
        blocks = [[table, beside], [beside.T, None]] if directed else [[table, beside]]
        table = sp.csr_array(sp.block_array(blocks, format="csr"))
    n_dims = min(n_dims, n_items)
    left, values, right = truncated_svd(table, n_dims, random_state, n_iter=n_iter)
    right = right.T
    kept = values > NEGLIGIBLE_NORM * values[0]
    powers = np.where(kept, values, 0) ** _SPECTRUM_EXPONENT
    both_sides = both_sides and table.shape[0] == table.shape[1]
    return (left + right if both_sides else left)[:n_items] * powers


def scaled_to(table: sp.csr_array, features: Any, share: float) -> sp.csr_array:
    """Return the features with a share of the norm of the table."""
    norms = [
        float(np.sqrt(((part.data if sp.issparse(part) else part) ** 2).sum()))
        for part in (table, features)
    ]
    factor = share * norms[0] / norms[1] if norms[1] else 0.0
    return sp.csr_array(features * np.float32(factor))


def chosen_share(
    features: ScaledFeatures | None,
    histories: Histories,
    n_dims: int,
    *,
    window: int,
    smoothing: float,
    directed: bool = False,
    n_jobs: int | None = None,
) -> float:
    """Return the norm of the features, as a share of that of the counts; 0 without features.

    The newest instants of some users are held out. The score of a share is the recall@20 of a
    decayed average of the rest, in few dimensions. Of the shares at most one standard error behind
    the best, the largest is chosen.
    """
    if features is None:
        return 0.0
    random_state = np.random.RandomState(0)
    users, held_out = newest_instants(histories, 1.0, random_state, n_most=_MOST_USERS)
    if len(users) < _FEWEST_USERS:
        return DEFAULT_SHARE
    rest = histories._keep_events(~held_out)
    counts = count_pairs(rest, window=window, directed=directed, n_jobs=n_jobs)
    if not counts.pairs.nnz:
        return DEFAULT_SHARE
    prefixes, targets = rest[users], histories._keep_events(held_out)[users]
    scores = []
    for share in SHARES:
        items = spectral_items(
            counts,
            min(n_dims, _FEW_DIMS),
            np.random.RandomState(0),
            smoothing=smoothing,
            directed=directed,
            features=features,
            share=share,
            n_iter=_FEW_ITERATIONS,
        )
        scores.append(_recall(items, prefixes, targets))
    recall = np.array(scores)
    behind = recall[recall.mean(axis=1).argmax()] - recall
    error = behind.std(axis=1) / np.sqrt(len(users))
    return SHARES[int(np.flatnonzero(behind.mean(axis=1) <= error).max())]


def _recall(items: ItemEmbeddings, histories: Histories, targets: Histories) -> np.ndarray:
    """Return the share of each user's held-out events whose item is recommended."""
    rows = items.rows_of(histories)
    offsets = kept_offsets(histories.offsets, rows >= 0)
    rows = rows[rows >= 0]
    vectors, _ = decayed_averages(rows, offsets, None, None, (_DECAY,), 1.0, items.vectors)
    found, _ = top_k(vectors[0], items.vectors, _K, excluded=(rows, offsets))
    sought, users = items.rows_of(targets), owners(targets.offsets)
    is_hit = (found[users] == sought[:, None]).any(axis=1) & (sought >= 0)
    is_hit &= np.diff(offsets)[users] > 0
    return np.bincount(users, is_hit, len(targets)) / targets.lengths
