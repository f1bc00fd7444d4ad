"""The table of transitions and its scores, against slow loops, where their bounds matter."""

from itertools import combinations

import numpy as np
import pytest

from skue import Histories
from skue.kernels import _transitions
from skue.kernels._transitions import transition_scores, transition_table
from skue.ranking._counts import ages_in_instants

RNG = np.random.default_rng(3)
N_ITEMS = 12
LISTS = [[int(i) for i in RNG.integers(N_ITEMS, size=n)] for n in (1, 4, 15, 20, 30, 0, 25)]
TIMES = [sorted(float(t) for t in RNG.integers(0, 9, size=len(row))) for row in LISTS]
LOG = Histories.from_lists(LISTS, timestamps=TIMES)


def table_of(histories):
    codes = np.asarray(histories.item_ids)[histories.codes]
    return transition_table(codes, histories.offsets, N_ITEMS, timestamps=histories.timestamps)


def slow_table(most_between, most_followers):
    follows = np.zeros((N_ITEMS, N_ITEMS))
    for row, times in zip(LISTS, TIMES, strict=True):
        baskets = [
            {i for i, t in zip(row, times, strict=True) if t == at} for at in sorted({*times})
        ]
        for first, last in combinations(range(len(baskets)), 2):
            between = sum(map(len, baskets[first + 1 : last]))
            if last - first <= 5 and between <= most_between:
                for i in baskets[first]:
                    for j in baskets[last] - {i}:
                        follows[i, j] += 1 / (last - first)
    n = np.maximum(np.bincount(np.concatenate(LISTS).astype(int), minlength=N_ITEMS), 1)
    table = (follows + follows.T / 2) / np.sqrt(n)[:, None] / n**0.1
    for row in table:
        row[np.argsort(-row, kind="stable")[most_followers:]] = 0
    return table


@pytest.mark.parametrize("most_between", [0, 4])
@pytest.mark.parametrize("most_followers", [5, 200])
def test_the_table_agrees_with_a_slow_loop_for_every_bound(
    most_between, most_followers, monkeypatch
):
    monkeypatch.setattr(_transitions, "_MOST_BETWEEN", most_between)
    monkeypatch.setattr(_transitions, "_MOST_FOLLOWERS", most_followers)
    monkeypatch.setattr(_transitions, "_BLOCK", 7)
    expected = slow_table(most_between, most_followers)
    np.testing.assert_allclose(table_of(LOG).toarray(), expected, rtol=1e-6)


def test_of_equal_followers_the_first_items_are_kept(monkeypatch):
    monkeypatch.setattr(_transitions, "_MOST_FOLLOWERS", 2)
    histories = Histories.from_lists([[0, 3, 2, 1]], timestamps=[[0.0, 1.0, 1.0, 1.0]])
    assert np.flatnonzero(table_of(histories).toarray()[0]).tolist() == [1, 2]


def test_the_order_of_the_users_does_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(_transitions, "_MOST_FOLLOWERS", 4)
    one, other = table_of(LOG), table_of(LOG[::-1])
    np.testing.assert_array_equal(one.toarray(), other.toarray())


@pytest.mark.parametrize("most_items", [2, 50])
def test_scores_are_the_sum_over_the_items_with_the_largest_weights(most_items, monkeypatch):
    monkeypatch.setattr(_transitions, "_MOST_ITEMS", most_items)
    table = table_of(LOG)
    scores = transition_scores(LOG.codes, LOG.offsets, ages_in_instants(LOG), table)
    assert scores.has_sorted_indices
    for row, items, times in zip(scores.toarray(), LISTS, TIMES, strict=True):
        newest = sorted({*times}, reverse=True)
        weights = np.zeros(N_ITEMS)
        for item, time in zip(items, times, strict=True):
            weights[item] += np.exp(-newest.index(time) / 2)
        weights[np.argsort(-weights, kind="stable")[most_items:]] = 0
        np.testing.assert_allclose(row, weights @ table.toarray(), rtol=1e-5)
