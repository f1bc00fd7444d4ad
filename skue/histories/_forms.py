"""What X may be: every accepted form of histories, and how an estimator reads and labels it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import validate_data

from skue._estimator import import_optional, warn_caller
from skue.histories._alignment import user_ids_of_index
from skue.histories._columns import flatten, ids_of_table, item_ids_of
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.reading._column_names import (
    guess_column,
    looks_like_a_log,
    may_be_weight,
    sounds_like_time,
)
from skue.reading._ids import unmasked

_LIST_COLUMNS = ("items", "timestamps", "weights", "user_features")
_NUMBERED = re.compile(r".*[0-9]+")
# The smallest 2-D array that may be taken for a table of counts.
_FEWEST_ROWS, _FEWEST_COLUMNS = 3, 3
# In shorter histories, the order of events hardly matters.
_FEW_EVENTS = 3


def as_histories(X: Any) -> Histories:
    """Return histories from any accepted form of X.

    Parameters
    ----------
    X : Histories, list of lists, 1-D object array, Series of lists, 2-D array, or DataFrame
        A DataFrame (of pandas, polars or Arrow) has list columns: see Notes. A 2-D array contains
        item ids; negative numbers are padding. A scipy sparse array has one row per user and one
        column per item; see :meth:`Histories.from_matrix`. The index of a pandas object becomes
        ``user_ids`` if it has a name or holds text.

    Returns
    -------
    histories : Histories

    Raises
    ------
    ValueError
        For a long log, a flat list, fractional ids, a dense table of counts, and any other X that
        is not a batch of histories.

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
    X = collected(X)
    if isinstance(X, Histories):
        return X
    if is_matrix(X):
        return _of_matrix(X if sp.issparse(X) else np.asarray(X), X)
    if is_frame(X):
        return _with_index(_of_list_columns(X), X)
    if is_series(X):
        return _with_index(_of_lists([_as_row(value) for value in X.to_list()], vocabulary), X)
    if isinstance(X, np.ndarray) and X.ndim != 1:
        raise ValueError(f"X must contain one history per user, got an array of shape {X.shape}.")
    if isinstance(X, np.ndarray) and X.dtype.kind != "O":
        raise ValueError(
            f"Expected 2D array, got 1D array instead: X has shape {X.shape} and dtype {X.dtype}. "
            "Reshape your data with X.reshape(1, -1) if it is one user's history."
        )
    if not hasattr(X, "__len__") or isinstance(X, (str, bytes, dict)):
        raise ValueError(
            f"X must be Histories, a list of lists, a Series of lists, a 2-D array of item ids, a "
            f"sparse array of users × items or a DataFrame of list columns, got "
            f"{type(X).__name__}."
        )
    return _of_lists(X, vocabulary)


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
    X = collected(X)
    if is_matrix(X):
        _refuse_text(X)
        checked = validate_data(estimator, X, reset=reset, dtype="numeric", accept_sparse="csr")
        histories = _of_matrix(checked, X)
    else:
        histories = read_histories(X, vocabulary)
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(estimator, name):
                    delattr(estimator, name)
    if not len(histories):
        raise ValueError(
            "Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required: "
            "X holds no user."
        )
    uses_order = getattr(estimator, "_uses_order", True)
    if uses_order and not histories._is_ordered and histories.lengths.max() > _FEW_EVENTS:
        warn_caller(
            "X is a table of users × items, which does not say what came first, but "
            f"{type(estimator).__name__} uses the order of events, and takes that of the columns. "
            "Build the histories from a log with times, or use what does not depend on the order: "
            "given item_embeddings and an average with decay=0."
        )
        # An estimator inside of this one does not warn again.
        histories = histories._replace(_is_ordered=True)
    return histories._with_used_items() if reset else histories


def columns_used(histories: Histories, *, times: bool, weights: bool) -> tuple[str, ...]:
    """Return the columns of a log that ``fit`` used, for the attribute ``_needs``.

    Parameters
    ----------
    histories : Histories
    times : bool
        Whether the estimator uses timestamps that it is given.
    weights : bool
        Whether it uses weights that it is given. Weights that are all 1 are not used.
    """
    used = []
    if times and histories.timestamps is not None:
        used.append("timestamps")
    if weights and histories.weights is not None and (histories.weights != 1).any():
        used.append("weights")
    return tuple(used)


