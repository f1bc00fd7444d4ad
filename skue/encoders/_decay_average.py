"""The decayed average of item vectors."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from skue.encoders._base import ColdStart, UnknownItem
from skue.encoders._events import AgeUnit
from skue.encoders._online import AverageUserEncoder


class DecayAverageUserEncoder(AverageUserEncoder):
    r"""Encode users as averages of item vectors in which older events count less.

    For each item :math:`i` of a history, with event weights :math:`w_e` and ages :math:`a_e`,

    .. math::

        S_i = \sum_e w_e\, e^{-\lambda a_e}, \qquad
        c_i = \operatorname{sgn}(S_i)\, |S_i|^{\rho}, \qquad
        u = \frac{\sum_i c_i v_i}{\lVert \sum_i c_i v_i \rVert},

    with :math:`\lambda` the ``decay`` and :math:`\rho` the ``repeat_exponent``. An item whose
    weights cancel (:math:`|S_i| \le 10^{-12} \sum_e |w_e| e^{-\lambda a_e}`) is dropped. If the
    sum is not longer than :math:`10^{-6} \sum_i |c_i|`, the user gets the fallback vector.

    The half-life of an event is :math:`\ln 2 / (\rho \lambda)` units of age, 9.9 steps with the
    default decay of 0.07.

    Unknown items are dropped first, then ``max_history`` is applied, then ages are counted.

    Parameters
    ----------
    item_embeddings : ItemEmbeddings, array-like of shape (n_items, n_dims), embedder or None, \
            default=None
        The item space. The row numbers of an array are the item ids. An unfitted embedder is
        fitted on X. None is ``CooccurrenceItemEmbedder()``.
    decay : float, default=0.07
        Decay rate per ``age_unit``. 0 gives the plain average.
    age_unit : {"step", "instant", "s", "m", "h", "D", "W"}, default="step"
        ``"step"`` counts the later events of the user. ``"instant"`` counts the later distinct
        timestamps, so all events of a basket have the same age. The others are the time
        (seconds, minutes, hours, days, weeks) before the user's newest known event.
    repeat_exponent : float, default=1.0
        Between 0 and 1. 1 is the plain weighted mean, 0.5 damps repeated items, 0 treats the
        history as a set.
    max_history : int or None, default=None
        Use only this many newest known events per user.
    cold_start : {"mean", "popular", "zero", "raise"} or array-like of shape (n_dims,), \
            default="mean"
        The vector of a user without known events, or whose weights cancel: the mean of the
        training users' vectors, the mean of the item vectors weighted by their counts in
        training, zeros, an error, or the given vector. All but zeros are normalized.
    unknown_item : {"ignore", "warn", "raise"}, default="ignore"
        What to do about events of items that are not in ``item_embeddings_``. They never
        contribute to the vector.
    n_jobs : int or None, default=None
        Number of joblib workers used by ``transform``. It does not change the result.
    memory : None, path or joblib.Memory, default=None
        Where item vectors that are learned from X are kept. A fit on the same X with the same
        embedder reads them, so a search over ``decay`` learns them once for each split. The
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

    Raises
    ------
    ValueError
        If ``age_unit`` needs timestamps and X has none, or if X is not a batch of histories.

    See Also
    --------
    MixedUserEncoder : A mix of a slow and a fast average.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = DecayAverageUserEncoder(items, decay=0.5)
    >>> encoder.fit_transform([["tea", "cup"], ["cup"]]).round(2)
    array([[0.52, 0.86],
           [0.  , 1.  ]], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AverageUserEncoder._parameter_constraints,
        "decay": [Interval(Real, 0, None, closed="left")],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = (
        "decay",
        "age_unit",
        "repeat_exponent",
        "max_history",
    )

    def __init__(
        self,
        item_embeddings: Any = None,
        *,
        decay: float = 0.07,
        age_unit: AgeUnit = "step",
        repeat_exponent: float = 1.0,
        max_history: int | None = None,
        cold_start: ColdStart = "mean",
        unknown_item: UnknownItem = "ignore",
        n_jobs: int | None = None,
        memory: Any = None,
    ) -> None:
        self.item_embeddings = item_embeddings
        self.decay = decay
        self.age_unit = age_unit
        self.repeat_exponent = repeat_exponent
        self.max_history = max_history
        self.cold_start = cold_start
        self.unknown_item = unknown_item
        self.n_jobs = n_jobs
        self.memory = memory

    def _decays(self) -> tuple[float, ...]:
        return (float(self.decay),)

    def _combined(self, parts: np.ndarray, defined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return parts[0], defined[0]
