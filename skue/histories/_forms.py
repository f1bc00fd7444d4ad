"""What X may be: every accepted form of histories, and how an estimator reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from skue.histories._columns import flatten, ids_of_table, item_ids_of
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.reading._column_names import looks_like_a_log

_LIST_COLUMNS = ("items", "timestamps", "weights", "user_features")


def as_histories(X: Any) -> Histories:
    """Return histories from any accepted form of X.

    Parameters
    ----------
    X : Histories, list of lists, 1-D object array, Series of lists, 2-D array, or DataFrame
        A DataFrame has a list column ``items`` and, optionally, list columns ``timestamps``,
        ``weights`` and ``user_features`` (see :meth:`Histories.with_user_features`). A 2-D array
        contains item ids; negative numbers are padding.

    Returns
    -------
    histories : Histories

    Raises
    ------
    ValueError
        For a long log, a flat list, fractional ids and any other X that is not a batch of
        histories.

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

    A vocabulary that knows all of the items becomes that of the histories, which saves a second
    look-up.
    """
    X = unwrapped(X)
    if isinstance(X, Histories):
        return X
    if is_frame(X):
        return _from_list_columns(X)
    if is_series(X):
        rows = [_as_row(value) for value in X.to_list()]
        return _from_lists(rows, vocabulary)
    if is_matrix(X):
        return from_matrix(np.asarray(X))
    if isinstance(X, np.ndarray) and X.ndim != 1:
        raise ValueError(f"X must contain one history per user, got an array of shape {X.shape}.")
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
    return _from_lists(X, vocabulary)


def _from_lists(lists: Any, vocabulary: Vocabulary | None) -> Histories:
    flat, offsets = flatten(lists, "histories")
    codes = None if vocabulary is None else vocabulary._known_positions(flat)
    if codes is not None:
        return Histories._trusted(codes, offsets, vocabulary)
    return Histories._of_events(item_ids_of(flat, offsets), offsets, vocabulary=vocabulary)


def unwrapped(X: Any) -> Any:
    """Convert objects that have ``__array__`` but no shape to an array."""
    return np.asarray(X) if hasattr(X, "__array__") and not hasattr(X, "shape") else X


def is_frame(X: Any) -> bool:
    """Tell whether X is a DataFrame (pandas or polars)."""
    return hasattr(X, "columns") and hasattr(X, "shape") and len(X.shape) == 2


def is_series(X: Any) -> bool:
    """Tell whether X is a Series (pandas or polars)."""
    return hasattr(X, "to_list") and hasattr(X, "dtype") and getattr(X, "ndim", 1) == 1


def is_matrix(X: Any) -> bool:
    """Tell whether X is read as a 2-D array of item ids.

    This includes a DataFrame whose columns are all numeric, unless it looks like a long log.
    """
    if is_frame(X):
        return not looks_like_a_log(X.columns) and not (_list_columns(X) or _other_columns(X))
    return not isinstance(X, (Histories, list, tuple)) and len(getattr(X, "shape", ())) == 2


def from_matrix(matrix: np.ndarray) -> Histories:
    """Read each row as a history; negative numbers are padding."""
    _refuse_text(matrix)
    if matrix.dtype.kind not in "iuf":
        raise ValueError(f"A 2-D X must contain integers (item ids), got dtype {matrix.dtype}.")
    return Histories._of_events(*ids_of_table(matrix, "A 2-D X is read as item ids, which"))


def _refuse_text(matrix: Any) -> None:
    if not isinstance(matrix, np.ndarray) or not matrix.size:
        return
    if matrix.dtype.kind in "UT" or isinstance(matrix.flat[0], str):
        raise ValueError(
            f"A 2-D X must contain integers (item ids), got dtype {matrix.dtype} with text. "
            "Pass lists of strings instead: X.tolist()."
        )


def validate_histories(
    estimator: Any, X: Any, *, reset: bool, vocabulary: Vocabulary | None = None
) -> Histories:
    """Return X as histories. The width of a 2-D array is stored, or checked after ``fit``.

    In ``fit``, the vocabulary is that of the items with an event, sorted, so that a slice of a log
    is learned from like the same histories as lists.

    Parameters
    ----------
    estimator : estimator
    X : any accepted form
    reset : bool
        True in ``fit``, False afterwards.
    vocabulary : Vocabulary, default=None
        The item ids of a fitted estimator.
    """
    X = unwrapped(X)
    if isinstance(X, Histories) or not is_matrix(X):
        histories = read_histories(X, vocabulary)
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(estimator, name):
                    delattr(estimator, name)
    else:
        _refuse_text(X)
        histories = from_matrix(validate_data(estimator, X, reset=reset, dtype="numeric"))
    if not len(histories):
        raise ValueError(
            "Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required: "
            "X holds no user."
        )
    return histories._with_used_items() if reset else histories


def _from_list_columns(frame: Any) -> Histories:
    lists = _list_columns(frame)
    if "items" not in lists:
        if lists:
            raise ValueError(
                f"A DataFrame of list columns needs one named 'items', got {lists}. Rename the "
                "column, or pass it alone as a Series."
            )
        others = _other_columns(frame)
        if others or looks_like_a_log(frame.columns):
            held = (
                f", where {others[0]!r} holds {_first_cell(frame[others[0]])!r}" if others else ""
            )
            raise ValueError(
                f"X looks like a long log with one row per interaction (columns "
                f"{list(frame.columns)}{held}). Convert it to histories first: "
                "Histories.from_frame(frame, user=..., item=..., time=...)."
            )
        return from_matrix(frame.to_numpy())
    unknown = sorted(set(map(str, frame.columns)) - set(_LIST_COLUMNS))
    if unknown:
        raise ValueError(
            f"A DataFrame of histories may have only the columns {', '.join(_LIST_COLUMNS)}, but "
            f"it also has {unknown}. Select columns with a ColumnTransformer."
        )
    columns = {
        name: [_as_row(value) for value in frame[name].to_list()]
        for name in _LIST_COLUMNS
        if name in frame.columns
    }
    histories = Histories.from_lists(
        columns["items"], timestamps=columns.get("timestamps"), weights=columns.get("weights")
    )
    features = columns.get("user_features")
    return histories if features is None else histories.with_user_features(features)


def _list_columns(frame: Any) -> list[str]:
    return [str(name) for name in frame.columns if _holds_lists(frame[name])]


def _other_columns(frame: Any) -> list[str]:
    """Return the columns that hold text or dates."""
    return [name for name in frame.columns if _holds_text_or_dates(frame[name])]


def _holds_lists(column: Any) -> bool:
    first = _first_cell(column)
    return not isinstance(first, (str, bytes)) and hasattr(first, "__len__")


def _holds_text_or_dates(column: Any) -> bool:
    first = _first_cell(column)
    return isinstance(first, (str, bytes)) or hasattr(first, "year")


def _first_cell(column: Any) -> Any:
    """Return the first cell that is not missing, or None."""
    if getattr(column, "ndim", 1) != 1:  # Two columns have this name.
        return None
    return next((cell for cell in column if cell is not None and not _is_nan(cell)), None)


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, float) and cell != cell


def _as_row(value: Any) -> Any:
    # A cell of a polars column is a Series.
    return value.to_list() if is_series(value) else value
