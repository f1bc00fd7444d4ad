"""The cheapest good encoder: an average of item vectors that forgets."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skue.encoders._base import Events, UserEncoder
from skue.kernels._pooling import decay_weights, item_coefficients, pooled_unit_vectors
from skue.kernels._segments import elapsed_ages, instant_ages, step_ages

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "D": 86400.0, "W": 604800.0}

AGE_UNITS = {"step", "instant", *_SECONDS}


class DecayAverageUserEncoder(UserEncoder):
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

    def __init__(
        self,
        item_embeddings: Any = None,
        *,
        decay: float = 0.07,
        age_unit: str = "step",
        repeat_exponent: float = 1.0,
        max_history: int | None = None,
        cold_start: Any = "mean",
        unknown_item: str = "ignore",
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
        ages = event_ages(events, self.age_unit)
        return average(
            events, ages, self.decay, self.repeat_exponent, self.item_embeddings_.vectors
        )


def average(
    events: Events, ages: np.ndarray, decay: float, repeat_exponent: float, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the decayed averages at unit length, and who has one."""
    weights = decay_weights(ages, float(decay), events.weights)
    signed = events.weights is not None and bool((events.weights < 0).any())
    terms = item_coefficients(weights, events.rows, events.offsets, repeat_exponent, signed=signed)
    return pooled_unit_vectors(*terms, vectors)


def event_ages(events: Events, age_unit: str) -> np.ndarray:
    """Return the age of every event, float64; 0 for a user's newest."""
    if age_unit == "step":
        return step_ages(events.offsets)
    timestamps = events.timestamps
    if timestamps is None:
        raise ValueError(
            f"age_unit={age_unit!r} needs timestamps, and X has none. Pass Histories or a frame "
            "with timestamps, or set age_unit='step'."
        )
    if age_unit == "instant":
        return instant_ages(timestamps, events.offsets)
    return elapsed_ages(as_seconds(timestamps), events.offsets, _SECONDS[age_unit])


def as_seconds(timestamps: np.ndarray) -> np.ndarray:
    """Return datetimes as seconds since 1970, numbers as they are."""
    if timestamps.dtype.kind == "M":
        return timestamps.astype("datetime64[us]").astype(np.int64) / 1e6
    return timestamps
