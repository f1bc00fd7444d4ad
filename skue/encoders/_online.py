"""Online update: averages that take new events in without the old ones."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skue.encoders._ages import AGE_SECONDS, as_seconds, event_ages
from skue.encoders._base import UserEncoder
from skue.encoders._choices import AgeUnit
from skue.encoders._chunks import CHUNK_SIZE
from skue.encoders._events import Events
from skue.encoders._state import Columns, UserStates
from skue.encoders._unknown import report_unknown
from skue.histories._forms import validate_histories
from skue.kernels._segments import starts_of_runs
from skue.kernels._states import aged, decayed_sums, unit_vectors_of_sums, with_few_events

# The ids of encoders, with the fitted parts (kept alive) and parameters that they were hashed of.
_ENCODER_IDS: Any = weakref.WeakKeyDictionary()
_FEW_EVENTS = 32


class OnlineAverages(UserEncoder):
    """Base of encoders whose vectors follow from decayed sums.

    A subclass names its decays in ``_state_decays`` and joins the unit vectors of its sums in
    ``_join_parts``.
    """

    age_unit: AgeUnit
    repeat_exponent: float

    def _state_decays(self) -> tuple[float, ...]:
        raise NotImplementedError

    def _join_parts(self, parts: np.ndarray, defined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def make_state(self, X: Any) -> UserStates:
        """Return what must be kept of each user to take later events in.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            Empty histories make the state of new users.

        Returns
        -------
        state : UserStates

        Raises
        ------
        ValueError
            With ``max_history`` or a ``repeat_exponent`` other than 1: both need the events.
        """
        return self._state_of(X, self._online_id())

    def update_state(self, state: UserStates, X_new: Any) -> UserStates:
        """Return the state after new events, as if it had been made from all of them.

        Delivering an event twice counts it twice.

        Parameters
        ----------
        state : UserStates
        X_new : Histories or any form that :func:`skue.as_histories` reads
            New events of the same users, row by row; an empty history for who has none. With a
            time unit they may come in any order. With ``age_unit`` ``"step"`` or ``"instant"``
            they must not be older than what the state holds; without timestamps steps are taken
            to be newer.

        Returns
        -------
        state : UserStates

        Raises
        ------
        ValueError
            For the state of another encoder, another number of users, and events that are late
            in steps or instants.
        """
        encoder_id = self._online_id()
        self._check_state(state, encoder_id)
        X_new = validate_histories(self, X_new, reset=False)
        if len(state) == len(X_new) == 1:
            report_unknown(self, X_new)
            updated = self._updated_alone(state.columns, self._events_of(X_new))
            if updated is not None:
                return UserStates(encoder_id, updated)
        return self._merged(state, self._state_of(X_new, encoder_id), "X_new")

    def merge_states(self, earlier: UserStates, later: UserStates) -> UserStates:
        """Return the states of the same users after the events of both.

        Parameters
        ----------
        earlier, later : UserStates
            With a time unit their order does not matter, so partial sums of any engine add up.
            With steps and instants no event of ``later`` may be older than those of ``earlier``.

        Returns
        -------
        state : UserStates
        """
        encoder_id = self._online_id()
        self._check_state(earlier, encoder_id)
        self._check_state(later, encoder_id)
        return self._merged(earlier, later, "later")

    def transform_state(self, state: UserStates) -> np.ndarray:
        """Return the vectors that ``transform`` gives for all events of the states.

        Equal within float32 rounding; the one exception are histories whose likes and dislikes
        all but cancel. A state knows the weight of all events, but not what was left of each
        item's: it gives the fallback vector where the sum is below 1e-10 of the former,
        ``transform`` where it is below 1e-6 of the latter.

        Parameters
        ----------
        state : UserStates

        Returns
        -------
        user_vectors : ndarray of shape (n_users, n_dims), float32
        """
        self._check_state(state, self._online_id())
        columns = state.columns
        parts, defined = unit_vectors_of_sums(columns.sums, columns.masses, columns.signed)
        return self._with_fallback(*self._join_parts(parts, defined))

    def _online_id(self) -> str:
        if not hasattr(self, "fallback_vector_"):
            check_is_fitted(self, "fallback_vector_")
        if self.max_history is not None:
            raise ValueError(
                f"States are not possible with max_history={self.max_history!r}: an event that "
                "leaves the newest ones cannot be taken out of a sum. Set max_history=None; the "
                "decay forgets too."
            )
        if self.repeat_exponent != 1:
            raise ValueError(
                f"States are not possible with repeat_exponent={self.repeat_exponent!r}: damping "
                "repeats needs every item's own sum. Set repeat_exponent=1."
            )
        fitted = (self.item_embeddings_, self.fallback_vector_)
        parameters = [getattr(self, name) for name in self._output_parameters]
        known = _ENCODER_IDS.get(self)
        # A hash of all arrays would cost more than an update.
        if known is None or known[:2] != (tuple(map(id, fitted)), parameters):
            known = (tuple(map(id, fitted)), parameters, fitted, self.encoder_id_)
            _ENCODER_IDS[self] = known
        return known[3]

    def _check_state(self, state: UserStates, encoder_id: str) -> None:
        if not isinstance(state, UserStates):
            raise ValueError(
                f"state must be UserStates from make_state, got {type(state).__name__}."
            )
        if state.encoder_id != encoder_id:
            raise ValueError(
                f"state was made by encoder {state.encoder_id!r}, this one is {encoder_id!r}. "
                "Make it again from the histories: make_state(X)."
            )

    def _state_of(self, X: Any, encoder_id: str) -> UserStates:
        histories = validate_histories(self, X, reset=False)
        report_unknown(self, histories)
        events = self._events_of(histories)
        n_users = events.n_users
        if n_users <= CHUNK_SIZE:
            return UserStates(encoder_id, self._columns_of(events))
        chunks = range(0, n_users, CHUNK_SIZE)
        parts = [
            self._columns_of(events.of_users(start, min(start + CHUNK_SIZE, n_users)))
            for start in chunks
        ]
        return UserStates(
            encoder_id, Columns(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        )

    def _columns_of(self, events: Events) -> Columns:
        offsets, counts = events.offsets, np.diff(events.offsets)
        ages = event_ages(events, self.age_unit)
        vectors = self.item_embeddings_.vectors
        sums, masses = decayed_sums(
            events.rows, offsets, ages, events.weights, self._state_decays(), vectors
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

    def _updated_alone(self, state: Columns, events: Events) -> Columns | None:
        """Return one user's state after a few events; None where the general way must do it."""
        n_new = len(events.rows)
        if not 0 < n_new <= _FEW_EVENTS or self.age_unit == "instant":
            return None
        newest = state.newest.item()
        times = None if events.timestamps is None else as_seconds(events.timestamps).tolist()
        first, last = (math.nan, math.nan) if times is None else (times[0], times[-1])
        ages: list[float]
        if self.age_unit == "step":
            ages, shift = list(range(n_new - 1, -1, -1)), float(n_new)
            if first < newest:
                return None
        elif times is None:
            return None
        else:
            unit, empty = AGE_SECONDS[self.age_unit], math.isnan(newest)
            latest = last if empty else max(newest, last)
            ages = [(latest - time) / unit for time in times]
            shift = 0.0 if empty else (latest - newest) / unit
        weights = [1.0] * n_new if events.weights is None else events.weights.tolist()
        sums, masses = with_few_events(
            state.sums,
            state.masses,
            shift,
            events.rows,
            ages,
            weights,
            self._state_decays(),
            self.item_embeddings_.vectors,
        )
        return Columns(
            sums,
            masses,
            state.counts + n_new,
            state.spans + n_new,
            np.fmin(state.oldest, first),
            np.fmax(state.newest, last),
            state.signed | (min(weights) < 0),
        )

    def _merged(self, earlier: UserStates, later: UserStates, name: str) -> UserStates:
        a, b = earlier.columns, later.columns
        if len(earlier) != len(later):
            raise ValueError(
                f"{name} holds {len(later)} users, the state {len(earlier)}. Give one row a user, "
                "an empty history for who has no new event."
            )
        newest = np.fmax(a.newest, b.newest)
        spans = a.spans + b.spans
        if self.age_unit in AGE_SECONDS:
            unit = AGE_SECONDS[self.age_unit]
            # A user without events has no newest time, and nothing to age.
            shift_a = np.nan_to_num(newest - a.newest) / unit
            shift_b = np.nan_to_num(newest - b.newest) / unit
        else:
            _refuse_late(a, b, name, self.age_unit)
            shared = (a.newest == b.oldest) & (self.age_unit == "instant")
            spans = spans - shared
            shift_a, shift_b = b.spans - shared, np.zeros(len(later))
        decays = self._state_decays()
        columns = Columns(
            aged(a.sums, shift_a, decays) + aged(b.sums, shift_b, decays),
            aged(a.masses, shift_a, decays) + aged(b.masses, shift_b, decays),
            a.counts + b.counts,
            spans,
            np.fmin(a.oldest, b.oldest),
            newest,
            a.signed | b.signed,
        )
        return UserStates(earlier.encoder_id, columns)


def _refuse_late(earlier: Columns, later: Columns, name: str, age_unit: str) -> None:
    late = later.oldest < earlier.newest
    if not late.any():
        return
    row = int(np.flatnonzero(late)[0])
    raise ValueError(
        f"{name} holds events of {int(late.sum())} users that are older than what their state "
        f"holds, the first at row {row} (second {later.oldest[row]} before {earlier.newest[row]}): "
        f"age_unit={age_unit!r} counts what came after each event, so only newer ones can be "
        "added. Use a time unit such as 'D', or make the state again from the whole history."
    )
