"""Item vectors from co-occurrence, compared with slow counting."""

import itertools
from collections import Counter

import numpy as np
import pytest

from skue import CooccurrenceItemEmbedder, Histories
from skue.items._pair_counts import count_pairs
from skue.items._spectral import learned_items, spectral_items
from skue.kernels._pair_counts import degree_normalized, pair_counts

LISTS = [[0, 1, 2, 1], [2, 3], [0, 4, 1, 2, 3, 0], [4]]
TRANSITIONS = {"window": 5, "smoothing": 0.1, "directed": True}


def cooccurrence_counts(histories, window):
    upper = pair_counts(
        histories.codes,
        histories.offsets,
        len(histories.vocabulary),
        window=window,
        timestamps=histories.timestamps,
    )
    assert upper.has_canonical_format
    return (upper + upper.T).toarray()


def transition_counts(histories, window):
    return count_pairs(histories, window=window, directed=True).pairs.toarray()


def share_of_repeats(histories):
    return count_pairs(histories, window=1).share_of_repeats


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
    counts = cooccurrence_counts(histories, window)
    np.testing.assert_allclose(counts, slow_counts(LISTS, window, 5), rtol=1e-6)


@pytest.mark.parametrize("window", [1, 2, 50])
def test_transitions_count_the_later_item_only(window):
    histories = Histories.from_lists(LISTS)
    counts = transition_counts(histories, window)
    expected = np.zeros((5, 5))
    for row in LISTS:
        for i, j in itertools.combinations(range(len(row)), 2):
            if j - i <= window and row[i] != row[j]:
                expected[row[i], row[j]] += 1 / (j - i)
    np.testing.assert_allclose(counts, expected, rtol=1e-6)


def test_transition_embeddings_are_the_sum_of_both_singular_vectors():
    lists = np.random.default_rng(0).permuted(np.tile(np.arange(6), (40, 1)), axis=1)[:, :3]
    histories = Histories.from_lists(lists)
    counts = transition_counts(histories, 5)
    rows, columns = (counts.sum(axis=axis, keepdims=True) for axis in (1, 0))
    rows, columns = rows + 0.1 * rows.mean(), columns + 0.1 * columns.mean()
    left, values, right = np.linalg.svd(counts / np.sqrt(rows * columns))
    expected = (left + right.T) * values**0.25
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    items = learned_items(histories, 6, **TRANSITIONS)
    vectors = items.vectors[items.lookup(histories.item_ids)]
    # Singular vectors are defined up to a common sign, so compare cosines.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


def test_without_transitions_there_are_no_transition_embeddings():
    assert learned_items(Histories.from_lists([[0], [1]]), 4, **TRANSITIONS) is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_counts_are_divided_by_the_root_of_both_degrees(smoothing):
    histories = Histories.from_lists(LISTS)
    table = cooccurrence_counts(histories, 2)
    counts = count_pairs(histories, window=2).pairs
    degrees = table.sum(axis=1)
    added = smoothing * degrees.mean()
    expected = np.zeros_like(table)
    for i, j in zip(*table.nonzero(), strict=True):
        expected[i, j] = table[i, j] / np.sqrt((degrees[i] + added) * (degrees[j] + added))
    np.testing.assert_allclose(
        degree_normalized(counts, smoothing=smoothing).toarray(), expected, rtol=1e-5
    )


def test_items_that_share_contexts_are_similar():
    rng = np.random.default_rng(0)
    lists = [rng.choice(10, 6) + 10 * (user % 2) for user in range(300)]
    items = CooccurrenceItemEmbedder(n_dims=4).fit([row.tolist() for row in lists])
    vectors = items.item_embeddings_.vectors
    cosines = vectors @ vectors.T
    assert cosines[:10, :10].mean() > 0.5 > cosines[:10, 10:].mean() + 0.4


def test_the_share_of_repeats_counts_events_whose_item_occurred_before():
    histories = Histories.from_lists([[0, 1, 0], [2, 2, 2], [0]])
    assert share_of_repeats(histories) == pytest.approx(3 / 7)
    histories = Histories.from_lists([[0, 1], [1, 0]])
    assert share_of_repeats(histories) == 0


def test_repeats_add_a_random_direction_to_each_item():
    """With a share of repeats of 1/6, that direction is 1/6 of the squared length."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(60)[:5].tolist() for _ in range(300)]
    # Within a window of one event, the repeated first item changes no count.
    repeated = [[row[0], *row] for row in lists]
    without, vectors = (
        CooccurrenceItemEmbedder(n_dims=40, window=1).fit(each).item_embeddings_.vectors
        for each in (lists, repeated)
    )
    own_cosines = np.einsum("id,id->i", vectors, without)
    assert own_cosines.mean() == pytest.approx(np.sqrt(5 / 6), abs=0.03)
    others = ~np.eye(len(vectors), dtype=bool)
    slope = np.polyfit((without @ without.T)[others], (vectors @ vectors.T)[others], 1)[0]
    assert slope == pytest.approx(5 / 6, abs=0.05)


def test_items_without_a_pair_are_unknown():
    assert 9 not in CooccurrenceItemEmbedder(n_dims=5).fit([*LISTS, [9]]).item_embeddings_.ids


def test_events_of_negative_weight_are_ignored():
    histories = Histories.from_lists([[0, 1, 2]], weights=[[1, -1, 1]])
    assert CooccurrenceItemEmbedder(n_dims=2).fit(histories).item_embeddings_.ids.tolist() == [0, 2]


def test_without_pairs_the_vectors_are_random_with_a_warning():
    with pytest.warns(UserWarning, match="No two items appear together"):
        items = CooccurrenceItemEmbedder(n_dims=3).fit([[0], [1]]).item_embeddings_
    assert items.vectors.shape == (2, 3)


@pytest.mark.parametrize("for_towers", [False, True])
def test_only_towers_start_with_directions_of_negative_eigenvalues(for_towers):
    lists = np.random.default_rng(0).permuted(np.tile(np.arange(6), (9, 1)), axis=1)[:, :3]
    histories = Histories.from_lists(lists)
    counts = cooccurrence_counts(histories, 5)
    degrees = counts.sum(axis=1) + 0.1 * counts.sum(axis=1).mean()
    values, vectors = np.linalg.eigh(counts / np.sqrt(np.outer(degrees, degrees)))
    assert (values < 0).any()
    expected = vectors * (np.abs(values) if for_towers else np.maximum(values, 0)) ** 0.25
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    if for_towers:
        found = learned_items(histories, 6, window=5, smoothing=0.1)
    else:
        pairs = count_pairs(histories, window=5, directed=False)
        random_state = np.random.RandomState(0)
        found = spectral_items(pairs, 6, random_state, smoothing=0.1)
    vectors = found.vectors[found.lookup(histories.item_ids)]
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


@pytest.mark.parametrize("n_users", [1, 3])
def test_in_one_dimension_a_random_direction_that_cancels_the_vector_is_left_out(n_users):
    lists = [[1, 2, 1, 1, 4, 1], [1, 2, 2, 4, 2, 1], [2, 4, 1, 2, 1]][:n_users]
    repeated = [[row[0], row[0], *row[1:]] for row in lists]
    for log in (lists, repeated, [[1, 2, 1, 2]], [[7, 8], [8, 7, 8, 7]]):
        vectors = CooccurrenceItemEmbedder(n_dims=1).fit(log).item_embeddings_.vectors
        np.testing.assert_array_equal(np.abs(vectors), 1)
