"""Numbers that describe histories: how much, how lately, how regularly, how varied and when."""

from __future__ import annotations

import datetime
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skue._estimator import DocumentationLink, atomic_fit, of_one_fit, warn_caller
from skue.histories._clocks import described
from skue.histories._columns import as_times, moments_of, refuse_other_kind
from skue.histories._forms import check_columns, indexed_by_user, validate_histories
from skue.histories._histories import Histories
from skue.kernels._arrays import kept_offsets, owners, starts_of_runs, user_item_keys
from skue.kernels._clocks import as_seconds, end_of_log
from skue.kernels._pooling import sums_by_user

_DAY, _HOUR = 86_400.0, 3600.0
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_THURSDAY = 3  # 1 January 1970, counted from Monday
_OF_ITEMS = ("n_events", "n_distinct_items", "repeat_share", "breadth")
_OF_TIMES = (
    *("n_instants", "days_since_first", "days_since_last"),
    *("mean_gap_days", "gap_spread_days", "trend"),
)
_OF_WEIGHTS = ("weight_sum", "weight_mean")
_OF_HOURS = tuple(f"hour_{hour:02}_share" for hour in range(24))
_OF_WEEKDAYS = tuple(f"{day}_share" for day in _WEEKDAYS)
_NAMES = (*_OF_ITEMS, *_OF_TIMES, *_OF_WEIGHTS, *_OF_HOURS, *_OF_WEEKDAYS)
# Columns of a log that statistics need.
_NEEDED_BY = {"timestamps": {*_OF_TIMES, *_OF_HOURS, *_OF_WEEKDAYS}, "weights": {*_OF_WEIGHTS}}
# Events may be later than the log that was fitted by this part of its length without a warning.
_PART_OF_SPAN = 20


