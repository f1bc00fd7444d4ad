"""split_at: histories before and after a cut-off."""

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories, split_at

pytestmark = pytest.mark.filterwarnings("ignore:No event is", "ignore:The log ends at")


def listed(histories):
    return [row.tolist() for row in histories]


def log(**parts):
    return Histories.from_lists(
        [["tea", "cup", "pot"], ["saw"], []],
        timestamps=[["2026-01-01", "2026-01-10", "2026-01-20"], ["2026-01-15"], []],
        user_ids=["ann", "bob", "cat"],
        **parts,
    )


rows = st.lists(st.integers(0, 30), max_size=8).map(sorted)
logs = st.lists(rows, min_size=1, max_size=6).filter(any)


@settings(max_examples=20)
@given(
    logs,
    st.lists(st.integers(-1, 31), min_size=1, max_size=3),
    st.one_of(st.none(), st.integers(1, 20)),
    st.booleans(),
)
def test_past_ends_at_the_cutoff_and_future_follows_until_the_horizon(
    times, cutoffs, horizon, dates
):
    items = [list(range(10 * user, 10 * user + len(row))) for user, row in enumerate(times)]
    when = [np.array(row, dtype=float) for row in times]
    if dates:
        when = [row.astype("datetime64[s]") for row in when]
    histories = Histories.from_lists(items, timestamps=when)
    at = np.array(cutoffs, dtype="datetime64[s]") if dates else cutoffs
    past, future = split_at(histories, at, horizon=horizon)
    assert len(past) == len(future) == len(times) * len(cutoffs)
    for row in range(len(past)):
        cutoff, user = cutoffs[row // len(times)], row % len(times)
        until = np.inf if horizon is None else cutoff + horizon
        pairs = list(zip(items[user], times[user], strict=True))
        assert past[row].tolist() == [item for item, time in pairs if time <= cutoff]
        assert future[row].tolist() == [item for item, time in pairs if cutoff < time <= until]


def test_both_have_the_same_users_with_everything_known_of_them():
    histories = log(weights=[[1, -2, 3], [4], []]).with_user_features([[1.0], [2.0], [3.0]])
    past, future = split_at(histories, "2026-01-10")
    assert listed(past) == [["tea", "cup"], [], []]
    assert listed(future) == [["pot"], ["saw"], []]
    assert past.weights.tolist() == [1, -2] and future.weights.tolist() == [3, 4]
    for part in (past, future):
        assert part.user_ids.tolist() == ["ann", "bob", "cat"]
        assert part.user_features.tolist() == [[1], [2], [3]]
        assert part.vocabulary is histories.vocabulary


def test_rows_of_several_cutoffs_are_all_users_at_one_then_all_at_the_next():
    past, future = split_at(log(), ["2026-01-05", "2026-01-15"], horizon="7D")
    assert listed(past) == [["tea"], [], [], ["tea", "cup"], ["saw"], []]
    assert listed(future) == [["cup"], [], [], ["pot"], [], []]
    assert past.user_ids.tolist() == ["ann", "bob", "cat"] * 2


@pytest.mark.parametrize(
    "horizon",
    ["10D", "240h", 864_000, np.timedelta64(10, "D"), datetime.timedelta(days=10)],
    ids=repr,
)  # fmt: skip
def test_a_horizon_may_be_written_in_the_usual_ways(horizon):
    for cutoff, histories in (
        ("2026-01-05", log()),
        (345_600, Histories.from_lists([["tea", "cup", "pot"], ["saw"], []],
                                       timestamps=[[0, 777_600, 1_641_600], [1_209_600], []])),
    ):  # fmt: skip
        assert listed(split_at(histories, cutoff, horizon=horizon)[1]) == [["cup"], ["saw"], []]


@pytest.mark.parametrize(
    "horizon",
    ["90", "90d", "0D", -5, float("nan"), np.timedelta64("NaT", "s"), "2026-01-01"],
    ids=repr,
)  # fmt: skip
def test_a_horizon_that_is_no_length_of_time_is_refused(horizon):
    with pytest.raises(
        ValueError, match="horizon must be a positive length of time, such as '90D'"
    ):
        split_at(log(), "2026-01-05", horizon=horizon)


@pytest.mark.parametrize(
    ("cutoff", "message"),
    [
        (5.0, "cutoff must be datetimes, as the timestamps of the histories are, got numbers"),
        (np.datetime64("NaT"), "cutoff must be a time, .*Got"),
        ("soon", "cutoff must be a time.*'soon'"),
        ([], "cutoff must be"),
        ([["2026-01-05"]], "cutoff must be"),
    ],
)
def test_a_cutoff_of_another_kind_is_refused(cutoff, message):
    with pytest.raises(ValueError, match=message):
        split_at(log(), cutoff)


@pytest.mark.parametrize(
    ("cutoff", "message"),
    [
        ("2025-12-01", "No event is up to the cut-off 2025-12-01T.*"),
        ("2026-03-01", "No event is in the future of the cut-off 2026-03-01.* ends at 2026-01-20"),
        ("2026-01-15", "The log ends at 2026-01-20.*within the horizon of the cut-off 2026-01-15"),
    ],
)
def test_a_cutoff_without_events_on_one_side_or_a_whole_horizon_is_a_warning(cutoff, message):
    with pytest.warns(UserWarning, match=message) as caught:
        split_at(log(), cutoff, horizon="40D")
    assert len(caught) == 1
    assert caught[0].filename == __file__
