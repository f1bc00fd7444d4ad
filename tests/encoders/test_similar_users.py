"""similar_users: the people nearest to others, against sorted cosines."""

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings

RNG = np.random.default_rng(0)
ENCODER = DecayAverageUserEncoder(ItemEmbeddings(RNG.normal(size=(30, 5)))).fit([[0]])
LISTS = [RNG.integers(30, size=4).tolist() for _ in range(50)]
NAMES = [f"u{row}" for row in range(50)]
PEOPLE = Histories.from_lists(LISTS, user_ids=NAMES)


def test_neighbours_are_those_of_sorted_cosines_without_the_user():
    ids, scores = ENCODER.similar_users(PEOPLE[:7], PEOPLE, k=4)
    vectors = ENCODER.transform(PEOPLE)
    cosines = vectors[:7] @ vectors.T
    cosines[np.arange(7), np.arange(7)] = -2
    order = np.argsort(-cosines, axis=1)[:, :4]
    assert ids.tolist() == np.array(NAMES)[order].tolist()
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, order, axis=1), atol=1e-6)


def test_seeds_together_find_the_highest_mean_cosines_of_others():
    seeds = PEOPLE[[3, 8, 20]]
    ids, scores = ENCODER.similar_users(seeds, PEOPLE, k=5, together=True)
    vectors = ENCODER.transform(PEOPLE)
    means = (ENCODER.transform(seeds) @ vectors.T).mean(axis=0)
    means[[3, 8, 20]] = -2
    order = np.argsort(-means)[:5]
    assert ids.tolist() == [np.array(NAMES)[order].tolist()]
    np.testing.assert_allclose(scores[0], means[order], atol=1e-6)


def test_without_ids_a_row_is_left_out_only_of_the_same_batch():
    ids, _ = ENCODER.similar_users(LISTS, LISTS, k=1)
    assert (ids[:, 0] != np.arange(50)).all()
    ids, scores = ENCODER.similar_users(LISTS[:3], LISTS, k=1)
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-6)


def test_seeds_that_are_not_among_the_others_are_not_left_out():
    strangers = Histories.from_lists(LISTS[:2], user_ids=["x", "y"])
    ids, _ = ENCODER.similar_users(strangers, PEOPLE, k=1)
    assert ids.tolist() == [["u0"], ["u1"]]


@pytest.mark.parametrize(("names", "missing"), [(NAMES[:3], ""), ([7, 8, 9], -1)])
def test_places_without_a_user_are_filled(names, missing):
    few = Histories.from_lists(LISTS[:3], user_ids=names)
    ids, scores = ENCODER.similar_users(few, few, k=4)
    assert (ids[:, 2:] == missing).all()
    assert np.isneginf(scores[:, 2:]).all()
