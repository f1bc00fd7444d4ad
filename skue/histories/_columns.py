"""The columns of a batch of histories, built from given columns, lists, events or a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np
import scipy.sparse as sp

from skue._estimator import import_optional, warn_caller
from skue.histories._vocabulary import Vocabulary
from skue.kernels._arrays import frozen, offsets_of, order_by_user, owners, read_only
from skue.reading._columns import Log, in_microseconds, of_one_kind, refuse_missing, times_of
from skue.reading._frames import times_of_list
from skue.reading._ids import as_ids, factorize, is_text, refuse_as_items, shown
from skue.reading._labels import Label, row_of_frame
from skue.reading._numbers import numbers_of

# Events checked at once, which bounds the memory of the checks.
_STRETCH = 2**22


def flatten(lists: Any, name: str) -> tuple[Any, np.ndarray]:
    """Concatenate sequences to a flat list or array, and return it with the offsets."""
    rows = lists.tolist() if isinstance(lists, np.ndarray) else list(lists)
    for index, row in enumerate(rows):
        if isinstance(row, str) or not isinstance(row, (Sequence, np.ndarray)):
            raise ValueError(
                f"{name} must be one sequence per user, got {row!r} at row {index}. "
                "Wrap a single user as [[...]], and write a user without events as []."
            )
    offsets = offsets_of(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)))
    arrays = [row for row in rows if isinstance(row, np.ndarray)]
    if not rows or len(arrays) < len(rows):
        return list(chain.from_iterable(rows)), offsets
    # Joining arrays of different types, or of fixed-width text, would change the values.
    types = {row.dtype for row in arrays if row.size}
    joinable = len(types) <= 1 and all(kind.kind in "biufM" for kind in types)
    if not joinable or any(row.ndim != 1 for row in arrays):
        return list(chain.from_iterable(map(_listed, rows))), offsets
    return np.concatenate([row for row in arrays if row.size] or arrays[:1]), offsets


def _listed(row: np.ndarray) -> Any:
    return row if row.dtype.kind == "M" else row.tolist()


def flatten_like(lists: Any, offsets: np.ndarray, name: str) -> Any:
    """Concatenate sequences that must have the lengths of the histories."""
    flat, own = flatten(lists, name)
    if len(own) != len(offsets):
        raise ValueError(
            f"{name} have {len(own) - 1} users, but histories have {len(offsets) - 1}."
        )
    if not np.array_equal(own, offsets):
        row = int(np.flatnonzero(np.diff(own) != np.diff(offsets))[0])
        raise ValueError(
            f"{name} and histories must have the same lengths, got {np.diff(own)[row]} {name} "
            f"for {np.diff(offsets)[row]} items at row {row}. Give one per item."
        )
    return flat


def place_in_lists(offsets: np.ndarray) -> Callable[[int], str]:
    """Return a function that describes a position of flattened lists by row and event."""

    def place(at: int) -> str:
        row = int(np.searchsorted(offsets, at, side="right")) - 1
        return f"row {row}, event {at - offsets[row]}"

    return place


def as_times(values: Any, name: str = "timestamps") -> np.ndarray:
    """Return datetimes as datetime64[us] in UTC, and numbers as float64 seconds.

    The result may share memory with ``values``.

    Raises
    ------
    ValueError
        For times that are missing, infinite, text, or of several types.
    """
    label = Label(f"the {name.removesuffix('s')}", row_of_frame)
    times: Any = np.atleast_1d(np.asarray(values))
    if times.dtype.kind == "O" and times.size:
        refuse_missing(times, label)
        times = of_one_kind(times, label)
    if isinstance(times, list) or times.dtype.kind in "UT":
        raise ValueError(
            f"{name} must be datetimes or numbers of seconds, got text. Convert it first, for "
            "example with pandas.to_datetime."
        )
    if times.dtype.kind not in "iufM":
        return times_of(times, label)
    missing: Callable[[np.ndarray], np.ndarray] = np.isnat
    if times.dtype.kind in "iuf":
        times, missing = times.astype(np.float64, copy=False), _is_not_finite
    row = _first(missing, times)
    if row is not None:
        raise ValueError(
            f"{name} must not be missing or infinite, got {times[row]} at row {row}. "
            "Drop this event, or give it a time."
        )
    return in_microseconds(times, label) if times.dtype.kind == "M" else times


def refuse_other_kind(times: np.ndarray, expected: np.ndarray, name: str, others: str) -> None:
    """Raise for datetimes where numbers are expected, or the other way round."""
    if times.dtype != expected.dtype:
        kinds = {"M": "datetimes", "f": "numbers"}
        raise ValueError(
            f"{name} must be {kinds[expected.dtype.kind]}, as {others} are, got "
            f"{kinds[times.dtype.kind]}: {times[:5].tolist()}."
        )


def _first(marks: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> int | None:
    """Return the first marked position, or None."""
    for start in range(0, len(values), _STRETCH):
        marked = marks(values[start : start + _STRETCH])
        if marked.any():
            return start + int(np.flatnonzero(marked)[0])
    return None


def _is_not_finite(values: np.ndarray) -> np.ndarray:
    return ~np.isfinite(values)


def as_weights(
    values: Any, name: str = "weights", place: Callable[[int], str] = row_of_frame
) -> np.ndarray:
    """Return finite weights as float64. The result may share memory with ``values``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers.") from None
    row = _first(_is_not_finite, array)
    if row is not None:
        raise ValueError(
            f"{name} must be finite, got {array[row]} at {place(row)}. "
            "Drop this event, or give it a weight."
        )
    return array


