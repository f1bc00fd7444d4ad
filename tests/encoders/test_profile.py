"""ProfileUserEncoder: items by who chose them, against dense algebra and slow loops."""

import numpy as np
import pytest
import scipy.sparse as sp

from skue import Histories, ItemFeatures, ProfileUserEncoder
from skue.items._choices import FEATURES_SHARE, normalized_choices

N_GROUPS, N_EACH = 8, 12


def people(n_users=300, seed=0):
    """People with a group each, most of whose items are of this group, and the groups."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(N_GROUPS, size=n_users)
    lists = []
    for group in groups:
        of_item = np.where(rng.random(15) < 0.7, group, rng.integers(N_GROUPS, size=15))
        lists.append((N_EACH * of_item + rng.integers(N_EACH, size=15)).tolist())
    return lists, groups


LISTS, GROUPS = people()


def slow_table(lists, item_ids):
    """Return the normalized table of the docstring, entry by entry."""
    counts = np.array([[np.log(1 + row.count(item)) for item in item_ids] for row in lists])
    of_users, of_items = counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist()
    mean_user, mean_item = np.mean(of_users), np.mean(of_items)
    table = np.zeros_like(counts)
    for user, own in enumerate(of_users):
        for item, total in enumerate(of_items):
            table[user, item] = counts[user, item] / np.sqrt(
                (own + mean_user) * (total + mean_item)
            )
    return table


def dense_item_vectors(table, n_dims):
    right = np.linalg.svd(table, full_matrices=False)[2][:n_dims].T
    return right / np.linalg.norm(right, axis=1, keepdims=True)


def cosines(vectors):
    return vectors @ vectors.T


def test_the_normalized_table_is_that_of_a_slow_loop():
    histories = Histories.from_lists(LISTS[:40])._with_used_items()
    expected = slow_table(LISTS[:40], histories.item_ids.tolist())
    np.testing.assert_allclose(normalized_choices(histories).toarray(), expected, atol=1e-6)


@pytest.mark.parametrize("n_dims", [N_GROUPS, 64], ids=["Krylov", "power iterations"])
def test_item_vectors_are_those_of_a_dense_decomposition(n_dims):
    encoder = ProfileUserEncoder(n_dims).fit(LISTS)
    table = slow_table(LISTS, encoder.item_embeddings_.ids.tolist())
    expected = dense_item_vectors(table, n_dims)
    np.testing.assert_allclose(cosines(encoder.item_vectors_), cosines(expected), atol=5e-3)


def test_user_vectors_are_means_over_distinct_items():
    encoder = ProfileUserEncoder(n_dims=8).fit(LISTS)
    vectors = encoder.item_vectors_.astype(np.float64)
    for row, found in zip(LISTS[:20], encoder.transform(LISTS[:20]), strict=True):
        total = sum(vectors[encoder.item_embeddings_.lookup([item])[0]] for item in set(row))
        np.testing.assert_allclose(found, total / np.linalg.norm(total), atol=1e-6)


def test_disliked_items_are_subtracted_and_do_not_count_as_chosen():
    weights = [[1.0] * len(row) for row in LISTS]
    liked = ProfileUserEncoder(n_dims=8).fit(LISTS)
    disliked = Histories.from_lists([*LISTS, [1000, 3]], weights=[*weights, [-1.0, 5.0]])
    encoder = ProfileUserEncoder(n_dims=8).fit(disliked)
    assert encoder.item_embeddings_.lookup([1000])[0] == -1
    assert len(encoder.item_embeddings_) == len(liked.item_embeddings_)
    one = Histories.from_lists([[3, 40]], weights=[[2.0, -0.5]])
    rows = encoder.item_vectors_[encoder.item_embeddings_.lookup([3, 40])].astype(np.float64)
    expected = (rows[0] - rows[1]) / np.linalg.norm(rows[0] - rows[1])
    np.testing.assert_allclose(encoder.transform(one)[0], expected, atol=1e-6)


def test_the_width_is_what_was_asked_for_however_small_the_log():
    vectors = ProfileUserEncoder(n_dims=64).fit_transform([["tea", "cup"], ["cup"], ["tea"]])
    assert vectors.shape == (3, 64)
    assert not vectors[:, 2:].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_items_that_share_nobody_with_the_rest_are_near_the_items_beside_them():
    lists = [*LISTS, *[[f"{200 + item}" for item in range(3)]]]
    lists = [[str(item) for item in row] for row in lists]
    items = ProfileUserEncoder(n_dims=8).fit(lists).item_embeddings_
    rare = items.vectors[items.lookup(["200", "201", "202"])]
    assert cosines(rare).min() > 0.8
    assert np.abs(rare @ items.vectors[items.lookup(["3", "40"])].T).max() < 0.9


def test_a_log_without_pairs_of_items_can_be_fitted():
    vectors = ProfileUserEncoder(n_dims=8).fit_transform([["tea"], ["cup"], ["tea"], []])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[0], vectors[2])
    assert abs(vectors[0] @ vectors[1]) < 0.01


def test_two_fits_of_one_log_give_the_same_bits():
    one, other = (ProfileUserEncoder(n_dims=8, n_jobs=n).fit(LISTS) for n in (None, 2))
    np.testing.assert_array_equal(one.item_vectors_, other.item_vectors_)
    assert one.encoder_id_ == other.encoder_id_


def groups_of_items(ids):
    return sp.csr_array(np.eye(N_GROUPS)[np.asarray(ids) // N_EACH])


def test_features_stand_below_the_table_as_more_rows():
    ids = np.arange(N_GROUPS * N_EACH)
    features = ItemFeatures(groups_of_items(ids), ids)
    encoder = ProfileUserEncoder(n_dims=8, item_features=features).fit(LISTS)
    table = slow_table(LISTS, ids.tolist())
    of_items = np.eye(N_GROUPS)[ids // N_EACH]  # each group is equally frequent
    share = FEATURES_SHARE * np.linalg.norm(table) / np.linalg.norm(of_items)
    expected = dense_item_vectors(np.vstack([table, share * of_items.T]), 8)
    np.testing.assert_allclose(cosines(encoder.item_vectors_), cosines(expected), atol=2e-3)


def test_items_without_events_lie_among_items_with_the_same_features():
    ids = np.arange(N_GROUPS * N_EACH)
    known = [[item for item in row if item % N_EACH] for row in LISTS]
    features = ItemFeatures(groups_of_items(ids), ids)
    encoder = ProfileUserEncoder(n_dims=N_GROUPS, item_features=features).fit(known)
    new = ids[::N_EACH]
    assert encoder.item_embeddings_.ids[encoder.is_new_item_].tolist() == new.tolist()
    nearest, _ = encoder.item_embeddings_.similar_items(new, k=5)
    assert (nearest // N_EACH == new[:, None] // N_EACH).mean() > 0.9
