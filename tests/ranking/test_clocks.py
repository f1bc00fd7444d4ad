"""The end of a log does not depend on a few wrong clocks."""

import numpy as np
import pytest

from skue.kernels._clocks import end_of_log

DAY = 86400.0
T0 = 1.7e9


@pytest.mark.parametrize("n_events", [100, 20_000])
@pytest.mark.parametrize("seed", range(2))
def test_without_wrong_clocks_the_end_is_the_newest_time(n_events, seed):
    rng = np.random.default_rng(seed)
    for times in (
        rng.uniform(0, 365 * DAY, n_events),
        rng.integers(0, 200, n_events) * DAY,
        np.cumsum(rng.exponential(DAY, n_events)),
        rng.beta(5, 1, n_events) * 700 * DAY,
        rng.beta(2, 1, n_events) * 1000,
    ):
        assert end_of_log(T0 + times) == (T0 + times.max(), 0)


@pytest.mark.parametrize(
    ("n_events", "days"), [(100, 400), (4000, 40), (20_000, 40), (4000, 365), (4000, 27_000)]
)
def test_a_few_wrong_clocks_do_not_move_the_end(n_events, days):
    times = T0 + np.random.default_rng(0).uniform(0, 365 * DAY, n_events)
    n_wrong = 1 if n_events == 100 else 9
    wrong = T0 + (365 + days) * DAY + np.arange(n_wrong)
    assert end_of_log(np.append(times, wrong)) == (times.max(), n_wrong)
    dates = np.append(times, wrong).astype("datetime64[s]").astype("datetime64[us]")
    end, n_later = end_of_log(dates)
    assert (end, n_later) == (dates[:n_events].max(), n_wrong)


def test_one_event_of_1970_does_not_hide_a_wrong_clock():
    times = T0 + np.arange(1000) * DAY
    assert end_of_log(np.concatenate([[0.0], times, [4.07e9]])) == (times[-1], 1)


def test_a_log_of_few_events_or_of_one_time_is_taken_as_it_is():
    assert end_of_log(np.array([1.0, 2.0, 9e9])) == (9e9, 0)
    assert end_of_log(np.full(1000, 5.0)) == (5.0, 0)
