"""Item vectors by who chose what: items are alike if the same people choose them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from skue.histories._histories import Histories
from skue.histories._splits import liked
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ScaledFeatures
from skue.items._spectral import NOISE, of_neighbours, predicted_vectors, scaled_to
from skue.kernels._svd import krylov_svd, truncated_svd
from skue.kernels._unit_rows import NEGLIGIBLE_NORM, unit_rows

# Norm of the features, as a share of that of the table.
FEATURES_SHARE = 0.3
# With fewer, a Krylov space would have blocks of a few columns only.
_FEWEST_DIMS = 32
# Power iterations for small tables, whose singular values may be close to one another.
_N_ITERATIONS = 20


def items_by_choice(
    histories: Histories, n_dims: int, *, features: ScaledFeatures | None = None
) -> ItemEmbeddings:
    r"""Return vectors of the items with events, and of those with features, in ``n_dims``.

    The vectors are the right singular vectors of the normalized table :math:`A` of users × items,
    or of :math:`A` above :math:`\alpha F^T` with features :math:`F`, one row per item, scaled to
    length 1. Other items get what a ridge regression on the features predicts. If there are fewer
    directions than dimensions, the rest are zeros.
    """
    histories = liked(histories)._with_used_items()
    if not len(histories.codes):
        raise ValueError(
            "X holds no event, so no item vectors can be learned. Pass histories with events of "
            "positive weight."
        )
    ids, table = histories.item_ids, normalized_choices(histories)
    random_state = np.random.RandomState(0)
    vectors = _directions(_with_features(table, ids, features), n_dims, random_state)
    norms = np.linalg.norm(vectors, axis=1)
    is_noise = norms <= NOISE * norms.max()
    vectors = unit_rows(vectors, norms)
    if is_noise.any():
        choices = aslinearoperator(table[:, is_noise])
        vectors[is_noise] = of_neighbours(choices.T @ choices, n_dims, random_state)
    items = ItemEmbeddings(vectors, ids)
    if features is None:
        return items
    others = features.ids_beside(ids)
    return items.extend(predicted_vectors(features, ids, vectors, others), others)


def counts_of(histories: Histories) -> sp.csr_array:
    """Return the number of events of each user and item, float64."""
    return histories._table_of(np.ones(len(histories.codes)))


def normalized_choices(histories: Histories) -> sp.csr_array:
    r"""Return :math:`C_{ui} / \sqrt{(d_u + \tau)(d_i + \tau')}`, users × items.

    With :math:`n_{ui}` events of user :math:`u` with item :math:`i`, :math:`C_{ui} = \log(1 +
    n_{ui})`. The sums of its rows and columns are :math:`d_u` and :math:`d_i`, and their means
    :math:`\tau` and :math:`\tau'`.
    """
    table = counts_of(histories).astype(np.float32)
    np.log1p(table.data, out=table.data)
    of_users, of_items = (table.sum(axis=axis, dtype=np.float64) for axis in (1, 0))
    by_user, by_item = (1 / np.sqrt(sums + sums.mean()) for sums in (of_users, of_items))
    table.data *= np.repeat(by_user, np.diff(table.indptr)) * by_item[table.indices]
    return table


def _with_features(
    table: sp.csr_array, ids: np.ndarray, features: ScaledFeatures | None
) -> sp.csr_array:
    """Return the table above the features of its items."""
    if features is None:
        return table
    below = scaled_to(table, features.of(ids), FEATURES_SHARE)
    return sp.csr_array(sp.vstack([table, below.T], format="csr"))


def _directions(
    table: sp.csr_array, n_dims: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Return the right singular vectors as columns, and zeros where there are no more."""
    # The last of the singular vectors found are the least accurate.
    n_most = min(max(3 * n_dims // 2, _FEWEST_DIMS), *table.shape)
    if 3 * n_most <= min(table.shape):  # room for a Krylov space
        _, values, right = krylov_svd(table, n_most, random_state)
    else:
        _, values, right = truncated_svd(table, n_most, random_state, n_iter=_N_ITERATIONS)
    right = right[:n_dims][values[:n_dims] > NEGLIGIBLE_NORM * values[0]]
    vectors = np.zeros((table.shape[1], n_dims), dtype=np.float32)
    vectors[:, : len(right)] = right.T
    return vectors
