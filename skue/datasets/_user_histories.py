"""Generated users with known tastes."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.items._item_embeddings import ItemEmbeddings

_AT_LEAST_ONE = [Interval(Integral, 1, None, closed="left")]


@validate_params(
    {
        "n_users": _AT_LEAST_ONE,
        "n_events": _AT_LEAST_ONE,
        "n_items": _AT_LEAST_ONE,
        "n_dims": _AT_LEAST_ONE,
        "random_state": [Interval(Integral, 0, None, closed="left"), np.random.Generator],
        "drift_scale": [Interval(Real, 0, None, closed="left")],
        "drift_after": [None, Interval(Integral, 0, None, closed="left")],
        "drift_shared": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_user_histories(
    n_users: int = 3000,
    n_events: int = 30,
    n_items: int = 1500,
    n_dims: int = 48,
    random_state: Any = 3,
    *,
    drift_scale: float = 0.4,
    drift_after: int | None = None,
    drift_shared: bool = False,
) -> Bunch:
    r"""Generate users who choose items close to their taste, which drifts once.

    The taste :math:`t` of a user and the items :math:`v_i` are standard normal vectors. Each event
    chooses item :math:`i` with probability
    :math:`0.85\, e^{t \cdot v_i} / \sum_j e^{t \cdot v_j} + 0.15\, p_i`, where :math:`p` is a
    popularity. Events at positions after ``drift_after`` use the taste :math:`t + d`. The drift
    :math:`d` is ``drift_scale`` times a normal vector. If ``drift_shared``, it is ``drift_scale``
    times :math:`t` rotated by one rotation for all users, as if all people moved on in the same way
    (from prams to toys). The item embeddings are the true vectors with added noise of scale 0.15,
    scaled to unit length.

    Parameters
    ----------
    n_users : int, default=3000
        Number of users.
    n_events : int, default=30
        Number of events of each user.
    n_items : int, default=1500
        Number of items.
    n_dims : int, default=48
        Length of the true vectors.
    random_state : int or Generator, default=3
        Seed for ``numpy.random.default_rng``.
    drift_scale : float, default=0.4
        Size of the drift.
    drift_after : int, default=None
        Last position before the drift, counted from 0; by default ``n_events // 2``.
    drift_shared : bool, default=False
        Whether the drift is the same function of the taste for all users. A model can learn it
        from other users; an average of a user's own items cannot.

    Returns
    -------
    data : Bunch
        ``histories`` (Histories), ``item_embeddings`` (ItemEmbeddings, ids are row numbers),
        ``true_item_vectors`` of shape (n_items, n_dims), ``true_user_vectors`` and
        ``drift_vectors`` of shape (n_users, n_dims).

    Examples
    --------
    >>> from skue.datasets import make_user_histories
    >>> make_user_histories(n_users=3).histories[0][:10]
    array([125, 125, 125, 125, 125, 217, 125, 125, 125, 125])
    """
    rng = np.random.default_rng(random_state)
    last_before = n_events // 2 if drift_after is None else drift_after
    tastes = rng.normal(size=(n_users, n_dims)).astype(np.float32)
    items = rng.normal(size=(n_items, n_dims)).astype(np.float32)
    popularity = rng.power(a=2.0, size=n_items).astype(np.float32)
    popularity = popularity / popularity.sum()
    if drift_shared:
        rotation, _ = np.linalg.qr(rng.normal(size=(n_dims, n_dims)))
        shared = (tastes @ rotation).astype(np.float32)
    drifts = np.empty_like(tastes)
    codes = np.empty((n_users, n_events), dtype=np.int32)
    n_before = min(last_before + 1, n_events)
    # Drawn user by user, so that a seed keeps giving the same data.
    for user in range(n_users):
        own = rng.normal(size=n_dims)
        drifts[user] = drift_scale * (shared[user] if drift_shared else own)
        uniform = rng.random(n_events)
        before = _cumulative(tastes[user], items, popularity)
        codes[user, :n_before] = before.searchsorted(uniform[:n_before], side="right")
        if n_before < n_events:
            after = _cumulative(tastes[user] + drifts[user], items, popularity)
            codes[user, n_before:] = after.searchsorted(uniform[n_before:], side="right")
    noise = rng.normal(size=items.shape).astype(np.float32)
    item_embeddings = ItemEmbeddings(items + np.float32(0.15) * noise)
    vocabulary = Vocabulary(np.arange(n_items))
    offsets = np.arange(n_users + 1, dtype=np.int64) * n_events
    return Bunch(
        histories=Histories._trusted(codes.ravel(), offsets, vocabulary, None, None, None),
        item_embeddings=item_embeddings,
        true_item_vectors=items,
        true_user_vectors=tastes,
        drift_vectors=drifts,
    )


def _cumulative(taste: np.ndarray, items: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    scores = taste @ items.T
    affinity = np.exp(scores - scores.max()).astype(np.float64)
    chances = 0.85 * (affinity / affinity.sum()) + 0.15 * popularity
    cumulative = chances.cumsum()
    return cumulative / cumulative[-1]
