"""The container that every encoder reads: a batch of interaction histories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from html import escape
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import scipy.sparse as sp
from sklearn.utils._array_api import get_namespace

from skue._estimator import import_optional, warn_caller
from skue._files import read_arrays, write_arrays
from skue.histories._alignment import (
    in_order_of_users,
    index_of,
    rows_of_users,
    user_ids_of_index,
)
from skue.histories._columns import (
    as_times,
    as_weights,
    checked_codes,
    checked_offsets,
    checked_user_features,
    checked_user_ids,
    features_in_order,
    first_decrease,
    flatten,
    flatten_like,
    item_ids_of,
    joined,
    joined_features,
    place_in_lists,
    positions_in,
    refuse_decreasing,
    same_length,
    without_padding,
)
from skue.histories._vocabulary import Vocabulary, union_of
from skue.kernels._arrays import (
    frozen,
    kept_offsets,
    newest_events,
    offsets_of,
    order_by_user,
    owners,
    positions_of_ranges,
    read_only,
)
from skue.reading._columns import Log
from skue.reading._ids import as_ids, factorize, refuse_as_items, shown
from skue.reading._numbers import numbers_of
from skue.reading._roles import read_log, tell
from skue.reading._table import FrameTable
from skue.reading._times import times_of
from skue.reading._values import Label

# Columns of a batch with their numbers of axes.
NEEDED = {"codes": 1, "offsets": 1, "item_ids": 1}
OPTIONAL = {"timestamps": 1, "weights": 1, "user_ids": 1, "user_features": 2}
# In HTML.
_N_SHOWN_USERS, _N_SHOWN_ITEMS = 5, 8
# Events read at once, which bounds the memory for a memory-mapped log.
_STRETCH = 2**20

if TYPE_CHECKING:
    import pandas


class Histories:
    """A batch of users' interactions, oldest first, in flat columns.

    User ``i`` owns the events ``offsets[i]:offsets[i + 1]``. The batch is immutable: its arrays are
    read-only, so copy them before handing them to what changes arrays in place, such as
    ``sum_duplicates`` of scipy (:meth:`to_csr` does). Indexing selects users, and slices share
    ``item_ids``. The usual ways to build a batch are :meth:`from_frame`, :meth:`from_lists` and
    :func:`skue.load_interactions`.

    Parameters
    ----------
    codes : array-like of shape (n_events,), int
        Position of each event's item in ``item_ids``.
    offsets : array-like of shape (n_users + 1,), int
        Where each user's events start; the last entry is ``n_events``.
    item_ids : array-like of shape (n_items,)
        Distinct ids, integers or strings.
    timestamps : array-like of shape (n_events,), default=None
        ``datetime64`` in UTC (stored in microseconds), or numbers in seconds. They must not
        decrease within a user.
    weights : array-like of shape (n_events,), default=None
        Weight of each event; negative means dislike. By default every event weighs 1.
    user_ids : array-like of shape (n_users,), default=None
        Id of each user, integers or strings. They need not be distinct.
    user_features : array-like of shape (n_users, n_features), default=None
        Numbers known of each user; see :meth:`with_user_features`.

    Attributes
    ----------
    codes : ndarray of shape (n_events,), int32
        Position of each event's item in ``item_ids``.
    offsets : ndarray of shape (n_users + 1,), int64
        Where each user's events start; the last entry is ``n_events``.
    item_ids : ndarray of shape (n_items,), int64 or object (str)
        Distinct ids of the items. Not each of them need have an event.
    timestamps : ndarray of shape (n_events,), datetime64[us] or float64, or None
        Time of each event, in UTC or in seconds.
    weights : ndarray of shape (n_events,), float64, or None
        Weight of each event; None is a weight of 1.
    user_ids : ndarray of shape (n_users,), int64 or object (str), or None
        Id of each user.
    user_features : ndarray of shape (n_users, n_features), float32, or None
        Numbers known of each user; a row of NaN means that nothing is known.
    vocabulary : Vocabulary
        Looks up positions in ``item_ids``; shared by all slices.

    Raises
    ------
    ValueError
        For columns that break these rules, and for weights or times that are not finite.

    Examples
    --------
    >>> from skue import Histories
    >>> histories = Histories.from_lists([["tea", "cup"], ["cup"], []])
    >>> histories
    Histories(n_users=3, n_events=3, n_items=2)
    >>> histories[0]
    array(['tea', 'cup'], dtype=object)
    >>> histories[1:].lengths
    array([1, 0])
    """

    # False for a table of users × items, which does not say what came first.
    _is_ordered = True

    def __init__(
        self,
        codes: Any,
        offsets: Any,
        item_ids: Any,
        *,
        timestamps: Any = None,
        weights: Any = None,
        user_ids: Any = None,
        user_features: Any = None,
    ) -> None:
        vocabulary = Vocabulary(item_ids, "item_ids")
        refuse_as_items(vocabulary.ids, "item_ids")
        offsets = checked_offsets(offsets)
        codes = frozen(checked_codes(codes, len(vocabulary)))
        if offsets[-1] != len(codes):
            raise ValueError(f"offsets end at {offsets[-1]}, but there are {len(codes)} codes.")
        if timestamps is not None:
            timestamps = frozen(as_times(timestamps))
            same_length("timestamps", timestamps, "codes", len(codes))
            refuse_decreasing(timestamps, offsets)
        if weights is not None:
            weights = frozen(as_weights(weights))
            same_length("weights", weights, "codes", len(codes))
        if user_ids is not None:
            user_ids = checked_user_ids(user_ids, "users", len(offsets) - 1)
        if user_features is not None:
            user_features = checked_user_features(user_features, len(offsets) - 1)
        self._set(codes, offsets, vocabulary, timestamps, weights, user_ids, user_features)

    def _set(
        self,
        codes: np.ndarray,
        offsets: np.ndarray,
        vocabulary: Vocabulary,
        timestamps: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        user_ids: np.ndarray | None = None,
        user_features: np.ndarray | None = None,
    ) -> None:
        self.codes = read_only(codes)
        self.offsets = read_only(offsets)
        self.vocabulary = vocabulary
        self.timestamps = None if timestamps is None else read_only(timestamps)
        self.weights = None if weights is None else read_only(weights)
        self.user_ids = None if user_ids is None else read_only(user_ids)
        self.user_features = None if user_features is None else read_only(user_features)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle does not keep that an array is read-only.
        for name, value in state.items():
            setattr(self, name, read_only(value) if isinstance(value, np.ndarray) else value)

    def _replace(self, **parts: Any) -> Self:
        """Return a copy with other parts."""
        histories = copy(self)
        histories.__setstate__(parts)
        return histories

    @classmethod
    def _trusted(cls, *columns: Any) -> Histories:
        """Wrap columns that are known to be valid, in the order of ``_set``."""
        histories = cls.__new__(cls)
        histories._set(*columns)
        return histories

    @classmethod
    def _of_events(
        cls,
        ids: np.ndarray,
        offsets: np.ndarray,
        timestamps: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        user_ids: np.ndarray | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> Histories:
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
            weights = None if weights is None else weights[order]
        return cls._trusted(codes, offsets, vocabulary, timestamps, weights, user_ids)

    @classmethod
    def _of_log(cls, log: Log) -> Histories:
        """Build from a log: sort it by user, then time. No column is the caller's own array."""
        codes, item_ids = log.items
        owner, user_ids = log.users
        order = order_by_user(owner, len(user_ids), log.timestamps)
        if order is not None:
            codes, owner = codes[order], owner[order]

        def ordered(column: np.ndarray | None) -> np.ndarray | None:
            if column is None:
                return None
            return frozen(column) if order is None else column[order]

        offsets = offsets_of(np.bincount(owner, minlength=len(user_ids)))
        vocabulary, times = Vocabulary._trusted(item_ids), ordered(log.timestamps)
        return cls._trusted(codes, offsets, vocabulary, times, ordered(log.weights), user_ids)

    @classmethod
    def from_lists(
        cls,
        lists: Any,
        *,
        timestamps: Any = None,
        weights: Any = None,
        user_ids: Any = None,
        time_unit: Literal["s", "ms", "us", "ns"] | None = None,
        dayfirst: bool | None = None,
        time_format: str | None = None,
    ) -> Histories:
        """Build from one sequence of item ids per user, oldest first.

        Parameters
        ----------
        lists : sequence of n_users sequences
            Item ids: either integers of at least 0, or strings. In a 2-D array, negative integers
            and empty text are padding.
        timestamps : sequence of n_users sequences, default=None
            Datetimes (in UTC, or with a time zone), dates as text, or numbers. Each user's events
            are sorted by time; the sort is stable.
        weights : sequence of n_users sequences, default=None
            One number per event; by default every event weighs 1.
        user_ids : array-like of shape (n_users,), default=None
            By default the index of a pandas Series of lists, if it has a name or holds text. A
            Series of timestamps or weights is matched with them by its index.
        time_unit, dayfirst, time_format : default=None
            How to read numbers and text as times; see :meth:`from_frame`.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            For unequal lengths or an entry that is not a sequence, naming the row.

        Examples
        --------
        >>> from skue import Histories
        >>> Histories.from_lists([[3, 1], [2]], timestamps=[[20, 10], [5]])[0]
        array([1, 3])
        """
        user_ids = user_ids_of_index(lists) if user_ids is None else as_ids(user_ids, "user_ids")
        timestamps = in_order_of_users(user_ids, timestamps, "timestamps")
        weights = in_order_of_users(user_ids, weights, "weights")
        if isinstance(lists, np.ndarray) and lists.ndim == 2:
            lists, timestamps, weights = without_padding(lists, timestamps, weights)
        flat, offsets = flatten(lists, "histories")
        ids, place = item_ids_of(flat, offsets), place_in_lists(offsets)
        if timestamps is not None:
            timestamps = times_of(
                flatten_like(timestamps, offsets, "timestamps"),
                Label("the timestamp", place),
                time_unit=time_unit,
                dayfirst=dayfirst,
                time_format=time_format,
            )
        if weights is not None:
            weights = as_weights(flatten_like(weights, offsets, "weights"), "weights", place)
        if user_ids is not None:
            user_ids = checked_user_ids(user_ids, "histories", len(offsets) - 1)
        return cls._of_events(ids, offsets, timestamps, weights, user_ids)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        time: str | Literal[False] | None = None,
        weight: str | None = None,
        time_unit: Literal["s", "ms", "us", "ns"] | None = None,
        dayfirst: bool | None = None,
        time_format: str | None = None,
    ) -> Histories:
        """Build from a long log: one row per interaction.

        Users are sorted by id, and each user's events by time. Events with equal times stay in
        the order of the rows, as do all events without a time column.

        Parameters
        ----------
        frame : DataFrame of pandas, polars or dask, other Arrow data, or dict of arrays
            Of a lazy frame, a dataset or a relation of DuckDB, only these columns are computed,
            and the first rows of others if it is not clear which column is the time.
        user, item : str, default=None
            Columns of ids. By default, usual names are found, as by
            :func:`skue.load_interactions`, and the logger ``skue`` tells which columns were read
            (level INFO). If several columns fit, name one. Strings of digits stay strings.
        time : str or False, default=None
            Column of datetimes (converted to UTC), of dates as text, or of numbers. By default, a
            usual name is found. With False no column of times is read, and the order of the rows
            is used.
        weight : str, default=None
            Column of numbers. By default there are no weights, whatever the names.
        time_unit : {"s", "ms", "us", "ns"}, default=None
            Unit of numeric times; inferred by default, see :func:`skue.load_interactions`.
        dayfirst : bool, default=None
            Whether the text 03/04/2026 means 3 April (True) or March 4 (False). Inferred from the
            other dates of the column by default.
        time_format : str, default=None
            How times in text are written, in the directives of ``strptime``.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            If no column or several can be the user, the item or the time, and for invalid data,
            such as a missing id or a time in another format than the others. The message names
            the column and the row, counted from 0.

        Warns
        -----
        UserWarning
            As :func:`skue.load_interactions` does, for example if no column of times is named or
            found, but a column holds dates.

        Examples
        --------
        >>> from skue import Histories
        >>> log = {"user": ["b", "a", "b"], "item": [7, 8, 9], "time": [2.0, 1.0, 1.0]}
        >>> histories = Histories.from_frame(log)
        >>> histories.user_ids
        array(['a', 'b'], dtype=object)
        >>> histories[1]
        array([9, 7])
        """
        log, columns = read_log(
            FrameTable(frame),
            {"user": user, "item": item, "time": time, "weight": weight},
            time_unit=time_unit,
            dayfirst=dayfirst,
            time_format=time_format,
        )
        tell(columns)
        return cls._of_log(log)

    @classmethod
    def from_matrix(cls, matrix: Any, *, item_ids: Any = None, user_ids: Any = None) -> Histories:
        """Build from a table of users × items, such as a pivot table or a matrix of ratings.

        Each entry that is not zero is one event, and its value is the weight. The table does not
        say what came first, so the events of a user are in the order of the columns: use
        encoders with ``decay=0`` (the others warn), and do not hold out the "last" of them.

        Parameters
        ----------
        matrix : scipy sparse array, DataFrame or 2-D array of shape (n_users, n_items)
            Numbers. Zero and NaN mean that there was no interaction.
        item_ids : array-like of shape (n_items,), default=None
            Ids of the columns; by default the column names of a DataFrame, otherwise the numbers
            of the columns.
        user_ids : array-like of shape (n_users,), default=None
            Ids of the rows; by default the index of a pandas DataFrame, otherwise none.

        Returns
        -------
        histories : Histories
            With ``weights``.

        Raises
        ------
        ValueError
            For entries that are not finite numbers, and for ids of another length.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> from skue import Histories
        >>> histories = Histories.from_matrix(csr_array([[0, 2, 1], [1, 0, 0]]))
        >>> list(histories), histories.weights
        ([array([1, 2]), array([0])], array([2., 1., 1.]))
        """
        if hasattr(matrix, "columns") and hasattr(matrix, "to_numpy"):
            item_ids = list(matrix.columns) if item_ids is None else item_ids
            index = index_of(matrix)
            user_ids = np.asarray(index) if user_ids is None and index is not None else user_ids
        matrix = numbers_of(matrix, "matrix")
        if matrix.ndim != 2:
            raise ValueError(f"matrix must be users × items, got the shape {matrix.shape}.")
        table = sp.csr_array(matrix).astype(np.float64)
        table.sum_duplicates()
        table.data[np.isnan(table.data)] = 0
        table.eliminate_zeros()
        n_items = table.shape[1]
        item_ids = np.arange(n_items) if item_ids is None else as_ids(item_ids, "item_ids")
        same_length("item_ids", item_ids, "columns", n_items)
        weights = as_weights(table.data)
        histories = cls(table.indices, table.indptr, item_ids, weights=weights, user_ids=user_ids)
        histories._is_ordered = False
        return histories

    @classmethod
    def concat(cls, batches: Iterable[Histories]) -> Histories:
        """Join batches, such as those of yesterday and today, by their users.

        Parameters
        ----------
        batches : sequence of Histories
            With ``user_ids``, by which users are matched. Either all of them have timestamps, or
            none has, and the same holds for weights. A batch without events may lack both.

        Returns
        -------
        histories : Histories
            Users and items are in the order in which they first appear, so those of the first
            batch keep their rows and codes. Each user's events are sorted by time; at equal times,
            and without times, those of earlier batches come first. An event that is in two batches
            is kept twice: see Notes. Of a user with ``user_features`` in several batches, the last
            row that is known counts.

        Raises
        ------
        ValueError
            For batches without user ids, or with a user twice; if one has times or weights and
            another has none; for ids, times or features of different kinds.

        Notes
        -----
        Nothing is dropped. If periods may overlap, drop the rows that are equal from the log:
        ``Histories.from_frame(histories.to_frame().drop_duplicates())``. This also drops an item
        that was bought twice at one time.

        Examples
        --------
        >>> from skue import Histories
        >>> yesterday = Histories.from_lists([["tea"], ["saw"]], user_ids=["ann", "bob"])
        >>> today = Histories.from_lists([["axe"], ["cup", "tea"]], user_ids=["bob", "eve"])
        >>> histories = Histories.concat([yesterday, today])
        >>> [f"{user}: {' '.join(items)}" for user, items in zip(histories.user_ids, histories)]
        ['ann: tea', 'bob: saw axe', 'eve: cup tea']
        """
        batches = list(batches)
        if not batches:
            raise ValueError("batches must hold at least one batch of histories, got none.")
        of_batches = []
        for at, batch in enumerate(batches):
            if batch.user_ids is None:
                raise ValueError(
                    f"Users are matched by user_ids, but the batch at position {at} has none. "
                    "Build it with user_ids, as from_frame and load_interactions do."
                )
            name = f"user_ids of the batch at position {at}"
            of_batches.append(Vocabulary(batch.user_ids, name))
        users = union_of(of_batches, "user_ids")
        items = union_of([batch.vocabulary for batch in batches], "item_ids")
        rows = [users.lookup(batch.user_ids) for batch in batches]
        codes = []
        for batch in batches:
            places, _ = items.map_of(batch.vocabulary)
            codes.append(batch.codes if places is None else places[batch.codes])
        n_events = [len(batch.codes) for batch in batches]
        timestamps = joined([batch.timestamps for batch in batches], n_events, "timestamps")
        weights = joined([batch.weights for batch in batches], n_events, "weights")
        features = joined_features([batch.user_features for batch in batches], rows, len(users))
        owner = np.concatenate(
            [np.repeat(r, b.lengths) for r, b in zip(rows, batches, strict=True)]
        )
        histories = cls._of_log(
            Log((owner, users.ids), (np.concatenate(codes), items.ids), timestamps, weights)
        )
        return histories._replace(
            vocabulary=items,
            user_features=features,
            _is_ordered=all(batch._is_ordered for batch in batches),
        )

    def to_frame(self) -> pandas.DataFrame:
        """Return the log as a pandas DataFrame with one row per event.

        Returns
        -------
        frame : pandas.DataFrame
            Columns ``user``, ``item`` and, if the batch has them, ``time`` and ``weight``.

        Examples
        --------
        >>> from skue import Histories
        >>> print(Histories.from_lists([[3, 1], [2]]).to_frame())
           user  item
        0     0     3
        1     0     1
        2     1     2
        """
        users = owners(self.offsets)
        columns = {
            "user": users if self.user_ids is None else self.user_ids[users],
            "item": self.item_ids[self.codes],
            "time": self.timestamps,
            "weight": self.weights,
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

    def to_csr(self) -> sp.csr_array:
        """Return the table of users × items, for libraries that take one.

        Returns
        -------
        table : scipy.sparse.csr_array of shape (n_users, n_items), float64
            Row ``i`` is user ``i``, column ``j`` is ``item_ids[j]``. An entry is the number of
            events of the user with the item, or with ``weights`` their sum; sums of zero are not
            stored. The arrays are copies, which may be changed in place. The order and the times
            of the events are lost: ``Histories.from_matrix(table).to_csr()`` gives the table
            again, but ``from_matrix(histories.to_csr())`` has one event per user and item.

        Examples
        --------
        >>> from skue import Histories
        >>> Histories.from_lists([["tea", "cup", "tea"], ["cup"]]).to_csr().toarray()
        array([[1., 2.],
               [1., 0.]])
        """
        values = np.ones(len(self.codes)) if self.weights is None else np.array(self.weights)
        table = self._table_of(values)
        table.eliminate_zeros()
        return table

    def _table_of(self, values: np.ndarray) -> sp.csr_array:
        """Return the sums of one value per event, users × items. The values may be overwritten."""
        # Copies, because equal pairs are added in place, and a log may be mapped from disk.
        table = sp.csr_array(
            (values, np.array(self.codes), np.array(self.offsets)),
            shape=(len(self), len(self.vocabulary)),
        )
        table.sum_duplicates()
        return table

    def save(self, path: str | PathLike[str]) -> None:
        """Write the batch to an ``.npz`` file in one atomic step.

        Parameters
        ----------
        path : str or path
            Used as given, without adding a suffix. An existing file is replaced.
        """
        columns = {name: getattr(self, name) for name in (*NEEDED, *OPTIONAL)}
        write_arrays(path, "Histories", columns)

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Self:
        """Read a file written by :meth:`save`. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
            The file.
        mmap : bool, default=False
            Map the columns from disk and read them when they are used, for batches larger than
            memory. Do not change the file while the batch is in use.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            For a file that is damaged, or that was not written by ``save`` of this version of skue.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import Histories
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "histories.npz"
        >>> Histories.from_lists([["tea", "cup"], ["cup"]]).save(path)
        >>> Histories.load(path, mmap=True)
        Histories(n_users=2, n_events=3, n_items=2)
        """
        columns = read_arrays(path, "Histories", NEEDED, OPTIONAL, mmap=mmap)
        try:
            return cls(**{name: columns.get(name) for name in (*NEEDED, *OPTIONAL)})
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error

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
        index = index_of(features)
        rows: Any
        if self.user_ids is None or index is None:
            rows = checked_user_features(features, len(self))
        else:
            rows = checked_user_features(features, len(features))
            labels = np.asarray(index)
            places = rows_of_users(self.user_ids, labels, "user_features", may_lack=True)
            if places is not None:
                rows = features_in_order(rows, places)
                lacking = self.user_ids[places < 0]
                if len(lacking):
                    warn_caller(
                        f"{len(lacking)} of the {len(self)} users have no row of features, such "
                        f"as {shown(lacking[0])}. Nothing is known of them."
                    )
        return self._replace(user_features=rows)

    @property
    def item_ids(self) -> np.ndarray:
        return self.vocabulary.ids

    @property
    def lengths(self) -> np.ndarray:
        """Number of events of each user, shape (n_users,)."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int]:
        return (len(self.offsets) - 1,)

    # With array API dispatch, scikit-learn takes what has a shape for an array, and selects rows
    # by ``take`` of its namespace, which calls the method here.
    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return get_namespace(np.empty(0))[0]

    def take(self, indices: Any, axis: int = 0, **_: Any) -> Histories:
        """Return the users at these positions, as ``histories[indices]`` does.

        Parameters
        ----------
        indices : array-like of int
            Positions of the users.
        axis : int, default=0
            Not used; pandas passes it.
        **_ : dict
            Not used.
        """
        return self[np.asarray(indices)]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, key: int | np.integer) -> np.ndarray: ...

    @overload
    def __getitem__(
        self, key: slice | Sequence[int] | np.ndarray | tuple[Any, Any]
    ) -> Histories: ...

    def __getitem__(self, key: Any) -> np.ndarray | Histories:
        key = positions_in(key, len(self))
        if isinstance(key, slice):
            offsets = self.offsets[key.start : key.stop + 1]
            events = slice(offsets[0], offsets[-1])
            return self._with_events(events, offsets - offsets[0], key)
        if isinstance(key, np.ndarray):
            return self._take(key)
        return self.item_ids[self.codes[self.offsets[key] : self.offsets[key + 1]]]

    def _take(self, rows: np.ndarray) -> Histories:
        lengths = self.lengths[rows]
        events = positions_of_ranges(self.offsets[:-1][rows], lengths)
        return self._with_events(events, offsets_of(lengths), rows)

    def _keep_events(self, keep: np.ndarray) -> Histories:
        return self._with_events(keep, kept_offsets(self.offsets, keep), slice(None))

    def _newest(self, n_most: int) -> Histories:
        """Return each user's ``n_most`` newest events."""
        if self.lengths.max(initial=0) <= n_most:
            return self
        return self._with_events(*newest_events(self.offsets, n_most), slice(None))

    def _with_used_items(self) -> Histories:
        """Return the same events with a vocabulary of only the items that have one, sorted."""
        is_used = np.zeros(len(self.vocabulary), dtype=bool)
        for start in range(0, len(self.codes), _STRETCH):
            is_used[self.codes[start : start + _STRETCH]] = True
        used = np.flatnonzero(is_used)
        used = used[np.argsort(self.item_ids[used], kind="stable")]
        if np.array_equal(used, np.arange(len(is_used))):
            return self
        code_of = np.full(len(is_used), -1, dtype=np.int32)
        code_of[used] = np.arange(len(used))
        return self._replace(
            codes=code_of[self.codes], vocabulary=Vocabulary._trusted(self.item_ids[used])
        )

    def _with_events(self, events: Any, offsets: np.ndarray, users: Any) -> Histories:
        columns = {name: getattr(self, name) for name in ("codes", "timestamps", "weights")}
        of_users = {name: getattr(self, name) for name in ("user_ids", "user_features")}
        return self._replace(
            offsets=offsets,
            **{name: None if part is None else part[events] for name, part in columns.items()},
            **{name: None if part is None else part[users] for name, part in of_users.items()},
        )

    def _repr_html_(self) -> str:
        """Return size and period, and the newest items of the first few users."""
        facts = f"{len(self):,} users, {len(self.codes):,} events, {len(self.item_ids):,} items"
        times = self.timestamps
        if times is not None and len(times):
            ends = (
                str(time).partition(".")[0].replace("T", " ") for time in (times.min(), times.max())
            )
            facts += f", {' to '.join(ends)}"
        rows = []
        for row in range(min(_N_SHOWN_USERS, len(self))):
            user = row if self.user_ids is None else self.user_ids[row]
            newest = ", ".join(map(_cell, self[row][-_N_SHOWN_ITEMS:].tolist()))
            more = "…, " if self.lengths[row] > _N_SHOWN_ITEMS else ""
            rows.append(
                f"<tr><th>{_cell(user)}</th><td>{self.lengths[row]:,}</td><td>{more}{newest}</td></tr>"
            )
        return (
            f"<div><p><b>Histories</b>: {facts}</p><table><thead><tr><th>user</th><th>events</th>"
            f"<th>items, oldest first</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )

    def __repr__(self) -> str:
        extras = [f", {name}=True" for name in OPTIONAL if getattr(self, name) is not None]
        return (
            f"Histories(n_users={len(self)}, n_events={len(self.codes)}, "
            f"n_items={len(self.vocabulary)}{''.join(extras)})"
        )


def _cell(value: Any) -> str:
    text = str(value)
    return escape(text if len(text) <= 40 else f"{text[:39]}…")