def check_columns(estimator: Any, histories: Histories) -> None:
    """Raise if histories lack a column that ``fit`` used."""
    missing = [name for name in estimator._needs if getattr(histories, name) is None]
    if missing and len(histories.codes):
        name = type(estimator).__name__
        raise ValueError(
            f"X has no {' and no '.join(missing)}, but {name} was fitted with them, so it would "
            f"give other results. Pass Histories or a frame with {' and '.join(missing)}, or fit "
            f"{name} on histories that have none."
        )


def indexed_by_user(estimator: Any, vectors: np.ndarray, X: Any) -> Any:
    """Return a DataFrame indexed by ``user_ids`` if pandas output is set and X has user ids."""
    has_users = isinstance(X, Histories) and X.user_ids is not None
    if not has_users or dense_output(estimator) != "pandas":
        return vectors
    pandas = import_optional("pandas", "io")
    return pandas.DataFrame(vectors, index=pandas.Index(X.user_ids, dtype=X.user_ids.dtype))


def dense_output(estimator: Any) -> str:
    """Return the container that ``set_output`` or the global configuration asks for."""
    return _get_output_config("transform", estimator)["dense"]


def collected(X: Any) -> Any:
    """Return lazy frames computed, Arrow tables as DataFrames, and array-likes as arrays."""
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):  # polars
        X = X.collect()
    if hasattr(X, "columns") and hasattr(X, "compute"):  # dask
        X = X.compute()
    if hasattr(X, "__arrow_c_stream__") and not hasattr(X, "to_numpy"):
        return import_optional("pyarrow", "io").table(X).to_pandas()
    X = np.asarray(X) if hasattr(X, "__array__") and not hasattr(X, "shape") else X
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "O" and X.shape[1] == 1:
        return X[:, 0] if len(X) and _is_list(X[0, 0]) else X  # one list column of a frame
    return unmasked(X)


def is_frame(X: Any) -> bool:
    """Tell whether X is a DataFrame (pandas or polars)."""
    return hasattr(X, "columns") and hasattr(X, "shape") and len(X.shape) == 2


def is_series(X: Any) -> bool:
    """Tell whether X is a Series (pandas or polars)."""
    return hasattr(X, "to_list") and hasattr(X, "dtype") and getattr(X, "ndim", 1) == 1


def is_matrix(X: Any) -> bool:
    """Tell whether X is a scipy sparse array, or read as a 2-D array of item ids.

    This includes a DataFrame whose columns are all numeric and have no names but numbers.
    """
    if isinstance(X, (Histories, list, tuple)) or len(getattr(X, "shape", ())) != 2:
        return False
    if not is_frame(X):
        return True
    names = list(X.columns)
    if not all(_NUMBERED.fullmatch(str(name)) for name in names) or looks_like_a_log(names):
        return False
    return not (_list_columns(X) or _other_columns(X))


def _of_lists(lists: Any, vocabulary: Vocabulary | None) -> Histories:
    flat, offsets = flatten(lists, "histories")
    codes = None if vocabulary is None else vocabulary._known_positions(flat)
    if codes is not None:
        return Histories._trusted(codes, offsets, vocabulary)
    return Histories._of_events(item_ids_of(flat, offsets), offsets, vocabulary=vocabulary)


def _of_matrix(matrix: Any, X: Any) -> Histories:
    """Read a sparse array as users × items, and the rows of another one as item ids."""
    if sp.issparse(matrix):
        return Histories.from_matrix(X if is_frame(X) else matrix)
    _refuse_text(matrix)
    if matrix.dtype.kind not in "iuf":
        raise ValueError(f"A 2-D X must contain integers (item ids), got dtype {matrix.dtype}.")
    _refuse_counts(matrix)
    ids, offsets = ids_of_table(matrix, "A 2-D X is read as item ids, which")
    return _with_index(Histories._of_events(ids, offsets), X)


def _refuse_text(matrix: Any) -> None:
    if not isinstance(matrix, np.ndarray) or not matrix.size:
        return
    if matrix.dtype.kind in "UT" or isinstance(matrix.flat[0], str):
        raise ValueError(
            f"A 2-D X must contain integers (item ids), got dtype {matrix.dtype} with text. "
            "Pass lists of strings instead: X.tolist()."
        )


def _refuse_counts(matrix: np.ndarray) -> None:
    """Raise for a dense table of users × items: most of its entries are 0, or all alike 1."""
    if matrix.shape[0] < _FEWEST_ROWS or matrix.shape[1] < _FEWEST_COLUMNS:
        return
    # Two ids alone may be drawn at random, which gives half of each, give or take some.
    most = 0.5 if matrix.max() > 1 else 0.5 + matrix.size**-0.5
    n_ids = int(np.count_nonzero(matrix >= 0))
    for value in (0, 1):
        share = np.count_nonzero(matrix == value) / max(n_ids, 1)
        if share > most:
            raise ValueError(
                "A 2-D X is read as item ids, one history per row, but most of its entries are "
                f"{value}. If it is a table of users × items, pass Histories.from_matrix(X) or a "
                "scipy sparse array. If zeros are padding, write -1 in their place, or pass a "
                "list with one history per user."
            )


