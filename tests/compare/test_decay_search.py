"""The search for the decay: the edges of its grid, and how it is widened."""

import numpy as np
import pytest

from skue import Histories, ItemEmbeddings
from skue.compare import _search
from skue.compare._search import beyond, search_decay
from skue.compare._task import make_task


def trials(best, *, decays=(0.0, 0.5, 2.0), exponent=1.0, unit="step"):
    return [
        {
            "decay": decay,
            "age_unit": unit,
            "repeat_exponent": exponent,
            "recall": float(decay == best),
        }
        for decay in decays
    ]


@pytest.mark.parametrize(
    ("best", "decays", "expected"),
    [
        (2.0, (0.0, 0.5, 2.0), 4.0),
        (0.5, (0.0, 0.5, 2.0), None),
        (0.0, (0.0, 0.5, 2.0), None),
        (0.1, (0.1, 0.5, 2.0), 0.05),
    ],
    ids=["largest", "inside", "zero", "smallest"],
)
def test_beyond_returns_the_next_decay_at_the_edges(best, decays, expected):
    assert beyond(trials(best, decays=decays)) == expected


def test_beyond_returns_none_for_repeat_exponent_0():
    assert beyond(trials(2.0, exponent=0.0)) is None


def test_each_age_unit_has_its_own_edge():
    days = trials(0.1, decays=(0.02, 0.1), unit="D")
    instants = trials(9.0, decays=(0.0, 2.0), unit="instant")
    assert beyond(instants + days) == 0.2


def newest_item_comes_again():
    """Return histories whose held-out item is the newest one, after another item 1 to 3 times.

    The newest item is the nearest for decays above 0, 0.48 and 0.61, respectively: where
    exp(-d) + exp(-2 d) + ... is below 1.
    """
    lists = [
        [n_before, *[n_before] * extra, 9 - n_before, 9 - n_before, 9 - n_before]
        for extra in range(3)
        for n_before in range(4)
    ]
    return Histories.from_lists(lists)


def test_a_grid_that_ends_before_the_best_decay_is_widened(monkeypatch):
    monkeypatch.setattr(_search, "_DECAYS", [0.0, 0.3])
    monkeypatch.setattr(_search, "_REPEAT_EXPONENTS", [1.0])
    items = ItemEmbeddings(np.eye(10), ids=range(10))
    task = make_task(newest_item_comes_again(), "last")
    reported = []
    found = search_decay(
        task, items, k=1, exclude_seen=False, on_trial=lambda *done: reported.append(done)
    )
    assert found.widened_to == [0.6, 1.2, 2.4]
    assert found.found["decay"] == 1.2
    assert not found.on_edge
    recalls = {trial["decay"]: trial["recall"] for trial in found.trials}
    assert recalls == pytest.approx({0.0: 1 / 6, 0.3: 1 / 3, 0.6: 2 / 3, 1.2: 1.0, 2.4: 1.0})
    assert len(reported) == len(found.trials)
    assert all(n_done < n_trials for n_done, n_trials in reported)


def test_the_grid_is_widened_at_most_three_times(monkeypatch):
    class TheSteeperTheBetter:
        def __init__(self, *args, **named):
            pass

        def __call__(self, encoder, X, y):
            return encoder.decay

    monkeypatch.setattr(_search, "RecallAtK", TheSteeperTheBetter)
    task = make_task(newest_item_comes_again(), "last")
    items = ItemEmbeddings(np.eye(10), ids=range(10))
    found = search_decay(task, items, k=1, exclude_seen=False)
    assert found.widened_to == [4.0, 8.0, 16.0]
    assert found.on_edge
