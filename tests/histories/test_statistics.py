"""HistoryStatistics: every column against a loop over one user's events."""

import datetime
import itertools
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories, HistoryStatistics

DAY = 86_400.0
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ON_ALL = pytest.mark.filterwarnings("ignore:X has no")
WITH_ALL = Histories.from_lists([["a"]], timestamps=[[0.0]], weights=[[1.0]])
NAMES = HistoryStatistics().fit(WITH_ALL).columns_


def by_hand(items, times, weights, now, span):
    """Return the statistics of one user, in plain Python."""
    n = len(items)
    found = dict.fromkeys(NAMES, 0.0)
    found |= dict.fromkeys(["days_since_first", "days_since_last", "mean_gap_days"], span)
    if not n:
        return found
    shares = [items.count(item) / n for item in set(items)]
    instants = sorted(set(times))
    gaps = [(b - a) / DAY for a, b in itertools.pairwise(instants)]
    whole = now - min(times)
    n_late = sum(now - time < whole / 4 for time in times)
    found |= {
        "n_events": n,
        "n_distinct_items": len(set(items)),
        "repeat_share": sum(item in items[:at] for at, item in enumerate(items)) / n,
        "breadth": -sum(share * math.log(share) for share in shares),
        "n_instants": len(instants),
        "days_since_first": whole / DAY,
        "days_since_last": (now - max(times)) / DAY,
        "mean_gap_days": sum(gaps) / len(gaps) if gaps else (now - max(times)) / DAY,
        "weight_sum": sum(weights),
        "weight_mean": sum(weights) / n,
    }
    if gaps:
        mean = sum(gaps) / len(gaps)
        found["gap_spread_days"] = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    if whole > 0:
        late, early = n_late / (1 / 4), (n - n_late) / (3 / 4)
        found["trend"] = math.log((late + 1) / (early + 1))
    for time in times:
        moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
        found[f"hour_{moment.hour:02}_share"] += 1 / n
        found[f"{WEEKDAYS[moment.weekday()]}_share"] += 1 / n
    return found


events = st.tuples(
    st.sampled_from("abcd"),
    st.one_of(st.integers(0, 3), st.integers(0, 10**9)),
    st.sampled_from([-2.0, 0.0, 0.5, 3.0]),
)
users = st.lists(st.lists(events, max_size=8), min_size=1, max_size=5).filter(any)


@settings(max_examples=25)
@given(users, st.booleans(), st.integers(0, 10**6))
def test_every_column_equals_a_loop_over_one_users_events(users, dates, later):
    users = [sorted(user, key=lambda event: event[1]) for user in users]
    items, times, weights = ([[event[at] for event in user] for user in users] for at in range(3))
    seconds = [np.array(own, dtype="datetime64[s]" if dates else float) for own in times]
    histories = Histories.from_lists(
        items, timestamps=seconds, weights=weights, time_unit=None if dates else "s"
    )
    now = max(itertools.chain(*times)) + later
    span = (now - min(itertools.chain(*times))) / DAY
    found = HistoryStatistics(np.datetime64(now, "s") if dates else now).fit_transform(histories)
    assert len(NAMES) == 12 + 24 + 7
    for row, events in enumerate(zip(items, times, weights, strict=True)):
        expected = by_hand(*events, now, span)
        np.testing.assert_allclose(found[row], [expected[name] for name in NAMES], atol=1e-9)


def test_users_without_events_get_finite_numbers():
    histories = Histories.from_lists(
        [[1, 2], []], timestamps=[[0.0, 5 * DAY], []], weights=[[1, 1], []]
    )
    found = HistoryStatistics().set_output(transform="pandas").fit_transform(histories)
    assert found.iloc[1][found.iloc[1] != 0].to_dict() == {
        "days_since_first": 5.0,
        "days_since_last": 5.0,
        "mean_gap_days": 5.0,
    }
    nobody = HistoryStatistics().fit(histories).transform([[], []])
    np.testing.assert_array_equal(nobody, found.to_numpy()[[1, 1]])


def test_columns_that_need_times_or_weights_are_left_out_and_named():
    message = "X has no timestamps and no weights, so these columns are left out: n_instants, .*"
    with pytest.warns(UserWarning, match=message + "weight_mean, the shares of hours") as caught:
        statistics = HistoryStatistics().fit([["tea"], ["cup", "cup"]])
    assert len(caught) == 1
    assert statistics.columns_ == ["n_events", "n_distinct_items", "repeat_share", "breadth"]
    assert statistics.now_ is None
    times = Histories.from_lists([[1]], timestamps=[[1.0]])
    with pytest.warns(UserWarning, match="X has no weights.*out: weight_sum, weight_mean. To"):
        assert len(HistoryStatistics().fit(times).columns_) == 10 + 24 + 7