def checked_offsets(offsets: Any) -> np.ndarray:
    offsets = np.asarray(offsets)
    if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu":
        raise ValueError(
            f"offsets must be n_users + 1 integers, got {offsets.dtype} of shape {offsets.shape}."
        )
    offsets = offsets.astype(np.int64)
    if offsets[0] != 0:
        raise ValueError(f"offsets must start at 0, got {offsets[0]}.")
    falls = np.flatnonzero(np.diff(offsets) < 0)
    if len(falls):
        at = int(falls[0])
        raise ValueError(
            f"offsets must not decrease, got {offsets[at]} then {offsets[at + 1]} at user {at}. "
            "Histories.from_lists and from_frame compute them."
        )
    return offsets


def checked_codes(codes: Any, n_items: int) -> np.ndarray:
    codes = np.asarray(codes)
    if codes.ndim != 1 or (codes.dtype.kind not in "iu" and codes.size):
        raise ValueError(f"codes must be flat integers, got {codes.dtype}, shape {codes.shape}.")
    if len(codes) and (codes.min() < 0 or codes.max() >= n_items):
        row = int(np.flatnonzero((codes < 0) | (codes >= n_items))[0])
        raise ValueError(
            f"codes must be positions in item_ids (0 to {n_items - 1}), got {codes[row]} at "
            f"event {row}."
        )
    return codes.astype(np.int32, copy=False)


def same_length(name: str, values: np.ndarray, other: str, others: np.ndarray) -> None:
    if values.ndim != 1 or len(values) != len(others):
        raise ValueError(
            f"{name} must have one value for each of {len(others)} {other}, got shape "
            f"{values.shape}."
        )


def first_decrease(timestamps: np.ndarray, offsets: np.ndarray) -> int | None:
    """Return the first event that is earlier than the one before it of the same user."""
    for start in range(1, len(timestamps), _STRETCH):
        stop = min(start + _STRETCH, len(timestamps))
        falls = np.flatnonzero(timestamps[start:stop] < timestamps[start - 1 : stop - 1]) + start
        inside = falls[~np.isin(falls, offsets)] if len(falls) else falls
        if len(inside):
            return int(inside[0])
    return None


def refuse_decreasing(timestamps: np.ndarray, offsets: np.ndarray) -> None:
    event = first_decrease(timestamps, offsets)
    if event is not None:
        user = int(np.searchsorted(offsets, event, side="right")) - 1
        raise ValueError(
            f"timestamps must not decrease within a user, got {timestamps[event - 1]} then "
            f"{timestamps[event]} at user {user}. Histories.from_lists sorts them."
        )


class HasUserFeatures:
    """The method that adds user features to histories."""

    user_ids: np.ndarray | None
    user_features: np.ndarray | None = None

    def with_user_features(self, features: Any) -> Self:
        """Return the histories with numbers known of each user.

        :class:`TwoTowerUserEncoder` learns from them, and gives users without events a vector of
        their own. The other encoders ignore them.

        Parameters
        ----------
        features : array-like, scipy sparse array or DataFrame of shape (n_users, n_features)
            For example the output of a ``ColumnTransformer``. The rows of an array are in the
            order of the histories. A DataFrame is matched by its index if the histories have
            ``user_ids``, and may have further users. A row of NaN means that nothing is known of
            the user. Sparse rows become dense: reduce many columns first.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            If lengths differ, values are not numbers, or a row is only partly known.

        Warns
        -----
        UserWarning
            If a DataFrame lacks some of the users. Nothing is then known of them.

        Examples
        --------
        >>> import pandas as pd
        >>> from skue import Histories
        >>> histories = Histories.from_lists([["tea"], []], user_ids=["ann", "bob"])
        >>> people = pd.DataFrame({"age": [30, 50], "is_new": [1, 0]}, index=["bob", "ann"])
        >>> histories.with_user_features(people).user_features
        array([[50.,  0.],
               [30.,  1.]], dtype=float32)
        """
        if hasattr(features, "columns") and hasattr(features, "index"):
            rows = checked_user_features(features, len(features))
            if self.user_ids is not None:
                rows = _of_users(rows, features.index, self.user_ids)
        else:
            rows = features
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.user_features = read_only(checked_user_features(rows, len(self)))  # type: ignore
        return copy


