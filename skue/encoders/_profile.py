"""The encoder that describes people: whole histories, items by who chose them."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from skue.encoders._base import ColdStart, UnknownItem, UserEncoder
from skue.encoders._events import Events, new_items
from skue.histories._histories import Histories
from skue.histories._splits import is_liked
from skue.items._choices import items_by_choice
from skue.items._embedders import no_items
from skue.items._item_features import ItemFeatures, scaled_features
from skue.kernels._pooling import decayed_averages


class ProfileUserEncoder(UserEncoder):
    r"""Encode users by who they are: for features of other models, segments and look-alikes.

    The other encoders are made to find the next item, so items are alike if they stand next to each
    other, and the newest events count most. Here, items are alike if the same people choose them,
    however far apart, and the whole history counts alike. With :math:`n_{ui}` events of user
    :math:`u` with item :math:`i`, :math:`C_{ui} = \log(1 + n_{ui})`, sums :math:`d_u` and
    :math:`d_i` of its rows and columns, and their means :math:`\tau` and :math:`\tau'`,

    .. math::

        \frac{C_{ui}}{\sqrt{(d_u + \tau)(d_i + \tau')}} \approx U \Sigma V^T, \qquad
        v_i = \frac{V_i}{\lVert V_i \rVert}, \qquad
        u = \frac{\sum_{i \in u} v_i}{\lVert \sum_{i \in u} v_i \rVert},

    where the last sum is over the distinct items of a history. Only the sign of a weight counts:
    items that a user has disliked (the sum of the weights is negative) are subtracted, and events
    with a weight of zero or less do not count in :math:`C`.

    User vectors and item vectors are in one space. So :meth:`recommend`, the index and the cache
    work as with any encoder, though the other encoders find the next item better. There are no
    online states, because a sum of vectors does not tell whether an item is in it already.

    Scale the block of vectors as a whole, or not at all, before a model that depends on scales.
    If each column is standardized, the last ones, which are mostly noise, count as much as the
    first.

    Parameters
    ----------
    n_dims : int, default=64
        Length of a vector. If a log has fewer directions, the rest are zeros.
    item_features : ItemFeatures, default=None
        Features of the items. Then all their ids are in ``item_embeddings_``: see Notes.
    cold_start : {"mean", "popular", "zero", "raise"} or array-like of shape (n_dims,), \
            default="mean"
        The vector of a user without known events, or whose items cancel: the mean of the training
        users' vectors, the mean of the item vectors weighted by their counts in training, zeros,
        an error, or the given vector. All but zeros are normalized.
    unknown_item : {"ignore", "warn", "raise"}, default="ignore"
        What to do about events of items that are not in ``item_embeddings_``. They never
        contribute to the vector.
    n_jobs : int or None, default=None
        Number of joblib workers used by ``transform``. It does not change the result.

    Attributes
    ----------
    item_embeddings_ : ItemEmbeddings
        The items with at least one event, and those of ``item_features``.
    fallback_vector_ : ndarray of shape (n_dims,), float32
        Vector of a user without known events, or whose items cancel.
    is_new_item_ : ndarray of shape (n_items,), bool
        Items of ``item_embeddings_`` that occur in no history that was fitted.
    item_vectors_ : ndarray of shape (n_items, n_dims), float32
        Vectors of ``item_embeddings_``.
    space_id_ : str
        Name of the space.
    encoder_id_ : str
        Hash of everything that affects the vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    See Also
    --------
    DecayAverageUserEncoder : An average in which older events count less, to find the next item.

    Notes
    -----
    With ``item_features``, the table above :math:`\alpha F^T` is decomposed: the rows
    :math:`F` of features, one per item at length 1, in which rare indicators weigh more (inverse
    document frequency), with 0.3 times the norm of the table. Items without an event get what a
    ridge regression of the vectors on the features predicts; held-out items choose its penalty.

    References
    ----------
    K. Rohe, T. Qin, B. Yu (2016). Co-clustering directed graphs to discover asymmetries and
    directional communities. PNAS 113 (the regularized table, its singular vectors, and rows of
    length 1).

    Examples
    --------
    >>> from skue import ProfileUserEncoder
    >>> people = [["tea", "cup"], ["cup", "pot"], ["pot", "tea"], ["saw", "nail"], ["nail"]]
    >>> encoder = ProfileUserEncoder(n_dims=2).fit(people)
    >>> vectors = encoder.transform([["tea"], ["pot"], ["saw"]])
    >>> (vectors @ vectors.T).round(2) + 0.0
    array([[1., 1., 0.],
           [1., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: UserEncoder._parameter_constraints[name]
            for name in ("cold_start", "unknown_item", "n_jobs")
        },
        "n_dims": [Interval(Integral, 1, None, closed="left")],
        "item_features": [None, ItemFeatures],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = ()
    _threaded: ClassVar[bool] = True
    _uses_order: ClassVar[bool] = False
    # The items are always learned, from whole histories.
    item_embeddings = None
    max_history = None

    def __init__(
        self,
        n_dims: int = 64,
        *,
        item_features: ItemFeatures | None = None,
        cold_start: ColdStart = "mean",
        unknown_item: UnknownItem = "ignore",
        n_jobs: int | None = None,
    ) -> None:
        self.n_dims = n_dims
        self.item_features = item_features
        self.cold_start = cold_start
        self.unknown_item = unknown_item
        self.n_jobs = n_jobs

    def _learn(self, histories: Histories, y: Any) -> None:
        if is_liked(histories).any():
            features = scaled_features(self.item_features, histories)
            self.item_embeddings_ = items_by_choice(histories, self.n_dims, features=features)
        else:
            self.item_embeddings_ = no_items(self.n_dims, histories)
        self.is_new_item_ = new_items(self.item_embeddings_, histories)

    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        parts, defined = decayed_averages(
            events.rows, events.offsets, None, events.weights, (0.0,), 0.0, self.item_vectors_
        )
        return parts[0], defined[0]
