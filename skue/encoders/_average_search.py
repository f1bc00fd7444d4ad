"""The search for the plain average with the highest recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from skue.encoders._events import AgeUnit, Events
from skue.kernels._pooling import decayed_averages


def recall_of_averages(
    events: Events,
    age_unit: AgeUnit,
    item_vectors: np.ndarray,
    decays: Sequence[float],
    repeat_exponents: Sequence[float],
    recall: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the recall of every decayed average of a grid, shape (n_decays, n_exponents).

    ``recall(vectors)`` returns the recall for user vectors of shape (n_decays, n_users, n_dims),
    shape (n_decays,). Users without a vector have zeros.
    """
    ages, by_exponent = events.ages(age_unit), []
    for exponent in repeat_exponents:
        vectors, _ = decayed_averages(
            events.rows, events.offsets, ages, events.weights, decays, exponent, item_vectors
        )
        by_exponent.append(recall(vectors))
    return np.stack(by_exponent, axis=1)
