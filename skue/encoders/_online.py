"""Averages of item vectors, and their online updates: new events without the old ones."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skue._estimator import of_one_fit, warn_caller
from skue.encoders._base import CHUNK_SIZE, UserEncoder
from skue.encoders._events import AGE_SECONDS, AGE_UNITS, AgeUnit, Events
from skue.histories._alignment import rows_of_users
from skue.kernels._arrays import kept_offsets, owners, starts_of_runs
from skue.kernels._clocks import as_seconds
from skue.kernels._pooling import decayed_averages
from skue.kernels._states import aged, decayed_sums, unit_vectors_of_sums
from skue.reading._ids import as_ids, shown

# The last number changes with the format.
_MAGIC = b"skueS3"
_CHECKSUM_BYTES = 16
# Of the columns, as bytes.
_DTYPES = "<f8", "<f8", "<i8", "<i8", "<f8", "<f8", "?"


class Columns(NamedTuple):
    """Columns of the states, one row per user.

    ``sums`` has shape (n_users, n_decays, n_dims) and ``masses`` has shape (n_users, n_decays).
    The others have shape (n_users,): the number of known events, the number of steps or instants
    they span, the oldest and the newest time in seconds (NaN without timestamps), and whether any
    weight was negative.
    """

    sums: np.ndarray
    masses: np.ndarray
    counts: np.ndarray
    spans: np.ndarray
    oldest: np.ndarray
    newest: np.ndarray
    signed: np.ndarray


class UserStates:
    """The state of each user under one averaging encoder: decayed sums instead of events.

    It is created by ``make_state`` and ``update_state`` of an encoder and indexed by user like
    histories. It is immutable: an update returns a new object.

    Parameters
    ----------
    encoder_id : str
        Id of the encoder that the sums belong to.
    columns : Columns
        Arrays with one row per user.
    user_ids : ndarray of shape (n_users,), default=None
        Id of each user.

    Attributes
    ----------
    encoder_id : str
        Id of the encoder that the sums belong to.
    columns : Columns
        Arrays with one row per user.
    user_ids : ndarray of shape (n_users,) or None
        Those of the histories that the states were made from. New events that carry user ids,
        too, are matched by them.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, UserStates
    >>> items = ItemEmbeddings([[1, 0], [0, 1]], ids=["tea", "cup"])
    >>> encoder = DecayAverageUserEncoder(items, decay=0.5).fit([["tea", "cup"]])
    >>> state = encoder.make_state([["tea"], []])
    >>> state = encoder.update_state(state, [["cup"], ["tea"]])
    >>> encoder.transform_state(UserStates.from_bytes(state.to_bytes())).round(2)
    array([[0.52, 0.86],
           [1.  , 0.  ]], dtype=float32)
    """

    __slots__ = ("columns", "encoder_id", "user_ids")

    def __init__(
        self, encoder_id: str, columns: Columns, user_ids: np.ndarray | None = None
    ) -> None:
        self.encoder_id, self.columns, self.user_ids = encoder_id, columns, user_ids

    @property
    def n_events(self) -> np.ndarray:
        """Number of known events of each user, shape (n_users,)."""
        return self.columns.counts

    @classmethod
    def concatenate(cls, states: Iterable[UserStates]) -> UserStates:
        """Concatenate the users of several states.

        Parameters
        ----------
        states : iterable of UserStates
            At least one, all from the same encoder.

        Returns
        -------
        states : UserStates
            With user ids if all of the states have them.
        """
        states = list(states)
        ids = sorted({state.encoder_id for state in states})
        if len(ids) != 1:
            raise ValueError(f"states must be from the same encoder, got encoder ids {ids}.")
        users = [state.user_ids for state in states if state.user_ids is not None]
        user_ids = np.concatenate(users) if len(users) == len(states) else None
        return cls(ids[0], _concatenated([state.columns for state in states]), user_ids)

    def to_bytes(self) -> bytes:
        """Return the states as bytes with a checksum, to store or send them."""
        users = None if self.user_ids is None else self.user_ids.tolist()
        header = json.dumps([self.encoder_id, self.columns.sums.shape, users]).encode()
        arrays = (a.astype(t, "C").tobytes() for a, t in zip(self.columns, _DTYPES, strict=True))
        data = b"".join([_MAGIC, len(header).to_bytes(8, "little"), header, *arrays])
        return data + _checksum(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> UserStates:
        """Read bytes written by :meth:`to_bytes`, without pickle.

        Parameters
        ----------
        data : bytes-like
            What ``to_bytes`` returned.

        Returns
        -------
        states : UserStates

        Raises
        ------
        ValueError
            If the bytes are damaged, or are not states of this version of skue.
        """
        data = memoryview(data).tobytes()
        way_out = "Compute the states again from the histories."
        if not data.startswith(_MAGIC):
            raise ValueError(
                f"data ({len(data)} bytes) does not contain user states of this version. {way_out}"
            )
        content, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if _checksum(content) != checksum:
            raise ValueError(
                f"data ({len(data)} bytes) is damaged: the checksum differs. {way_out}"
            )
        start = len(_MAGIC) + 8
        at = start + int.from_bytes(content[len(_MAGIC) : start], "little")
        encoder_id, full, users = json.loads(content[start:at])
        arrays = []
        for shape, dtype in zip((full, full[:2], *[full[:1]] * 5), _DTYPES, strict=True):
            size = int(np.prod(shape))
            arrays.append(np.frombuffer(content, dtype, size, at).reshape(shape))
            at += arrays[-1].nbytes
        return cls(encoder_id, Columns(*arrays), None if users is None else as_ids(users))

    def __len__(self) -> int:
        return len(self.columns.counts)

    def __getitem__(self, key: Any) -> UserStates:
        if isinstance(key, (int, np.integer)):
            row = range(len(self))[key]
            key = slice(row, row + 1)
        columns = Columns(*(column[key] for column in self.columns))
        user_ids = None if self.user_ids is None else self.user_ids[key]
        return UserStates(self.encoder_id, columns, user_ids)

    def __repr__(self) -> str:
        return (
            f"UserStates(n_users={len(self)}, n_dims={self.columns.sums.shape[2]}, "
            f"encoder_id={self.encoder_id!r})"
        )


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECKSUM_BYTES).digest()


def _concatenated(parts: list[Columns]) -> Columns:
    return Columns(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class AverageUserEncoder(UserEncoder):
    """Base class of encoders that average item vectors, in which older events count less.

    A subclass returns its decays from ``_decays``, and makes one vector of the averages with these
    decays in ``_combined``.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **UserEncoder._parameter_constraints,
        "age_unit": [StrOptions(AGE_UNITS)],
        "repeat_exponent": [Interval(Real, 0, 1, closed="both")],
    }
    _threaded: ClassVar[bool] = True

    age_unit: AgeUnit
    repeat_exponent: float

    @property
    def _uses_order(self) -> bool:
        return any(self._decays()) or self.max_history is not None

    @abstractmethod
    def _decays(self) -> tuple[float, ...]:
        """Return the decay of each average."""

    @abstractmethod
    def _combined(self, parts: np.ndarray, defined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return one vector for each user, from averages of shape (n_decays, n_users, n_dims)."""

    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        parts, defined = decayed_averages(
            events.rows,
            events.offsets,
            None if self.age_unit == "step" else events.ages(self.age_unit),
            events.weights,
            self._decays(),
            self.repeat_exponent,
            self.item_vectors_,
        )
        return self._combined(parts, defined)

    @of_one_fit
    def make_state(self, X: Any) -> UserStates:
        """Return the state of each user, to be updated with later events.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            An empty history gives the state of a new user.

        Returns
        -------
        state : UserStates

        Raises
        ------
        ValueError
            If ``max_history`` is set or ``repeat_exponent`` is not 1, because both need the events.
        """
        encoder_id, histories = self._online_id(), self._read(X)
        columns = self._columns_of(self._events_of(histories))
        return UserStates(encoder_id, columns, histories.user_ids)

    @of_one_fit
    def update_state(self, state: UserStates, X_new: Any) -> UserStates:
        """Return the state after new events, equal to the state of the whole history.

        An event that is delivered twice counts twice.

        Parameters
        ----------
        state : UserStates
            States of this encoder. They are not changed.
        X_new : Histories or any form that :func:`skue.as_histories` reads
            New events of the same users, one row per user; empty for users without new events.
            The rows are matched by ``user_ids`` if both have them, otherwise they are in the
            order of the state. With a time unit, events may arrive in any order. With ``age_unit``
            ``"step"`` or ``"instant"``, those that are older than the events in the state are left
            out. Steps without timestamps are assumed to be newer.

        Returns
        -------
        state : UserStates

        Raises
        ------
        ValueError
            If the state belongs to another encoder or has other users.

        Warns
        -----
        UserWarning
            If events are left out.
        """
        encoder_id = self._online_id()
        columns, histories = self._checked(state, encoder_id), self._read(X_new)
        at = _rows_in_order(state, histories.user_ids, len(histories), "X_new")
        events = self._events_of(histories if at is None else histories[at])
        if self.age_unit not in AGE_SECONDS:
            events = _without_late(events, state, self.age_unit)
        merged = self._merged(columns, self._columns_of(events))
        return UserStates(encoder_id, merged, state.user_ids)

    @of_one_fit
    def merge_states(self, earlier: UserStates, later: UserStates) -> UserStates:
        """Return the states of the same users after the events of both states.

        Parameters
        ----------
        earlier, later : UserStates
            With a time unit their order does not matter, so partial sums can be added in any
            order. With steps and instants, no event of ``later`` may be older than those of
            ``earlier``. Users are matched by ``user_ids`` if both have them.

        Returns
        -------
        state : UserStates
        """
        encoder_id = self._online_id()
        before, after = (self._checked(state, encoder_id) for state in (earlier, later))
        at = _rows_in_order(earlier, later.user_ids, len(later), "later")
        after = after if at is None else later[at].columns
        if self.age_unit not in AGE_SECONDS:
            _refuse_late(before, after, self.age_unit)
        return UserStates(encoder_id, self._merged(before, after), earlier.user_ids)

    @of_one_fit
    def transform_state(self, state: UserStates) -> np.ndarray:
        """Return the vectors that ``transform`` returns for all events of the states.

        They are equal within float32 rounding, except for histories whose likes and dislikes
        almost cancel. A state stores the total weight of all events, not the weight of each item.
        It gives the fallback vector if the sum is below 1e-10 of the total weight; ``transform``
        does so if the sum is below 1e-6 of the total after cancelling within items.

        Parameters
        ----------
        state : UserStates
            States of this encoder.

        Returns
        -------
        user_vectors : ndarray of shape (n_users, n_dims), float32
        """
        columns = self._checked(state, self._online_id())
        averages = unit_vectors_of_sums(columns.sums, columns.masses, columns.signed)
        return self._with_fallback(*self._combined(*averages))

    def _online_id(self) -> str:
        """Return ``encoder_id_``; raise if the vectors cannot be computed from sums."""
        encoder_id = self.encoder_id_
        if self.max_history is not None:
            raise ValueError(
                f"States are not possible with max_history={self.max_history!r}: an old event "
                "cannot be removed from a sum. Set max_history=None; the decay also reduces the "
                "weight of old events."
            )
        if self.repeat_exponent != 1:
            raise ValueError(
                f"States are not possible with repeat_exponent={self.repeat_exponent!r}: damping "
                "repeats needs a sum per item. Set repeat_exponent=1."
            )
        return encoder_id

    def _checked(self, state: UserStates, encoder_id: str) -> Columns:
        if not isinstance(state, UserStates):
            raise ValueError(
                f"state must be UserStates from make_state, got {type(state).__name__}."
            )
        if state.encoder_id != encoder_id:
            raise ValueError(
                f"state was made by encoder {state.encoder_id!r}, this one is {encoder_id!r}. "
                "Compute it again from the histories with make_state(X)."
            )
        return state.columns

    def _columns_of(self, events: Events) -> Columns:
        n_users = events.n_users
        if n_users <= CHUNK_SIZE:
            return self._columns_of_events(events)
        # In chunks, to bound the memory of the vectors of all events.
        return _concatenated(
            [
                self._columns_of_events(events.of_users(start, min(start + CHUNK_SIZE, n_users)))
                for start in range(0, n_users, CHUNK_SIZE)
            ]
        )

    def _columns_of_events(self, events: Events) -> Columns:
        offsets, counts = events.offsets, np.diff(events.offsets)
        ages = events.ages(self.age_unit)
        sums, masses = decayed_sums(
            events.rows, offsets, ages, events.weights, self._decays(), self.item_vectors_
        )
        filled = counts > 0
        oldest, newest = np.full((2, events.n_users), np.nan)
        if events.timestamps is not None and len(events.rows):
            seconds = as_seconds(events.timestamps)
            oldest[filled] = seconds[offsets[:-1][filled]]
            newest[filled] = seconds[offsets[1:][filled] - 1]
        spans = counts
        if self.age_unit == "instant" and events.timestamps is not None:
            opens = np.append(0, np.cumsum(starts_of_runs(events.timestamps, offsets)))
            spans = opens[offsets[1:]] - opens[offsets[:-1]]
        signed = np.zeros(events.n_users, dtype=bool)
        if events.weights is not None and len(events.rows):
            signed[filled] = np.minimum.reduceat(events.weights, offsets[:-1][filled]) < 0
        return Columns(sums, masses, counts, spans, oldest, newest, signed)

    def _merged(self, a: Columns, b: Columns) -> Columns:
        """Return the columns after the events of both; steps and instants of ``b`` are newer."""
        newest = np.fmax(a.newest, b.newest)
        spans = a.spans + b.spans
        if self.age_unit in AGE_SECONDS:
            unit = AGE_SECONDS[self.age_unit]
            # A user without events has no newest time and no sums to decay.
            shift_a = np.nan_to_num(newest - a.newest) / unit
            shift_b = np.nan_to_num(newest - b.newest) / unit
        else:
            shared = (a.newest == b.oldest) & (self.age_unit == "instant")
            spans = spans - shared
            shift_a, shift_b = b.spans - shared, np.zeros(len(b.counts))
        decays = self._decays()
        sums_a, masses_a = aged(a.sums, a.masses, shift_a, decays)
        sums_b, masses_b = aged(b.sums, b.masses, shift_b, decays)
        return Columns(
            sums_a + sums_b,
            masses_a + masses_b,
            a.counts + b.counts,
            spans,
            np.fmin(a.oldest, b.oldest),
            newest,
            a.signed | b.signed,
        )


def _rows_in_order(
    state: UserStates, user_ids: np.ndarray | None, n_users: int, name: str
) -> np.ndarray | None:
    """Return the row of each user of the state among other rows, or None if they are in order."""
    at = None if user_ids is None else rows_of_users(state.user_ids, user_ids, name)
    if n_users == len(state):
        return at
    way_out = "Pass one row per user, and an empty history for a user without new events."
    if user_ids is not None and at is not None:
        stranger = user_ids[np.setdiff1d(np.arange(n_users), at)[0]]
        way_out = f"{shown(stranger)} has no state. Make one with make_state, and concatenate them."
    raise ValueError(f"{name} has {n_users} users, the state has {len(state)}. {way_out}")


def _without_late(events: Events, state: UserStates, age_unit: str) -> Events:
    """Leave out events that are older than those in the state, with a warning."""
    if events.timestamps is None:
        return events
    users, seconds = owners(events.offsets), as_seconds(events.timestamps)
    newest = state.columns.newest[users]
    late = seconds < newest
    if not late.any():
        return events
    first = int(np.flatnonzero(late)[0])
    row = users[first]
    user = f"row {row}" if state.user_ids is None else f"user {shown(state.user_ids[row])}"
    warn_caller(
        f"{late.sum()} of {len(late)} events of X_new are older than the events in the state of "
        f"their user, and are left out, the first of {user} (second {seconds[first]} before "
        f"{newest[first]}). {_only_newer(age_unit)}"
    )
    return events.take(~late, kept_offsets(events.offsets, ~late))


def _refuse_late(earlier: Columns, later: Columns, age_unit: str) -> None:
    late = later.oldest < earlier.newest
    if not late.any():
        return
    row = int(np.flatnonzero(late)[0])
    raise ValueError(
        f"later has events of {int(late.sum())} users that are older than the events in their "
        f"state, the first at row {row} (second {later.oldest[row]} before {earlier.newest[row]}). "
        f"{_only_newer(age_unit)}"
    )


def _only_newer(age_unit: str) -> str:
    return (
        f"age_unit={age_unit!r} counts later events, so only newer ones can be added. Use a time "
        "unit such as 'D', or compute the state again from the whole history."
    )
