"""One door for every form in which people hold histories."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.kernels._segments import kept_offsets
from skue.reading._column_names import looks_like_a_log
from skue.reading._ids import as_ids


def as_histories(X: Any) -> Histories:
    """Return histories from any accepted form of X.

    Parameters
    ----------
    X : Histories, list of lists, 1-D object array, Series of lists, 2-D array, or DataFrame
        A DataFrame has list columns ``items`` and optionally ``timestamps`` and ``weights``; a
        2-D array holds item ids, where negative numbers are padding.

    Returns
    -------
    histories : Histories

    Raises
    ------
    ValueError
        For a long log, a flat list, fractions or anything else that is not a batch of histories.

    Examples
    --------
    >>> import numpy as np
    >>> from skue import as_histories
    >>> as_histories([["tea", "cup"], ["cup"]])
    Histories(n_users=2, n_events=3, n_items=2)
    >>> as_histories(np.array([[4, 7], [4, -1]])).lengths
    array([2, 1])
    """
    return read_histories(X)


def read_histories(X: Any, vocabulary: Vocabulary | None = None) -> Histories:
    """Return histories from any accepted form of X.

    With a vocabulary that knows all of the items, these are numbered by it: nothing is left to
    look up then.
    """
    X = unwrapped(X)
    if isinstance(X, Histories):
        return X
    if is_frame(X):
        return _from_list_columns(X)
    if is_series(X):
        return Histories._from_lists(
            [_as_row(value) for value in X.to_list()], None, None, None, vocabulary
        )
    if is_matrix(X):
        return from_matrix(np.asarray(X))
    if isinstance(X, np.ndarray) and X.ndim != 1:
        raise ValueError(f"X must hold one history a user, got an array of shape {X.shape}.")
    if isinstance(X, np.ndarray) and X.dtype.kind != "O":
        raise ValueError(
            f"Expected 2D array, got 1D array instead: X has shape {X.shape} and dtype {X.dtype}. "
            "Reshape your data with X.reshape(1, -1) if it is one user's history."
        )
    if not hasattr(X, "__len__") or isinstance(X, (str, bytes, dict)):
        raise ValueError(
            f"X must be Histories, a list of lists, a Series of lists, a 2-D array of item ids or "
            f"a DataFrame with a list column 'items', got {type(X).__name__}."
        )
    return Histories._from_lists(X, None, None, None, vocabulary)


def unwrapped(X: Any) -> Any:
    """Turn objects that only promise to become an array into one."""
    return np.asarray(X) if hasattr(X, "__array__") and not hasattr(X, "shape") else X


def is_frame(X: Any) -> bool:
    """Tell whether X is a DataFrame (pandas or polars)."""
    return hasattr(X, "columns") and hasattr(X, "shape") and len(X.shape) == 2


def is_series(X: Any) -> bool:
    """Tell whether X is a Series (pandas or polars)."""
    return hasattr(X, "to_list") and hasattr(X, "dtype") and getattr(X, "ndim", 1) == 1


def is_matrix(X: Any) -> bool:
    """Tell whether X is read as a 2-D array of item ids.

    A DataFrame counts when all of its columns hold numbers and it does not look like a long log.
    """
    if is_frame(X):
        return not looks_like_a_log(X.columns) and not (_list_columns(X) or _other_columns(X))
    return not isinstance(X, (Histories, list, tuple)) and len(getattr(X, "shape", ())) == 2


def from_matrix(matrix: np.ndarray) -> Histories:
    """Read each row as a history; negative numbers are padding."""
    if matrix.dtype.kind not in "iuf":
        raise ValueError(
            f"A 2-D X must hold whole numbers (item ids), got dtype {matrix.dtype}. "
            "Pass lists of strings instead: X.tolist()."
        )
    n_users, width = matrix.shape

    def place(at: int) -> str:
        return f"row {at // width}, column {at % width}"

    flat = as_ids(matrix.ravel(), "A 2-D X is read as item ids, which", place)
    offsets = np.arange(n_users + 1, dtype=np.int64) * width
    keep = flat >= 0
    if not keep.all():
        flat, offsets = flat[keep], kept_offsets(offsets, keep)
    return Histories._from_events(flat, offsets, None, None, None)


def _from_list_columns(frame: Any) -> Histories:
    lists = _list_columns(frame)
    if "items" not in lists:
        if lists:
            raise ValueError(
                f"A DataFrame of list columns needs one named 'items', got {lists}. Rename it, or "
                "pass the one column as a Series."
            )
        others = _other_columns(frame)
        if others or looks_like_a_log(frame.columns):
            held = (
                f", where {others[0]!r} holds {_first_cell(frame[others[0]])!r}" if others else ""
            )
            raise ValueError(
                f"X looks like a long log (columns {list(frame.columns)}{held}), one row an "
                "interaction. Turn it into one row a user first: "
                "Histories.from_frame(frame, user=..., item=..., time=...)."
            )
        return from_matrix(frame.to_numpy())
    unknown = sorted(set(map(str, frame.columns)) - {"items", "timestamps", "weights"})
    if unknown:
        raise ValueError(
            f"A DataFrame of histories has the columns 'items', 'timestamps' and 'weights', got "
            f"also {unknown}. Select columns with a ColumnTransformer."
        )
    columns = {
        name: [_as_row(value) for value in frame[name].to_list()]
        for name in ("items", "timestamps", "weights")
        if name in frame.columns
    }
    return Histories.from_lists(
        columns["items"], timestamps=columns.get("timestamps"), weights=columns.get("weights")
    )


def _list_columns(frame: Any) -> list[str]:
    return [str(name) for name in frame.columns if _holds_lists(frame[name])]


def _other_columns(frame: Any) -> list[str]:
    """Return the columns of text and of dates."""
    return [name for name in frame.columns if _holds_text_or_dates(frame[name])]


def _holds_lists(column: Any) -> bool:
    first = _first_cell(column)
    return not isinstance(first, (str, bytes)) and hasattr(first, "__len__")


def _holds_text_or_dates(column: Any) -> bool:
    first = _first_cell(column)
    return isinstance(first, (str, bytes)) or hasattr(first, "year")


def _first_cell(column: Any) -> Any:
    """Return the first cell that is not missing, None without one."""
    if getattr(column, "ndim", 1) != 1:  # Two columns of one name.
        return None
    return next((cell for cell in column if cell is not None and not _is_nan(cell)), None)


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, float) and cell != cell


def _as_row(value: Any) -> Any:
    # Series of lists read from Parquet hold arrays, and polars cells are Series.
    return value.to_list() if is_series(value) else value