def checked_user_features(values: Any, n_users: int) -> np.ndarray:
    """Return the features as float32 rows, or raise."""
    values = numbers_of(values, "user_features")
    if sp.issparse(values):
        values = values.toarray()
    with np.errstate(over="ignore"):
        rows = np.array(values, dtype=np.float32)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(
            f"user_features must have the shape (n_users, n_features), got {rows.shape}. "
            "Write a single feature as a column: features.reshape(-1, 1)."
        )
    if len(rows) != n_users:
        raise ValueError(
            f"user_features must have one row per user, got {len(rows)} rows for {n_users} users."
        )
    missing = np.isnan(rows)
    unsound = np.isinf(rows).any(axis=1) | (missing.any(axis=1) & ~missing.all(axis=1))
    if unsound.any():
        row = int(unsound.argmax())
        raise ValueError(
            f"user_features must be finite, got {rows[row].tolist()} in row {row}. Fill in single "
            "missing values, for example with SimpleImputer, or set the whole row to NaN if "
            "nothing is known of the user."
        )
    return rows


def features_in_order(features: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Return the features of these rows; nothing is known of row -1."""
    if features is None:
        return None
    found = features[np.maximum(rows, 0)].copy()
    found[rows < 0] = np.nan
    return found


def _of_users(rows: np.ndarray, index: Any, user_ids: np.ndarray) -> np.ndarray:
    """Return the rows of a frame in the order of the users."""
    ids = as_ids(index.to_numpy(), "the index of user features")
    if len(ids) and len(user_ids) and is_text(ids) != is_text(user_ids):
        raise ValueError(
            f"The index of user features must hold user ids such as {shown(user_ids[0])}, got "
            f"{shown(ids[0])}. Set it with frame.set_index(...), or pass frame.to_numpy() if the "
            "rows are in the order of the histories."
        )
    places = Vocabulary(ids, "the index of user features").lookup(user_ids)
    n_lacking = int((places < 0).sum())
    if n_lacking == len(user_ids) > 0:
        raise ValueError(
            f"The index of user features has none of the {len(user_ids)} users, such as "
            f"{shown(user_ids[0])}. Set it with frame.set_index(...), or pass frame.to_numpy() if "
            "the rows are in the order of the histories."
        )
    if n_lacking:
        warn_caller(
            f"{n_lacking} of the {len(user_ids)} users have no row of features, such as "
            f"{shown(user_ids[int((places < 0).argmax())])}. Nothing is known of them."
        )
    found = features_in_order(rows, places)
    assert found is not None
    return found


if TYPE_CHECKING:
    import pandas

Column = TypeVar("Column")


class Columns(NamedTuple):
    """The columns of :class:`skue.Histories`, valid and in order."""

    codes: np.ndarray
    offsets: np.ndarray
    vocabulary: Vocabulary
    timestamps: np.ndarray | None = None
    weights: np.ndarray | None = None
    user_ids: np.ndarray | None = None
    user_features: np.ndarray | None = None


def optional(function: Callable[[Any], Column], column: Any) -> Column | None:
    """Apply a function to a column that a batch may lack."""
    return None if column is None else function(column)


def checked_columns(
    codes: Any,
    offsets: Any,
    item_ids: Any,
    timestamps: Any,
    weights: Any,
    user_ids: Any,
    user_features: Any,
) -> Columns:
    """Check the columns that callers pass to :class:`skue.Histories`, and copy them."""
    vocabulary = Vocabulary(item_ids, "item_ids")
    refuse_as_items(vocabulary.ids, "item_ids")
    offsets = checked_offsets(offsets)
    codes = frozen(checked_codes(codes, len(vocabulary)))
    if offsets[-1] != len(codes):
        raise ValueError(f"offsets end at {offsets[-1]}, but there are {len(codes)} codes.")
    timestamps = optional(lambda given: frozen(as_times(given)), timestamps)
    if timestamps is not None:
        same_length("timestamps", timestamps, "codes", codes)
        refuse_decreasing(timestamps, offsets)
    weights = optional(lambda given: frozen(as_weights(given)), weights)
    if weights is not None:
        same_length("weights", weights, "codes", codes)
    user_ids = _checked_user_ids(user_ids, "users", offsets)
    if user_features is not None:
        user_features = checked_user_features(user_features, len(offsets) - 1)
    return Columns(codes, offsets, vocabulary, timestamps, weights, user_ids, user_features)


def columns_of_lists(
    lists: Any,
    timestamps: Any = None,
    weights: Any = None,
    user_ids: Any = None,
    *,
    time_unit: str | None = None,
    dayfirst: bool | None = None,
    vocabulary: Vocabulary | None = None,
) -> Columns:
    """Build from one sequence of item ids a user; see :meth:`skue.Histories.from_lists`.

    A vocabulary that knows all of the items becomes that of the batch.
    """
    flat, offsets = flatten(lists, "histories")
    if vocabulary is not None and timestamps is weights is user_ids is None:
        codes = vocabulary._known_positions(flat)
        if codes is not None:
            return Columns(codes, offsets, vocabulary)
    place = place_in_lists(offsets)
    ids = as_ids(flat, "item ids", place)
    refuse_as_items(ids, "item ids", place)
    if timestamps is not None:
        timestamps = times_of_list(
            flatten_like(timestamps, offsets, "timestamps"),
            Label("the timestamp", place),
            time_unit=time_unit,
            dayfirst=dayfirst,
        )
    if weights is not None:
        weights = as_weights(flatten_like(weights, offsets, "weights"), "weights", place)
    user_ids = _checked_user_ids(user_ids, "histories", offsets)
    return columns_of_events(ids, offsets, timestamps, weights, user_ids, vocabulary)


def _checked_user_ids(user_ids: Any, users: str, offsets: np.ndarray) -> np.ndarray | None:
    if user_ids is not None:
        user_ids = frozen(as_ids(user_ids, "user_ids"))
        same_length("user_ids", user_ids, users, offsets[1:])
    return user_ids


def columns_of_events(
    ids: np.ndarray,
    offsets: np.ndarray,
    timestamps: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    user_ids: np.ndarray | None = None,
    vocabulary: Vocabulary | None = None,
) -> Columns:
    """Build from a flat array of item ids, and sort each user's events by time.

    A vocabulary that knows all of the items becomes that of the batch.
    """
    codes = None if vocabulary is None or not len(ids) else vocabulary.lookup(ids)
    if vocabulary is None or codes is None or codes.min() < 0:
        codes, item_ids = factorize(ids)
        vocabulary = Vocabulary._trusted(item_ids)
    if timestamps is not None and first_decrease(timestamps, offsets) is not None:
        order = np.lexsort((timestamps, owners(offsets)))
        codes, timestamps = codes[order], timestamps[order]
        weights = optional(lambda column: column[order], weights)
    return Columns(codes, offsets, vocabulary, timestamps, weights, user_ids)


def columns_of_log(log: Log) -> Columns:
    """Build from a log: sort it by user, then time. No column is the caller's own array."""
    codes, item_ids = log.items
    owner, user_ids = log.users
    order = order_by_user(owner, len(user_ids), log.timestamps)
    if order is not None:
        codes, owner = codes[order], owner[order]

    def ordered(column: np.ndarray) -> np.ndarray:
        return frozen(column) if order is None else column[order]

    return Columns(
        codes,
        offsets_of(np.bincount(owner, minlength=len(user_ids))),
        Vocabulary._trusted(item_ids),
        optional(ordered, log.timestamps),
        optional(ordered, log.weights),
        user_ids,
    )


def frame_of(histories: Any) -> pandas.DataFrame:
    """Return a batch as a frame; see :meth:`skue.Histories.to_frame`."""
    users = owners(histories.offsets)
    columns = {
        "user": users if histories.user_ids is None else histories.user_ids[users],
        "item": histories.item_ids[histories.codes],
        "time": histories.timestamps,
        "weight": histories.weights,
    }
    pandas = import_optional("pandas", "io")
    # The dtype is given because the text type that pandas infers cannot hold every string.
    return pandas.DataFrame(
        {
            name: pandas.Series(column, dtype=column.dtype)
            for name, column in columns.items()
            if column is not None
        }
    )


def user_index(key: Any, n_users: int) -> int | slice | np.ndarray:
    """Return the users that an index selects: one, a slice of step 1, or an array of positions."""
    if isinstance(key, tuple):
        if len(key) != 2 or (key[1] is not Ellipsis and key[1] != slice(None)):
            raise IndexError(f"Histories have one axis, the users. Got the index {key!r}.")
        key = key[0]
    if isinstance(key, slice):
        start, stop, step = key.indices(n_users)
        return slice(start, max(start, stop)) if step == 1 else np.arange(n_users)[key]
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return range(n_users)[key]
    key = np.asarray(key)
    if key.ndim != 1 or (key.dtype.kind not in "iub" and key.size):
        raise IndexError(
            "Users are selected by an integer, a slice, a list of integers or a mask, got "
            f"{key.dtype} of shape {key.shape}."
        )
    return np.arange(n_users)[key if key.size else key.astype(np.int64)]
