"""Item vectors from a table of counts, and features beside it: its singular vectors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from skue.kernels._svd import truncated_svd

# Between the spectral embedding (0) and vectors whose inner products approximate the counts (1/2).
# With 1/2, the items of a dense log, where a few singular values dominate, would all be similar.
_SPECTRUM_EXPONENT = 0.25
NEGLIGIBLE = 1e-6


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
        scaled = _beside(table, features, share)
        blocks = [[table, scaled], [scaled.T, None]] if directed else [[table, scaled]]
        table = sp.csr_array(sp.block_array(blocks, format="csr"))
    n_dims = min(n_dims, n_items)
    left, values, right = truncated_svd(table, n_dims, random_state, n_iter=n_iter)
    right = right.T
    kept = values > NEGLIGIBLE * values[0]
    powers = np.where(kept, values, 0) ** _SPECTRUM_EXPONENT
    both_sides = both_sides and table.shape[0] == table.shape[1]
    return (left + right if both_sides else left)[:n_items] * powers


def predictions(of_features: np.ndarray, rows: Any, otherwise: np.ndarray) -> np.ndarray:
    """Return vectors of items from their features; ``otherwise`` where the features say nothing."""
    vectors = np.asarray(rows @ of_features)
    norms = np.linalg.norm(vectors, axis=1)
    says = norms > NEGLIGIBLE * max(float(norms.max(initial=0)), 1e-30)
    vectors[~says] = otherwise
    return vectors


def _beside(table: sp.csr_array, features: Any, share: float) -> sp.csr_array:
    """Return the features times the factor that puts them beside the counts."""
    norms = [float(np.sqrt((_entries(part) ** 2).sum())) for part in (table, features)]
    factor = share * norms[0] / norms[1] if norms[1] else 0.0
    return sp.csr_array(features * np.float32(factor))


def _entries(table: Any) -> np.ndarray:
    return table.data if sp.issparse(table) else table
