"""The cheapest good encoder: an average of item vectors that forgets."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skue.encoders._base import UserEncoder
from skue.encoders._cold_start import ColdStart
from skue.encoders._events import AGE_UNITS, AgeUnit, Events, event_ages
from skue.encoders._online import OnlineAverages
from skue.encoders._unknown import UnknownItem
from skue.kernels._pooling import decayed_averages


class DecayAverageUserEncoder(OnlineAverages):
    r"""User vectors as averages of item vectors, where older events count less.

    For each item :math:`i` of a history, with event weights :math:`w_e` and ages :math:`a_e`,

    .. math::

        S_i = \sum_e w_e\, e^{-\lambda a_e}, \qquad
        c_i = \operatorname{sgn}(S_i)\, |S_i|^{\rho}, \qquad
        u = \frac{\sum_i c_i v_i}{\lVert \sum_i c_i v_i \rVert},

    with :math:`\lambda` the ``decay`` and :math:`\rho` the ``repeat_exponent``. Items whose
    weights cancel (:math:`|S_i| \le 10^{-12} \sum_e |w_e| e^{-\lambda a_e}`) are dropped, and a
    sum not longer than :math:`10^{-6} \sum_i |c_i|` gives the fallback vector.

    One event loses half of its pull after :math:`\ln 2 / (\rho \lambda)` units of age: at the
    default decay of 0.07 after 9.9 steps.

    Unknown items are dropped first, then ``max_history`` applies, then ages are counted.

    Parameters
    ----------
    item_embeddings : ItemEmbeddings, array-like of shape (n_items, n_dims), embedder or None, \
            default=None
        The space of items: given as it is; as an array, whose row numbers are the ids; as an
        unfitted embedder, which is fitted on X; or None for ``CooccurrenceItemEmbedder()``.
    decay : float, default=0.07
        How fast events lose weight, per ``age_unit``. 0 is the plain average.
    age_unit : {"step", "instant", "s", "m", "h", "D", "W"}, default="step"
        ``"step"`` counts events back from the newest; ``"instant"`` counts distinct timestamps,
        so that a basket shares one age; the others measure time (seconds, minutes, hours, days,
        weeks) back from the user's own newest known event.
    repeat_exponent : float, default=1.0
        Between 0 and 1: 1 is the plain weighted mean, .5 damps repeated items, 0 takes the
        history as a set.
    max_history : int or None, default=None
        Use only so many of each user's newest known events.
    cold_start : {"mean", "popular", "zero", "raise"} or array-like of shape (n_dims,), \
            default="mean"
        What a user without a direction gets: the mean of the training users' vectors; the
        items' mean weighted by their counts in training; zeros; an error; or the given vector.
        All but zeros have length 1.
    unknown_item : {"ignore", "warn", "raise"}, default="ignore"
        What to do about events of items outside the space; they are left out in any case.
    n_jobs : int or None, default=None
        Number of joblib workers that share the users of one ``transform``. The result is the
        same for every number.

    Attributes
    ----------
    item_embeddings_ : ItemEmbeddings
        The space to search.
    fallback_vector_ : ndarray of shape (n_dims,), float32
        What a user without a direction gets.
    item_vectors_ : ndarray of shape (n_items, n_dims), float32
        Vectors of ``item_embeddings_``.
    space_id_ : str
        Name of the space.
    encoder_id_ : str
        Hash of all that the vectors depend on.
    n_features_in_ : int
        Width of X, when X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, when X was a DataFrame of numbers.

    Raises
    ------
    ValueError
        For a time unit without timestamps, and for what no form of X can mean.

    See Also
    --------
    MixedUserEncoder : A slow and a fast average together.

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
        **UserEncoder._parameter_constraints,
        "decay": [Interval(Real, 0, None, closed="left")],
        "age_unit": [StrOptions(AGE_UNITS)],
        "repeat_exponent": [Interval(Real, 0, 1, closed="both")],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = (
        "decay",
        "age_unit",
        "repeat_exponent",
        "max_history",
    )

    _threaded: ClassVar[bool] = True

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
    ) -> None:
        self.item_embeddings = item_embeddings
        self.decay = decay
        self.age_unit = age_unit
        self.repeat_exponent = repeat_exponent
        self.max_history = max_history
        self.cold_start = cold_start
        self.unknown_item = unknown_item
        self.n_jobs = n_jobs

    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        vectors, defined = averages(
            events, self.age_unit, [self.decay], self.repeat_exponent, self.item_vectors_
        )
        return vectors[0], defined[0]

    def _state_decays(self) -> tuple[float, ...]:
        return (float(self.decay),)

    def _join_parts(self, parts: np.ndarray, defined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return parts[0], defined[0]


def averages(
    events: Events,
    age_unit: str,
    decays: Sequence[float],
    repeat_exponent: float,
    vectors: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the averages at unit length and who has one, one row a decay."""
    ages = None if age_unit == "step" else event_ages(events, age_unit)
    return decayed_averages(
        events.rows, events.offsets, ages, events.weights, decays, repeat_exponent, vectors
    )