def _with_index(histories: Histories, X: Any) -> Histories:
    """Take the index of a pandas object as user ids, if it has a name or holds text."""
    ids = user_ids_of_index(X)
    return histories if ids is None else histories._replace(user_ids=ids)


def _of_list_columns(frame: Any) -> Histories:
    if not len(frame):
        return Histories.from_lists([])
    lists = _list_columns(frame)
    others = [str(name) for name in frame.columns if name not in lists]
    if not lists:
        held = _other_columns(frame)
        example = f", where {held[0]!r} holds {_first_cell(frame[held[0]])!r}" if held else ""
        raise ValueError(
            f"X looks like a long log with one row per interaction (columns "
            f"{list(frame.columns)}{example}). Convert it to histories first: "
            "Histories.from_frame(frame, user=..., item=..., time=...). If it is a table of users "
            "× items, use Histories.from_matrix(frame); if its rows are item ids, pass "
            "frame.to_numpy()."
        )
    if others:
        raise ValueError(
            f"A DataFrame of histories may have only list columns, but it also has {others}. "
            "Select columns with a ColumnTransformer."
        )
    columns = {
        role: [_as_row(value) for value in frame[name].to_list()]
        for role, name in _roles_of_lists(frame).items()
    }
    histories = Histories.from_lists(
        columns["items"], timestamps=columns.get("timestamps"), weights=columns.get("weights")
    )
    features = columns.get("user_features")
    return histories if features is None else histories.with_user_features(features)


def _roles_of_lists(frame: Any) -> dict[str, Any]:
    """Return which list column holds what, by the rule of :func:`as_histories`."""
    names = list(frame.columns)
    if len(names) == 1:
        return {"items": names[0]}
    roles = {name: name for name in _LIST_COLUMNS if name in names}
    left = [name for name in names if name not in roles]
    moments = [name for name in left if _says_time(name) or _holds_dates(frame[name])]
    if "timestamps" not in roles and len(moments) == 1:
        roles["timestamps"] = moments[0]
        left.remove(moments[0])
    if "items" not in roles and len(left) == 1 and not may_be_weight(left[0]):
        roles["items"] = left.pop()
    of_events = [name for name in names if name != "user_features"]
    if of_events and not any(_first_list(frame[name]) for name in of_events):
        return {"items": of_events[0], **roles}  # nobody has an event, so any column will do
    if left or "items" not in roles:
        unclear = f"it is not clear what {' and '.join(map(repr, left))} hold"
        raise ValueError(
            f"X has the list columns {names}, but {unclear if left else 'none holds the items'}. "
            "Rename them to 'items', 'timestamps', 'weights' and 'user_features', leave out the "
            "others, or use Histories.from_lists."
        )
    return roles


def _list_columns(frame: Any) -> list[Any]:
    return [name for name in frame.columns if _is_list(_first_cell(frame[name]))]


def _other_columns(frame: Any) -> list[str]:
    """Return the columns that hold text or dates."""
    cells = {name: _first_cell(frame[name]) for name in frame.columns}
    return [
        n for n, cell in cells.items() if isinstance(cell, (str, bytes)) or hasattr(cell, "year")
    ]


def _is_list(cell: Any) -> bool:
    return not isinstance(cell, (str, bytes)) and hasattr(cell, "__len__")


def _says_time(name: Any) -> bool:
    names = (name, str(name).removesuffix("s"))  # timestamps
    return any(map(sounds_like_time, names)) or guess_column(names, "time") is not None


def _holds_dates(column: Any) -> bool:
    first = next(iter(_first_list(column)), None)
    return hasattr(first, "year") or isinstance(first, np.datetime64)


def _first_list(column: Any) -> list[Any]:
    """Return the first cell that is a list with elements, or an empty list."""
    cells = (list(cell) for cell in column if _is_list(cell) and len(cell))
    return next(cells, [])


def _first_cell(column: Any) -> Any:
    """Return the first cell that is not missing, or None."""
    return next(
        (
            cell
            for cell in column
            if cell is not None and not (isinstance(cell, float) and cell != cell)
        ),
        None,
    )


def _as_row(value: Any) -> Any:
    # A cell of a polars column is a Series.
    return value.to_list() if is_series(value) else value
