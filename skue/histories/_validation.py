"""How an estimator reads X, so that scikit-learn's own checks hold."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import validate_data

from skue.histories._coerce import as_histories, from_matrix, is_matrix, unwrapped
from skue.histories._histories import Histories


def validate_histories(estimator: Any, X: Any, *, reset: bool) -> Histories:
    """Return X as histories; remember (or check) its width when it is a 2-D array.

    Parameters
    ----------
    estimator : estimator
    X : any accepted form
    reset : bool
        True in ``fit``, False afterwards.
    """
    X = unwrapped(X)
    if isinstance(X, Histories) or not is_matrix(X):
        histories = as_histories(X)
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(estimator, name):
                    delattr(estimator, name)
    else:
        histories = from_matrix(validate_data(estimator, X, reset=reset, dtype="numeric"))
    if not len(histories):
        raise ValueError(
            "Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required: "
            "X holds no user."
        )
    return histories
