"""How an estimator reads X, so that scikit-learn's own checks hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils.validation import validate_data

from skue.histories._forms import from_matrix, is_matrix, read_histories, unwrapped
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary

Method = TypeVar("Method", bound=Callable[..., Any])


def with_checked_parameters(fit: Method) -> Method:
    """Check the estimator's parameters before ``fit``, as scikit-learn does.

    Editors and type checkers see the signature of ``fit`` itself.
    """
    return _fit_context(prefer_skip_nested_validation=False)(fit)


def validate_histories(
    estimator: Any, X: Any, *, reset: bool, vocabulary: Vocabulary | None = None
) -> Histories:
    """Return X as histories; remember (or check) its width when it is a 2-D array.

    Parameters
    ----------
    estimator : estimator
    X : any accepted form
    reset : bool
        True in ``fit``, False afterwards.
    vocabulary : Vocabulary, default=None
        The ids of the item space, where there is one already.
    """
    X = unwrapped(X)
    if isinstance(X, Histories) or not is_matrix(X):
        histories = read_histories(X, vocabulary)
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