@pytest.mark.parametrize(
    ("parameters", "X", "message"),
    [
        (
            {"columns": ["n_event"]},
            [[1]],
            r"unknown names \['n_event'\]. The columns are n_events, ",
        ),
        ({"columns": ["trend"]}, [[1]], r"The columns \['trend'\] need timestamps, but"),
        ({"columns": ["weight_sum"]}, [[1]], r"\['weight_sum'\] need weights, but X has none"),
        ({"columns": "some"}, [[1]], "'columns' parameter of HistoryStatistics must be"),
        ({"now": "2026-01-01"}, [[1]], "now='2026-01-01' needs histories with timestamps"),
        ({"now": "2026-01-01"}, WITH_ALL, "now must be numbers, as the timestamps of X are"),
        ({"now": "soon"}, WITH_ALL, "now must be a time, .*such as '2026-01-31'.*'soon'"),
        ({"now": -1}, WITH_ALL, "X has no event up to now=-1"),
        ({}, WITH_ALL[:0], r"0 sample\(s\)"),
    ],
)
@ON_ALL
def test_bad_input_is_refused_with_the_way_out(parameters, X, message):
    with pytest.raises(ValueError, match=message):
        HistoryStatistics(**parameters).fit(X)


def test_what_fit_used_transform_needs():
    statistics = HistoryStatistics().fit(WITH_ALL)
    with pytest.raises(ValueError, match="X has no timestamps and no weights"):
        statistics.transform([["a"]])
    dates = Histories.from_lists([["a"]], timestamps=[["2026-01-01"]], weights=[[1.0]])
    with pytest.raises(ValueError, match="timestamps of X must be numbers, as those in fit are"):
        statistics.transform(dates)


@pytest.mark.parametrize("wrong", [4e9, -4e9])
def test_a_wrong_clock_shifts_nobody_else(wrong):
    times = [np.arange(user, 1000, 10) * DAY for user in range(3)]
    times[2] = np.append(times[2], wrong)
    items = [np.zeros(len(own), dtype=int) for own in times]
    log = Histories.from_lists(items, timestamps=times, time_unit="s")
    statistics = HistoryStatistics(columns=["days_since_first", "days_since_last"]).fit(log)
    assert (statistics.now_, statistics.span_days_) == (992 * DAY, 992)
    assert statistics.transform(log[:2]).tolist() == [[992, 2], [991, 1]]
    if wrong > 0:
        with pytest.warns(UserWarning, match="1 of 301 events are later than 85708800.0, where"):
            assert statistics.transform(log)[2].tolist() == [990, 0]


@ON_ALL
def test_all_forms_of_the_same_users_give_the_same_statistics():
    lists, times = [[3, 1, 3], [1]], [[5.0, 5.0, 9e5], [7.0]]
    frame = pd.DataFrame({"items": lists, "timestamps": times}, index=["ann", "bob"])
    expected = HistoryStatistics().fit_transform(Histories.from_lists(lists, timestamps=times))
    found = HistoryStatistics().set_output(transform="pandas").fit_transform(frame)
    np.testing.assert_array_equal(found, expected)
    assert found.index.tolist() == ["ann", "bob"]
    np.testing.assert_array_equal(
        HistoryStatistics().fit_transform(np.array([[3, 1, 3], [1, -1, -1]])),
        HistoryStatistics().fit_transform(lists),
    )


def test_containers_and_pickles_keep_names_and_numbers():
    histories = Histories.from_lists(
        [["a", "b"], ["a"]], timestamps=[[1.0, 2.0], [3.0]], weights=[[1, 2], [3]], user_ids=[7, 9]
    )
    statistics = HistoryStatistics().fit(histories)
    expected = statistics.transform(histories)
    frame = statistics.set_output(transform="pandas").transform(histories)
    assert frame.index.tolist() == [7, 9]
    assert frame.columns.tolist() == statistics.get_feature_names_out().tolist()
    polars = statistics.set_output(transform="polars").transform(histories)
    assert polars.columns == frame.columns.tolist()
    copy = pickle.loads(pickle.dumps(statistics)).set_output(transform="default")
    np.testing.assert_array_equal(copy.transform(histories), expected)


def test_events_after_a_given_now_are_left_out_with_a_warning():
    histories = Histories.from_lists([["a", "b", "c"]], timestamps=[[1.0, 5.0, 9.0]])
    statistics = HistoryStatistics(5, columns=["n_events", "days_since_last"])
    with pytest.warns(UserWarning, match="1 of 3 events are later than now=5"):
        assert statistics.fit_transform(histories).tolist() == [[2, 0]]