class HistoryStatistics(DocumentationLink, TransformerMixin, BaseEstimator):
    r"""Describe each history by named numbers: activity, recency, regularity, spend, breadth.

    These are the columns that people write by hand before a model of churn, value or propensity.
    A unit-length user vector does not say how active somebody is, so the two go well together:
    ``make_union(HistoryStatistics(), encoder)``.

    Parameters
    ----------
    now : datetime, str or number, default=None
        The time as of which users are described, of the kind of the timestamps. Events after it
        are left out with a warning, so nothing of the future gets in; an event at ``now`` counts,
        as in :func:`split_at`. By default, the newest time of the histories in ``fit``, where a
        few events with a wrong clock do not count. Events after that (a wrong clock, or newer
        events in ``transform``) count as events at ``now``, with a warning if they are later by
        more than 5 % of the length of the log.
    columns : "all" or list of str, default="all"
        Names of the columns, in this order. ``"all"`` leaves out those that need timestamps or
        weights if the histories have none, with a warning.

    Attributes
    ----------
    columns_ : list of str
        Names of the columns of the output.
    now_ : datetime64 or float, or None
        The time as of which users are described. None without timestamps, and if it is neither
        given nor known from an event; all events are then taken as of one time.
    span_days_ : float or None
        Length of the log in days, from its first event to ``now_``, where a few events with a
        wrong clock do not count. None without timestamps.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    Warns
    -----
    UserWarning
        In ``fit``, if columns are left out, or if X has no event. In ``transform``, if events are
        later than ``now_``.

    See Also
    --------
    split_at : Histories before and after a cut-off, for features and labels.

    Notes
    -----
    A user has :math:`n` events at the times :math:`t_1 \le \dots \le t_n`, of which :math:`m` are
    distinct (instants). :math:`c_i` of the events are of item :math:`i`, and :math:`d` items are
    distinct. Days are of 86,400 seconds.

    ===================== ==========================================================================
    column                value
    ===================== ==========================================================================
    n_events              :math:`n`
    n_distinct_items      :math:`d`
    repeat_share          :math:`1 - d / n`, the share of events that repeat an item
    breadth               :math:`-\sum_i \frac{c_i}{n} \ln \frac{c_i}{n}`, the entropy of the items
    n_instants            :math:`m`
    days_since_first      :math:`T = now - t_1`
    days_since_last       :math:`now - t_n`
    mean_gap_days         :math:`(t_n - t_1) / (m - 1)`, the mean gap between instants; for one
                          instant, the time since then
    gap_spread_days       standard deviation of the :math:`m - 1` gaps; 0 for fewer than 2
    trend                 :math:`\ln \frac{1 + 4 l}{1 + \frac{4}{3} (n - l)}`, where :math:`l`
                          events are after :math:`now - T / 4`: the rates (events per :math:`T`)
                          in the last quarter of the user's time and before it, each plus 1. 0 for
                          a steady user, and for :math:`T = 0`
    hour_00_share, ...    share of the events in each hour of the day, 00 to 23, in UTC
    monday_share, ...     share of the events on each day of the week, in UTC
    weight_sum            sum of the weights, for example the spend
    weight_mean           mean of the weights
    ===================== ==========================================================================

    Users without events get 0, except that the days since their first and last event and their
    mean gap are ``span_days_``: nothing happened during the whole log.

    Timestamps that are numbers are seconds. Hours and weekdays take them as seconds since 1970.

    All rows are described as of the same time. For users at several cut-offs, describe each
    cut-off with a ``now`` of its own and stack the results.

    Examples
    --------
    >>> from skue import Histories, HistoryStatistics
    >>> histories = Histories.from_lists(
    ...     [["tea", "cup", "tea"], ["saw"], []],
    ...     timestamps=[["2026-01-01", "2026-01-03", "2026-01-09"], ["2026-01-05"], []],
    ... )
    >>> columns = ["n_events", "days_since_last", "mean_gap_days", "repeat_share"]
    >>> statistics = HistoryStatistics(now="2026-01-11", columns=columns)
    >>> print(statistics.set_output(transform="pandas").fit_transform(histories).round(2))
       n_events  days_since_last  mean_gap_days  repeat_share
    0       3.0              2.0            4.0          0.33
    1       1.0              6.0            6.0          0.00
    2       0.0             10.0           10.0          0.00
    """

    # All but the columns that need times are the same in any order.
    _uses_order: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "now": [None, Real, str, np.datetime64, datetime.date],
        "columns": [StrOptions({"all"}), "array-like"],
    }

    now_: Any
    span_days_: Any

    def __init__(self, now: Any = None, *, columns: Any = "all") -> None:
        self.now = now
        self.columns = columns

    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Choose the columns, and find the end of the log.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to learn from, one per user.
        y : None
            Ignored.

        Returns
        -------
        self : HistoryStatistics

        Raises
        ------
        ValueError
            For unknown columns, for columns that need timestamps or weights that X does not have,
            for ``now`` of another kind than the timestamps, and if all events are later than
            ``now``.
        """
        histories = validate_histories(self, X, reset=True)
        times = histories.timestamps
        if times is None and self.now is not None:
            raise ValueError(
                f"now={self.now!r} needs histories with timestamps, but X has none. Pass them, or "
                "set now=None."
            )
        lacking = [need for need in _NEEDED_BY if getattr(histories, need) is None]
        self.columns_ = self._chosen_columns(lacking)
        needs = {need for need, names in _NEEDED_BY.items() if names.intersection(self.columns_)}
        if self.now is not None:
            needs.add("timestamps")
        self._needs = tuple(sorted(needs))
        self.now_, self.span_days_ = (None, None) if times is None else self._end_and_span(times)
        return self

    def _chosen_columns(self, lacking: list[str]) -> list[str]:
        left_out = _left_out(lacking)
        if isinstance(self.columns, str):
            if left_out:
                shown = [n for n in (*_OF_TIMES, *_OF_WEIGHTS) if n in left_out]
                if "timestamps" in lacking:
                    shown.append("the shares of hours and weekdays")
                warn_caller(
                    f"X has no {' and no '.join(lacking)}, so these columns are left out: "
                    f"{', '.join(shown)}. To choose columns, set columns=[...]."
                )
            return [name for name in _NAMES if name not in left_out]
        columns = list(self.columns)
        unknown = [name for name in columns if name not in _NAMES]
        if unknown:
            raise ValueError(
                f"columns has unknown names {unknown}. The columns are {', '.join(_NAMES)}."
            )
        for need in lacking:
            refused = [name for name in columns if name in _NEEDED_BY[need]]
            if refused:
                raise ValueError(
                    f"The columns {refused} need {need}, but X has none. Pass Histories or a frame "
                    "with them, or leave these columns out."
                )
        return columns

    def _end_and_span(self, times: np.ndarray) -> tuple[Any, float]:
        """Return ``now_`` and ``span_days_``."""
        if not len(times):  # and their type says nothing
            warn_caller(
                "X has no event, so the length of the log is unknown and taken as 0. Pass "
                "histories with events."
            )
            return None if self.now is None else as_times([self.now], "now")[0], 0.0
        if self.now is None:
            now, _ = end_of_log(times)
        else:
            (now,) = moments_of([self.now], times, "now", "the timestamps of X")
            times = times[times <= now]
            if not len(times):
                raise ValueError(
                    f"X has no event up to now={self.now!r}, so the length of the log is unknown."
                )
        first, _ = end_of_log(-as_seconds(times))
        return now, max(0.0, (_seconds_of(now) + float(first)) / _DAY)

    @of_one_fit
    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return the statistics of each user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            With timestamps and weights, if columns need them.

        Returns
        -------
        statistics : ndarray of shape (n_users, n_columns), float64
            Finite numbers. With pandas output, a DataFrame indexed by ``user_ids`` if X is
            Histories with user ids.
        """
        check_is_fitted(self, "columns_")
        histories = validate_histories(self, X, reset=False)
        check_columns(self, histories)
        histories, seconds = self._as_of_now(histories)
        offsets, chosen = histories.offsets, set(self.columns_)
        found: dict[str, np.ndarray] = {}
        if chosen.intersection(_OF_ITEMS):
            found |= _of_items(histories)
        if chosen.intersection(_OF_TIMES):
            now = 0.0 if self.now_ is None else _seconds_of(self.now_)
            found |= _of_times(seconds, offsets, now, self.span_days_)
        if chosen.intersection(_OF_WEIGHTS):
            found |= _of_weights(histories)
        if chosen.intersection(_OF_HOURS):
            found |= _shares(seconds // _HOUR % 24, offsets, _OF_HOURS)
        if chosen.intersection(_OF_WEEKDAYS):
            found |= _shares((seconds // _DAY + _THURSDAY) % 7, offsets, _OF_WEEKDAYS)
        statistics = np.empty((len(histories), len(self.columns_)))
        for place, name in enumerate(self.columns_):
            statistics[:, place] = found[name]
        return indexed_by_user(self, statistics, X)

    def _as_of_now(self, histories: Histories) -> tuple[Histories, np.ndarray]:
        """Return the histories up to ``now_``, and the times in seconds."""
        times = histories.timestamps
        if times is None or not len(times):
            return histories, np.empty(0)
        if self.now_ is None:
            return histories, np.zeros(len(times))
        refuse_other_kind(times, np.asarray(self.now_), "the timestamps of X", "those in fit")
        if self.now is not None:
            later = times > self.now_
            if later.any():
                histories = histories._keep_events(~later)
                warn_caller(
                    f"{later.sum()} of {len(times)} events are later than now={self.now!r}. They "
                    "are left out."
                )
                times = times[~later]
            return histories, as_seconds(times)
        now, seconds = _seconds_of(self.now_), as_seconds(times)
        late = np.flatnonzero(seconds > now + self.span_days_ * _DAY / _PART_OF_SPAN)
        if len(late):
            warn_caller(
                f"{len(late)} of {len(times)} events are later than {self.now_}, where the log "
                f"that was fitted ends, such as {described(histories, late[0])}. They are taken as "
                "if they were of that time. If their clocks are right, fit again or set now."
            )
        return histories, np.minimum(seconds, now)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of shape (n_columns,), object
        """
        check_is_fitted(self, "columns_")
        return np.array(self.columns_, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def statistics_of_all(*batches: Histories) -> list[str]:
    """Return the names of the statistics that all these histories can give."""
    lacking = [n for n in _NEEDED_BY if any(getattr(batch, n) is None for batch in batches)]
    return [name for name in _NAMES if name not in _left_out(lacking)]


def _left_out(lacking: list[str]) -> set[str]:
    """Return the statistics that need a column which is lacking."""
    return {name for need in lacking for name in _NEEDED_BY[need]}


def _seconds_of(time: Any) -> float:
    return float(as_seconds(np.asarray(time)))


def _divided(sums: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Divide sums by numbers; 0 where there is nothing."""
    return sums / np.maximum(numbers, 1)


def _of_items(histories: Histories) -> dict[str, np.ndarray]:
    n_items, n_events = max(len(histories.item_ids), 1), histories.lengths
    keys = user_item_keys(owners(histories.offsets), histories.codes, n_items)
    pairs, counts = np.unique(keys, return_counts=True)
    users = pairs // n_items
    n_distinct = np.bincount(users, minlength=len(histories))
    # The entropy is ln n - sum(c ln c) / n.
    logs = np.bincount(users, counts * np.log(counts), minlength=len(histories))
    breadth = np.log(np.maximum(n_events, 1)) - _divided(logs, n_events)
    return {
        "n_events": n_events,
        "n_distinct_items": n_distinct,
        "repeat_share": _divided(n_events - n_distinct, n_events),
        "breadth": np.where(n_distinct > 1, np.maximum(breadth, 0), 0),
    }


def _of_times(
    seconds: np.ndarray, offsets: np.ndarray, now: float, span_days: float
) -> dict[str, np.ndarray]:
    n_events = np.diff(offsets)
    filled = n_events > 0
    since_first = np.full(len(n_events), span_days)
    since_last = since_first.copy()
    since_first[filled] = (now - seconds[offsets[:-1][filled]]) / _DAY
    since_last[filled] = (now - seconds[offsets[1:][filled] - 1]) / _DAY

    opens = starts_of_runs(seconds, offsets)
    instants, instant_offsets = seconds[opens], kept_offsets(offsets, opens)
    n_instants = np.diff(instant_offsets)
    follows = np.ones(len(instants), dtype=bool)
    follows[instant_offsets[:-1][filled]] = False
    gaps = np.diff(instants, prepend=0.0)[follows] / _DAY
    gap_offsets = kept_offsets(instant_offsets, follows)
    n_gaps = np.diff(gap_offsets)
    mean_gap = _divided(since_first - since_last, n_gaps)
    squares = np.square(gaps - np.repeat(mean_gap, n_gaps))
    spread = np.sqrt(_divided(sums_by_user(squares, gap_offsets), n_gaps))

    ages = (now - seconds) / _DAY
    late = ages < np.repeat(since_first / 4, n_events)
    n_late = np.diff(kept_offsets(offsets, late))
    trend = np.log((1 + 4 * n_late) / (1 + 4 / 3 * (n_events - n_late)))
    return {
        "n_instants": n_instants,
        "days_since_first": since_first,
        "days_since_last": since_last,
        "mean_gap_days": np.where(n_gaps > 0, mean_gap, since_last),
        "gap_spread_days": spread,
        "trend": np.where(since_first > 0, trend, 0),
    }


def _of_weights(histories: Histories) -> dict[str, np.ndarray]:
    total = np.zeros(len(histories))
    if histories.weights is not None:
        total = sums_by_user(histories.weights, histories.offsets)
    return {"weight_sum": total, "weight_mean": _divided(total, histories.lengths)}


def _shares(
    kinds: np.ndarray, offsets: np.ndarray, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return the share of each user's events of each kind (0, 1, ...)."""
    n_users = len(offsets) - 1
    keys = user_item_keys(owners(offsets), kinds.astype(np.int64), len(names))
    counts = np.bincount(keys, minlength=n_users * len(names)).reshape(n_users, len(names))
    return dict(zip(names, _divided(counts.T, np.diff(offsets)), strict=True))
