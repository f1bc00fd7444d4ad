"""User ids and containers of the output of an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.histories._histories import Histories


def indexed_by_user(encoder: Any, vectors: np.ndarray, X: Any) -> Any:
    """Return a DataFrame indexed by ``user_ids`` if pandas output is set and X has user ids."""
    if not isinstance(X, Histories) or X.user_ids is None:
        return vectors
    if dense_output(encoder) != "pandas":
        return vectors
    from skue._optional import import_optional

    pandas = import_optional("pandas", "io")
    return pandas.DataFrame(vectors, index=pandas.Index(X.user_ids, dtype=X.user_ids.dtype))


def users_of(X: Any, histories: Histories) -> np.ndarray | None:
    """Return the user ids, or the index of a Series or DataFrame, or None."""
    if histories.user_ids is not None:
        return histories.user_ids
    index = getattr(X, "index", None)
    return np.asarray(index) if hasattr(index, "to_numpy") else None


def dense_output(estimator: Any) -> str:
    """Return the container that ``set_output`` or the global configuration asks for."""
    from sklearn.utils._set_output import _get_output_config

    return _get_output_config("transform", estimator)["dense"]
