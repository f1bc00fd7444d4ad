"""Splits: leave_last_out and temporal_folds."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skue import Histories, leave_last_out, temporal_folds

briefly = settings(max_examples=30)


def listed(histories):
    return [row.tolist() for row in histories]


def test_the_whole_last_instant_is_held_out():
    histories = Histories.from_lists([[1, 2, 3, 4]], timestamps=[[1, 2, 5, 5]])
    X, y = leave_last_out(histories, by="instant")
    assert listed(X) == [[1, 2]]
    assert [target.tolist() for target in y] == [[3, 4]]


def test_users_with_too_few_events_are_dropped_with_one_warning():
    histories = Histories.from_lists([[1], [2, 3], []], user_ids=["a", "b", "c"])
    with pytest.warns(UserWarning, match="2 of 3 users are left out") as caught:
        X, _ = leave_last_out(histories)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert X.user_ids.tolist() == ["b"]


logs = st.lists(st.lists(st.integers(0, 30), max_size=8).map(sorted), min_size=1, max_size=6)


@briefly
@given(logs, st.integers(0, 29))
def test_training_rows_contain_no_event_after_the_cutoff(times, cutoff):
    items = [list(range(10 * user, 10 * user + len(row))) for user, row in enumerate(times)]
    histories = Histories.from_lists(items, timestamps=[[float(t) for t in row] for row in times])
    when = {
        item: t
        for row, ts in zip(items, times, strict=True)
        for item, t in zip(row, ts, strict=True)
    }
    try:
        X, y, cv = temporal_folds(histories, cutoffs=[float(cutoff)])
    except ValueError:
        assume(False)
    (train, test) = cv[0]
    for row in train:
        assert all(when[item] <= cutoff for item in [*X[row], *y[row]])
        assert max(when[item] for item in X[row]) < min(when[item] for item in y[row])
    for row in test:
        assert all(when[item] <= cutoff for item in X[row])
        assert len({when[item] for item in y[row]}) == 1
        assert all(when[item] > cutoff for item in y[row])


def test_cutoffs_divide_the_events_into_equal_parts():
    histories = Histories.from_lists([list(range(12))], timestamps=[list(range(12))])
    X, y, cv = temporal_folds(histories, n_splits=3)
    assert len(cv) == 3
    assert [X[test[0]].tolist()[-1] for _, test in cv] == [2, 5, 8]
    assert [y[test[0]].tolist() for _, test in cv] == [[3], [6], [9]]


def test_cutoffs_are_of_the_kind_of_the_timestamps():
    dates = Histories.from_lists([["a", "b"]], timestamps=[["2026-01-01", "2026-01-03"]])
    with pytest.raises(ValueError, match=r"cutoffs must be datetimes.*got numbers: \[2.0\]"):
        temporal_folds(dates, cutoffs=[2.0])
    numbers = Histories.from_lists([["a", "b"]], timestamps=[[1, 3]])
    with pytest.raises(ValueError, match=r"cutoffs must be numbers.*got datetimes"):
        temporal_folds(numbers, cutoffs=np.array(["2026-01-02"], dtype="datetime64[D]"))


@pytest.mark.parametrize("cutoffs", [[5.0, 5.0], [6.0, 5.0], []])
def test_cutoffs_must_increase(cutoffs):
    histories = Histories.from_lists([list(range(12))], timestamps=[list(range(12))])
    with pytest.raises(ValueError, match="cutoffs must be increasing"):
        temporal_folds(histories, cutoffs=cutoffs)


def test_the_error_for_simultaneous_events_says_so():
    histories = Histories.from_lists([[1, 2, 3], [2, 3]], timestamps=[[5, 5, 5], [7, 7]])
    with pytest.raises(ValueError, match="All events of a user have the same time here"):
        leave_last_out(histories, by="instant")


def test_items_that_nobody_chose_before_stay_targets():
    """Metrics can then report the recall of new items."""
    log = Histories.from_lists([[1, 2], [2, 1, 9]], timestamps=[[10, 20], [10, 20, 30]])
    X, y = leave_last_out(log)
    assert 9 in y and 9 not in X.item_ids[X.codes]
    X, y, cv = temporal_folds(log, cutoffs=[25])
    (_, test) = cv[0]
    assert [target.tolist() for target in y[test]] == [[9]]
    assert 9 not in X.item_ids[X.codes]


def test_one_wrong_clock_is_reported_and_taken_as_of_the_end():
    rng = np.random.default_rng(0)
    lists = [[1, 2, 3, 4]] * 40
    times = [sorted(rng.uniform(1.7e9, 1.71e9, 4)) for _ in lists]
    end = max(map(max, times))
    times[0][-1], wrong = end, [*times[0][:-1], 4.07e9]
    expected = temporal_folds(Histories.from_lists(lists, timestamps=times))
    times[0] = wrong
    with pytest.warns(UserWarning, match=r"1 events are later than .* such as 4 at .* of row 0"):
        X, y, _ = temporal_folds(Histories.from_lists(lists, timestamps=times))
    np.testing.assert_array_equal(X.timestamps, expected[0].timestamps)
    assert listed(X) == listed(expected[0])
    assert [target.tolist() for target in y] == [target.tolist() for target in expected[1]]


def test_what_a_user_disliked_is_no_target():
    lists, times = [[1, 2, 3, 4], [5, 6, 7]], [[1, 2, 3, 4], [1, 2, 2]]
    histories = Histories.from_lists(
        lists, timestamps=times, weights=[[1, -1, 1, -1], [1, 1, -1]], time_unit="s"
    )
    X, y = leave_last_out(histories)
    assert (listed(X), y.tolist()) == ([[1, 2], [5]], [3, 6])
    with pytest.warns(UserWarning, match="1 of 2 users are left out"):
        X, y = leave_last_out(histories, n_last=2)
    assert (listed(X), [target.tolist() for target in y]) == ([[1]], [[3]])
    X, y = leave_last_out(histories, by="instant")
    assert (listed(X), [target.tolist() for target in y]) == ([[1, 2], [5]], [[3], [6]])
    X, y, _ = temporal_folds(histories, cutoffs=[2])
    assert [target.tolist() for target in y] == [[6], [3]]
    assert listed(X) == [[5], [1, 2]]
