"""The container every encoder reads: a batch of interaction histories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from skue._html import histories_table
from skue.histories._checks import (
    as_times,
    as_weights,
    checked_codes,
    checked_offsets,
    first_decrease,
    flatten,
    flatten_like,
    place_in_lists,
    refuse_decreasing,
    same_length,
)
from skue.histories._npz import read_arrays, write_arrays
from skue.histories._vocabulary import Vocabulary
from skue.kernels._read_only import frozen, read_only
from skue.kernels._segments import (
    kept_offsets,
    offsets_of,
    order_by_user,
    owners,
    positions_of_ranges,
)
from skue.reading._frames import log_of_frame, times_of_list
from skue.reading._ids import as_ids, factorize, refuse_as_items
from skue.reading._labels import Label

if TYPE_CHECKING:
    import pandas

_SCHEMA = 2
_NEEDED = ("codes", "offsets", "item_ids")
_OPTIONAL = ("timestamps", "weights", "user_ids")


class Histories:
    """A batch of users' interactions, oldest first, in flat columns.

    User ``i`` owns the events ``offsets[i]:offsets[i + 1]``. The batch is immutable and is
    indexed by user, the way scikit-learn slices: slices share ``item_ids``. Most people build
    one with :meth:`from_frame`, :meth:`from_lists` or :func:`skue.load_interactions`.

    Parameters
    ----------
    codes : array-like of shape (n_events,), int
        Position of each event's item in ``item_ids``.
    offsets : array-like of shape (n_users + 1,), int
        Where each user's events start; the last entry is ``n_events``.
    item_ids : array-like of shape (n_items,)
        Distinct ids, integers or strings.
    timestamps : array-like of shape (n_events,), default=None
        ``datetime64`` in UTC (kept in microseconds), or numbers in seconds; never decreasing
        within a user.
    weights : array-like of shape (n_events,), default=None
        Weight of each event; negative means dislike. Without them every event weighs 1.
    user_ids : array-like of shape (n_users,), default=None
        Integers or strings.

    Attributes
    ----------
    codes : ndarray of shape (n_events,), int32
    offsets : ndarray of shape (n_users + 1,), int64
    item_ids : ndarray of shape (n_items,), int64 or object (str)
    timestamps : ndarray of shape (n_events,), datetime64[us] or float64, or None
    weights : ndarray of shape (n_events,), float64, or None
    user_ids : ndarray of shape (n_users,), int64 or object (str), or None
    vocabulary : Vocabulary
        The ``item_ids`` with their look-up, shared by all slices.

    Raises
    ------
    ValueError
        For codes outside ``item_ids``, decreasing offsets, lengths that disagree, times that go
        back within a user, weights or times that are not finite.

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

    def __init__(
        self,
        codes: Any,
        offsets: Any,
        item_ids: Any,
        *,
        timestamps: Any = None,
        weights: Any = None,
        user_ids: Any = None,
    ) -> None:
        vocabulary = Vocabulary(item_ids, "item_ids")
        refuse_as_items(vocabulary.ids, "item_ids")
        offsets = checked_offsets(offsets)
        codes = frozen(checked_codes(codes, len(vocabulary)))
        if offsets[-1] != len(codes):
            raise ValueError(f"offsets end at {offsets[-1]}, but there are {len(codes)} codes.")
        if timestamps is not None:
            timestamps = frozen(as_times(timestamps))
            same_length("timestamps", timestamps, "codes", codes)
            refuse_decreasing(timestamps, offsets)
        if weights is not None:
            weights = frozen(as_weights(weights))
            same_length("weights", weights, "codes", codes)
        if user_ids is not None:
            user_ids = frozen(as_ids(user_ids, "user_ids"))
            same_length("user_ids", user_ids, "users", offsets[1:])
        self._set(codes, offsets, vocabulary, timestamps, weights, user_ids)

    def _set(
        self,
        codes: np.ndarray,
        offsets: np.ndarray,
        vocabulary: Vocabulary,
        timestamps: np.ndarray | None,
        weights: np.ndarray | None,
        user_ids: np.ndarray | None,
    ) -> None:
        self.codes = read_only(codes)
        self.offsets = read_only(offsets)
        self.vocabulary = vocabulary
        self.timestamps = None if timestamps is None else read_only(timestamps)
        self.weights = None if weights is None else read_only(weights)
        self.user_ids = None if user_ids is None else read_only(user_ids)

    @classmethod
    def _trusted(cls, *parts: Any) -> Histories:
        """Wrap columns that are valid already: codes, offsets, vocabulary, times, ..."""
        histories = cls.__new__(cls)
        histories._set(*parts)
        return histories

    @classmethod
    def _from_events(
        cls,
        ids: np.ndarray,
        offsets: np.ndarray,
        timestamps: np.ndarray | None,
        weights: np.ndarray | None,
        user_ids: np.ndarray | None,
        vocabulary: Vocabulary | None = None,
    ) -> Histories:
        """Number the items and put each user's events in the order of their times.

        The numbers are those of the given vocabulary, where it knows all of the items.
        """
        codes = None if vocabulary is None or not len(ids) else vocabulary.lookup(ids)
        if codes is None or codes.min() < 0:
            codes, item_ids = factorize(ids)
            vocabulary = Vocabulary._trusted(item_ids)
        if timestamps is not None and first_decrease(timestamps, offsets) is not None:
            order = np.lexsort((timestamps, owners(offsets)))
            codes, timestamps = codes[order], timestamps[order]
            weights = None if weights is None else weights[order]
        return cls._trusted(codes, offsets, vocabulary, timestamps, weights, user_ids)

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
    ) -> Histories:
        """Build from one sequence of item ids a user, oldest first.

        Parameters
        ----------
        lists : sequence of n_users sequences
            Item ids: integers from 0 on, or strings; not a mixture.
        timestamps : sequence of n_users sequences, default=None
            Times of the events: ``datetime64`` or datetimes (UTC, or with a zone), dates as
            text, or numbers. Each user's events are put in their order; equal times keep theirs.
        weights : sequence of n_users sequences, default=None
            Weights of the events.
        user_ids : array-like of shape (n_users,), default=None
        time_unit, dayfirst : default=None
            How numbers and text are read as times; see :meth:`from_frame`.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            When lengths disagree or an entry is not a sequence, naming the row.

        Examples
        --------
        >>> from skue import Histories
        >>> Histories.from_lists([[3, 1], [2]], timestamps=[[20, 10], [5]])[0]
        array([1, 3])
        """
        return cls._from_lists(
            lists, timestamps, weights, user_ids, time_unit=time_unit, dayfirst=dayfirst
        )

    @classmethod
    def _from_lists(
        cls,
        lists: Any,
        timestamps: Any = None,
        weights: Any = None,
        user_ids: Any = None,
        vocabulary: Vocabulary | None = None,
        *,
        time_unit: str | None = None,
        dayfirst: bool | None = None,
    ) -> Histories:
        flat, offsets = flatten(lists, "histories")
        if vocabulary is not None and timestamps is weights is user_ids is None:
            codes = vocabulary._known_positions(flat)
            if codes is not None:
                return cls._trusted(codes, offsets, vocabulary, None, None, None)
        place = place_in_lists(offsets)
        ids = as_ids(flat, "item ids", place)
        refuse_as_items(ids, "item ids", place)
        if timestamps is not None:
            flat_times = flatten_like(timestamps, offsets, "timestamps")
            timestamps = times_of_list(
                flat_times, Label("the timestamp", place), time_unit=time_unit, dayfirst=dayfirst
            )
        if weights is not None:
            weights = as_weights(flatten_like(weights, offsets, "weights"), "weights", place)
        if user_ids is not None:
            user_ids = frozen(as_ids(user_ids, "user_ids"))
            same_length("user_ids", user_ids, "histories", offsets[1:])
        return cls._from_events(ids, offsets, timestamps, weights, user_ids, vocabulary)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str,
        item: str,
        time: str | None = None,
        weight: str | None = None,
        time_unit: Literal["s", "ms", "us", "ns"] | None = None,
        dayfirst: bool | None = None,
    ) -> Histories:
        """Build from a long log: one row an interaction.

        Users come out sorted by id, each user's events by time; equal times keep the order of
        the rows, and without a time column so do all events.

        Parameters
        ----------
        frame : DataFrame of pandas or polars, polars.LazyFrame, pyarrow.Table or dict of arrays
        user, item : str
            Columns of ids. Text stays text.
        time : str, default=None
            Column of datetimes (zones become UTC), of dates as text, or of numbers.
        weight : str, default=None
            Column of numbers.
        time_unit : {"s", "ms", "us", "ns"}, default=None
            Unit of times that are numbers. By default it is found out: all numbers must be times
            between 1990 and 2100 in the same unit. Smaller numbers (counters) are seconds.
        dayfirst : bool, default=None
            Whether 03/04/2026 is the 3rd of April (True) or March 4th (False), in dates that are
            text. By default the other dates of the column have to tell.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            For a missing column, a missing id, a time that is not written as the others are and
            so on, naming the column and the row (counted from 0).

        Examples
        --------
        >>> from skue import Histories
        >>> log = {"who": ["b", "a", "b"], "what": [7, 8, 9], "when": [2.0, 1.0, 1.0]}
        >>> histories = Histories.from_frame(log, user="who", item="what", time="when")
        >>> histories.user_ids
        array(['a', 'b'], dtype=object)
        >>> histories[1]
        array([9, 7])
        """
        log = log_of_frame(
            frame,
            user=user,
            item=item,
            time=time,
            weight=weight,
            time_unit=time_unit,
            dayfirst=dayfirst,
        )
        return cls._from_log(*log)

    @classmethod
    def _from_log(
        cls,
        users: tuple[np.ndarray, np.ndarray],
        items: tuple[np.ndarray, np.ndarray],
        timestamps: np.ndarray | None,
        weights: np.ndarray | None,
    ) -> Histories:
        """Sort a log by user, then time. Users and items are codes and sorted distinct ids."""
        codes, item_ids = items
        owner, user_ids = users
        order = order_by_user(owner, len(user_ids), timestamps)
        if order is not None:
            codes, owner = codes[order], owner[order]
        timestamps, weights = _own(timestamps, order), _own(weights, order)
        return cls._trusted(
            codes,
            offsets_of(np.bincount(owner, minlength=len(user_ids))),
            Vocabulary._trusted(item_ids),
            timestamps,
            weights,
            user_ids,
        )

    def to_frame(self) -> pandas.DataFrame:
        """Return the log as a pandas DataFrame: ``user``, ``item`` and, if held, the rest.

        Returns
        -------
        frame : pandas.DataFrame
            Columns ``user``, ``item`` and, where the batch has them, ``time``, ``weight``.

        Examples
        --------
        >>> from skue import Histories
        >>> print(Histories.from_lists([[3, 1], [2]]).to_frame())
           user  item
        0     0     3
        1     0     1
        2     1     2
        """
        from skue._optional import import_optional

        pandas = import_optional("pandas", "io")
        users = owners(self.offsets)
        columns = {"user": users if self.user_ids is None else self.user_ids[users]}
        columns["item"] = self.item_ids[self.codes]
        if self.timestamps is not None:
            columns["time"] = self.timestamps
        if self.weights is not None:
            columns["weight"] = self.weights
        # With their own types, or pandas would turn text into a type that cannot hold all of it.
        return pandas.DataFrame(
            {name: pandas.Series(column, dtype=column.dtype) for name, column in columns.items()}
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the batch to an ``.npz`` file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Written as named; an existing file is replaced.
        """
        columns = {name: getattr(self, name) for name in (*_NEEDED, *_OPTIONAL)}
        held = {name: column for name, column in columns.items() if column is not None}
        write_arrays(path, {"histories_schema": np.array(_SCHEMA), **held})

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = False) -> Histories:
        """Read what :meth:`save` wrote. Nothing is unpickled.

        Parameters
        ----------
        path : str or path
        mmap : bool, default=False
            Leave the columns on disk, to be read where they are used: for batches larger than
            memory. Do not change the file as long as the batch lives.

        Returns
        -------
        histories : Histories

        Raises
        ------
        ValueError
            For a file that is damaged, of another kind or of a newer schema.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from skue import Histories
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "histories.npz"
        >>> Histories.from_lists([["tea", "cup"], ["cup"]]).save(path)
        >>> Histories.load(path, mmap=True)
        Histories(n_users=2, n_events=3, n_items=2)
        """
        columns = read_arrays(path, mmap=mmap)
        missing = {"histories_schema", *_NEEDED} - set(columns)
        if missing:
            raise ValueError(f"{path} lacks {sorted(missing)}; save it with Histories.save.")
        schema = int(columns["histories_schema"])
        if schema > _SCHEMA:
            raise ValueError(
                f"{path} has schema {schema}, this skue reads up to {_SCHEMA}. Upgrade skue."
            )
        try:
            return cls(
                *(columns[name] for name in _NEEDED),
                **{name: columns.get(name) for name in _OPTIONAL},
            )
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error

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

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, key: int | np.integer) -> np.ndarray: ...

    @overload
    def __getitem__(
        self, key: slice | Sequence[int] | Sequence[bool] | np.ndarray | tuple[Any, Any]
    ) -> Histories: ...

    def __getitem__(self, key: Any) -> np.ndarray | Histories:
        if isinstance(key, tuple):
            if len(key) != 2 or (key[1] is not Ellipsis and key[1] != slice(None)):
                raise IndexError(f"histories have one axis, the users; got {key!r}.")
            key = key[0]
        if isinstance(key, slice):
            if key.step in (None, 1):
                return self._contiguous(*key.indices(len(self))[:2])
            return self._take(np.arange(len(self))[key])
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            row = range(len(self))[key]
            return self.item_ids[self.codes[self.offsets[row] : self.offsets[row + 1]]]
        key = np.asarray(key)
        if key.dtype.kind not in "iub" and key.size:
            raise IndexError(f"users are picked by integers or a mask, got dtype {key.dtype}.")
        return self._take(np.arange(len(self))[key if key.size else key.astype(np.int64)])

    def _contiguous(self, start: int, stop: int) -> Histories:
        stop = max(start, stop)
        events = slice(self.offsets[start], self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - self.offsets[start]
        return self._with_events(events, offsets, slice(start, stop))

    def _take(self, rows: np.ndarray) -> Histories:
        lengths = self.lengths[rows]
        events = positions_of_ranges(self.offsets[:-1][rows], lengths)
        return self._with_events(events, offsets_of(lengths), rows)

    def _keep_events(self, keep: np.ndarray) -> Histories:
        return self._with_events(keep, kept_offsets(self.offsets, keep), slice(None))

    def _with_events(self, events: Any, offsets: np.ndarray, users: Any) -> Histories:
        return Histories._trusted(
            self.codes[events],
            offsets,
            self.vocabulary,
            None if self.timestamps is None else self.timestamps[events],
            None if self.weights is None else self.weights[events],
            None if self.user_ids is None else self.user_ids[users],
        )

    def _repr_html_(self) -> str:
        return histories_table(self)

    def __repr__(self) -> str:
        extras = [
            f", {name}=True"
            for name in ("timestamps", "weights", "user_ids")
            if getattr(self, name) is not None
        ]
        return (
            f"Histories(n_users={len(self)}, n_events={len(self.codes)}, "
            f"n_items={len(self.vocabulary)}{''.join(extras)})"
        )


def _own(column: np.ndarray | None, order: np.ndarray | None) -> np.ndarray | None:
    """Return a column in another order, or as it is, and never the caller's own array."""
    if column is None:
        return None
    return frozen(column) if order is None else column[order]
