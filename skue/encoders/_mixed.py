"""A mix of a slow and a fast average."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from skue.encoders._base import ColdStart, UnknownItem
from skue.encoders._events import AgeUnit
from skue.encoders._online import AverageUserEncoder
from skue.kernels._pooling import mixed_unit_vectors


class MixedUserEncoder(AverageUserEncoder):
    r"""Encode users as a mix of a slow and a fast decayed average.

    Both are the unit-length averages of :class:`DecayAverageUserEncoder`,

    .. math:: u \propto (1 - \alpha)\, u_{\text{long}} + \alpha\, u_{\text{short}},

    with :math:`\alpha` the ``short_weight``, normalized. An average that cancels out
    adds nothing. If the mix is not longer than :math:`10^{-6}` times the weights of its parts, the
    user gets the fallback vector.

    Parameters
    ----------
    item_embeddings : ItemEmbeddings, array-like of shape (n_items, n_dims), embedder or None, \
            default=None
        The item space, as in :class:`DecayAverageUserEncoder`.
    long_decay : float, default=0.01
        Decay of the slow average, per ``age_unit``.
    short_decay : float, default=0.15
        Decay of the fast average, per ``age_unit``.
    short_weight : float, default=0.6
        Weight of the fast average, between 0 and 1.
    age_unit : {"step", "instant", "s", "m", "h", "D", "W"}, default="step"
        As in :class:`DecayAverageUserEncoder`.
    repeat_exponent : float, default=1.0
        As in :class:`DecayAverageUserEncoder`, for both averages.
    max_history : int or None, default=None
        Use only this many newest known events per user.
    cold_start : {"mean", "popular", "zero", "raise"} or array-like of shape (n_dims,), \
            default="mean"
        Vector of a user without known events, or whose weights cancel.
    unknown_item : {"ignore", "warn", "raise"}, default="ignore"
        What to do about events of items that are not in ``item_embeddings_``. They never
        contribute to the vector.
    n_jobs : int or None, default=None
        Number of joblib workers used by ``transform``. It does not change the result.
    memory : None, path or joblib.Memory, default=None
        Where item vectors that are learned from X are kept. A fit on the same X with the same
        embedder reads them, so a search over its decays learns them once for each split. The
        vectors are the same. By default they are learned in every fit.

    Attributes
    ----------
    item_embeddings_ : ItemEmbeddings
        The items to search.
    fallback_vector_ : ndarray of shape (n_dims,), float32
        Vector of a user without known events, or whose weights cancel.
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
    DecayAverageUserEncoder : A single average.

    Examples
    --------
    >>> from skue import ItemEmbeddings, MixedUserEncoder
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = MixedUserEncoder(items, long_decay=0.0, short_decay=2.0)
    >>> encoder.fit_transform([["tea", "cup"], ["cup"]]).round(2)
    array([[0.38, 0.92],
           [0.  , 1.  ]], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AverageUserEncoder._parameter_constraints,
        "long_decay": [Interval(Real, 0, None, closed="left")],
        "short_decay": [Interval(Real, 0, None, closed="left")],
        "short_weight": [Interval(Real, 0, 1, closed="both")],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = (
        "long_decay",
        "short_decay",
        "short_weight",
        "age_unit",
        "repeat_exponent",
        "max_history",
    )

    def __init__(
        self,
        item_embeddings: Any = None,
        *,
        long_decay: float = 0.01,
        short_decay: float = 0.15,
        short_weight: float = 0.6,
        age_unit: AgeUnit = "step",
        repeat_exponent: float = 1.0,
        max_history: int | None = None,
        cold_start: ColdStart = "mean",
        unknown_item: UnknownItem = "ignore",
        n_jobs: int | None = None,
        memory: Any = None,
    ) -> None:
        self.item_embeddings = item_embeddings
        self.long_decay = long_decay
        self.short_decay = short_decay
        self.short_weight = short_weight
        self.age_unit = age_unit
        self.repeat_exponent = repeat_exponent
        self.max_history = max_history
        self.cold_start = cold_start
        self.unknown_item = unknown_item
        self.n_jobs = n_jobs
        self.memory = memory

    def _decays(self) -> tuple[float, ...]:
        return float(self.long_decay), float(self.short_decay)

    def _combined(self, parts: np.ndarray, defined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shares = np.array([1 - self.short_weight, self.short_weight])
        return mixed_unit_vectors(parts, shares)
