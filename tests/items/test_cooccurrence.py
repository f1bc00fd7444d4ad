"""Item vectors from co-occurrence, against slow counting."""

from collections import Counter
from unittest import mock

import numpy as np
import pytest

from skue import CooccurrenceItemEmbedder, Histories
from skue.items import _cooccurrence
from skue.kernels._cooccurrence import (
    cooccurrence_counts,
    degree_normalized,
    share_of_repeats,
)

LISTS = [[0, 1, 2, 1], [2, 3], [0, 4, 1, 2, 3, 0], [4]]


def slow_counts(lists, window, n_items):
    counts = Counter()
    for row in lists:
        for i, left in enumerate(row):
            for j in range(i + 1, min(i + window, len(row) - 1) + 1):
                if left != row[j]:
                    counts[left, row[j]] += 1 / (j - i)
                    counts[row[j], left] += 1 / (j - i)
    table = np.zeros((n_items, n_items))
    for (left, right), count in counts.items():
        table[left, right] = count
    return table


@pytest.mark.parametrize("window", [1, 2, 5, 50])
def test_pairs_count_one_over_their_distance(window):
    histories = Histories.from_lists(LISTS)
    counts = cooccurrence_counts(histories.codes, histories.offsets, 5, window=window)
    np.testing.assert_allclose(counts.toarray(), slow_counts(LISTS, window, 5), rtol=1e-6)


def test_items_of_one_basket_are_neighbours_whatever_their_order():
    first = Histories.from_lists([[0, 1, 2, 3]], timestamps=[[1, 1, 1, 2]])
    second = Histories.from_lists([[2, 0, 1, 3]], timestamps=[[1, 1, 1, 2]])
    tables = [
        cooccurrence_counts(h.codes, h.offsets, 4, window=1, timestamps=h.timestamps).toarray()
        for h in (first, second)
    ]
    np.testing.assert_array_equal(tables[0], tables[1])
    assert tables[0][0, 2] == tables[0][0, 3] == 1


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_counts_are_divided_by_the_root_of_both_degrees(smoothing):
    histories = Histories.from_lists(LISTS)
    counts = cooccurrence_counts(histories.codes, histories.offsets, 5, window=2)
    table = counts.toarray().astype(float)
    degrees = table.sum(axis=1)
    added = smoothing * degrees.mean()
    expected = np.zeros_like(table)
    for i, j in zip(*table.nonzero(), strict=True):
        expected[i, j] = table[i, j] / np.sqrt((degrees[i] + added) * (degrees[j] + added))
    np.testing.assert_allclose(
        degree_normalized(counts, smoothing=smoothing).toarray(), expected, rtol=1e-5
    )


def test_two_groups_that_never_meet_are_at_right_angles():
    lists = [[0, 1, 2], [1, 2, 0], [5, 6], [6, 5, 7]]
    items = CooccurrenceItemEmbedder(n_dims=6).fit(lists).item_embeddings_
    cosines = items.vectors @ items.vectors.T
    np.testing.assert_allclose(cosines[:3, 3:], 0, atol=1e-5)


def test_items_that_share_contexts_are_close():
    rng = np.random.default_rng(0)
    lists = [rng.choice(10, 6) + 10 * (user % 2) for user in range(300)]
    items = CooccurrenceItemEmbedder(n_dims=4).fit([row.tolist() for row in lists])
    vectors = items.item_embeddings_.vectors
    cosines = vectors @ vectors.T
    assert cosines[:10, :10].mean() > 0.5 > cosines[:10, 10:].mean() + 0.4


def test_the_vectors_are_the_same_every_time():
    first = CooccurrenceItemEmbedder(n_dims=3).fit(LISTS).item_embeddings_
    assert CooccurrenceItemEmbedder(n_dims=3).fit(LISTS).item_embeddings_.space_id == first.space_id


def test_items_that_people_come_back_to_are_nearer_to_themselves():
    """A third of the events repeat an item, so the square of a vector's own part is a third."""
    lists = [row for row in LISTS if len(set(row)) == len(row)] * 3
    assert lists
    again = [row + row[: len(row) // 2] for row in lists]
    n_events = sum(map(len, again))
    share = 1 - sum(map(len, lists)) / n_events
    assert 0.2 < share < 0.4
    offsets = np.cumsum([0, *map(len, again)])
    assert share_of_repeats(np.concatenate(again), offsets) == pytest.approx(share)
    assert share_of_repeats(np.concatenate(lists), np.cumsum([0, *map(len, lists)])) == 0


def test_an_items_own_direction_has_the_share_of_repeats():
    rng = np.random.default_rng(0)
    lists = [[*row, row[0]] for row in (rng.permutation(60)[:5] for _ in range(300))]
    with_own = CooccurrenceItemEmbedder(n_dims=40).fit(lists).item_embeddings_.vectors
    with mock.patch.object(_cooccurrence, "share_of_repeats", return_value=0.0):
        without = CooccurrenceItemEmbedder(n_dims=40).fit(lists).item_embeddings_.vectors
    cosines = np.einsum("id,id->i", with_own, without)
    # One event of six repeats an item; the own part is at right angles but for chance.
    assert cosines.mean() == pytest.approx(np.sqrt(5 / 6), abs=0.03)


def test_items_without_a_pair_are_unknown():
    assert 9 not in CooccurrenceItemEmbedder(n_dims=5).fit([*LISTS, [9]]).item_embeddings_.ids


def test_disliked_events_are_left_out():
    histories = Histories.from_lists([[0, 1, 2]], weights=[[1, -1, 1]])
    assert CooccurrenceItemEmbedder(n_dims=2).fit(histories).item_embeddings_.ids.tolist() == [0, 2]


def test_no_pair_at_all_gives_random_directions_and_says_so():
    with pytest.warns(UserWarning, match="No two items appear together"):
        items = CooccurrenceItemEmbedder(n_dims=3).fit([[0], [1]]).item_embeddings_
    assert items.vectors.shape == (2, 3)


def test_no_event_at_all_is_an_error():
    with pytest.raises(ValueError, match="X holds no event"):
        CooccurrenceItemEmbedder().fit([[], []])
