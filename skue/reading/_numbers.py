"""Tables of numbers in any form."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def numbers_of(values: Any, name: str) -> Any:
    """Return a table of numbers as an array, or as it is if it is sparse.

    Parameters
    ----------
    values : array-like, scipy sparse array or DataFrame of pandas or polars
        A frame of sparse columns becomes a sparse array.
    name : str
        For the messages.

    Raises
    ------
    ValueError
        If a value is not a number. Text that looks like a number is refused, too.
    """
    if hasattr(values, "columns") and hasattr(values, "dtypes"):
        values = _numbers_of_frame(values, name)
    if sp.issparse(values):
        kind = values.dtype
    else:
        try:
            values = np.asarray(values)
        except ValueError as error:
            raise ValueError(f"{name} must be numbers in rows of one length: {error}.") from error
        kind = values.dtype
        if kind.kind == "O" and all(map(_is_number, values.ravel())):
            return values.astype(np.float64)
    if kind.kind not in "biuf":
        raise ValueError(
            f"{name} must be numbers, got dtype {kind}. Encode text and categories first, for "
            "example with TfidfVectorizer or OneHotEncoder."
        )
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number, np.bool_))


def _numbers_of_frame(frame: Any, name: str) -> Any:
    """Return the columns of a pandas or polars frame as an array; sparse columns stay sparse."""
    kinds = list(frame.dtypes)
    if kinds and all(hasattr(kind, "fill_value") and kind.fill_value == 0 for kind in kinds):
        return frame.sparse.to_coo()
    numbers = frame.to_numpy()
    if numbers.dtype.kind != "O":
        return numbers
    for column, kind in zip(frame.columns, kinds, strict=True):
        if getattr(kind, "kind", "O") not in "biuf":
            raise ValueError(
                f"{name} must be numbers, but column {column!r} has dtype {kind}. Encode text and "
                "categories first, for example with TfidfVectorizer or OneHotEncoder."
            )
    return numbers.astype(np.float64)
