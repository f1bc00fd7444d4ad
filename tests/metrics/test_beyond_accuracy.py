"""Average precision, coverage, novelty and intra-list similarity, compared with hand-made cases."""

import numpy as np
import pytest

from skue import (
    DecayAverageUserEncoder,
    ItemEmbeddings,
    RetrievalScores,
    TransitionItemRanker,
)
from skue.metrics._evaluation import evaluate

# Cosines to "a" fall in alphabetical order.
ANGLES = {"a": 0.0, "b": 0.3, "c": 0.6, "d": 0.9, "e": 1.2}
ITEMS = ItemEmbeddings(
    [[np.cos(angle), np.sin(angle)] for angle in ANGLES.values()], ids=list(ANGLES)
)
ENCODER = DecayAverageUserEncoder(ITEMS).fit([["a"]])


def scores_of(X, y, k, encoder=ENCODER, **options):
    return RetrievalScores(k=(k,), beyond_accuracy=True, **options)(encoder, X, y)


def one(*ids):
    y = np.empty(1, dtype=object)
    y[0] = np.array(ids)
    return y


@pytest.mark.parametrize(
    ("held_out", "k", "expected"),
    [
        (["a"], 2, 1),
        (["b"], 2, 1 / 2),
        (["c"], 2, 0),
        (["a", "c"], 3, (1 / 1 + 2 / 3) / 2),
        (["b", "d", "e"], 4, (1 / 2 + 2 / 4) / 3),
        (["b", "c", "d"], 2, (1 / 2) / 2),
        (["b", "nowhere"], 2, (1 / 2) / 2),
    ],
)
def test_average_precision_equals_the_fraction_computed_by_hand(held_out, k, expected):
    scores = RetrievalScores(k=(k,))(ENCODER, [["a"]], one(*held_out))
    assert scores[f"map@{k}"] == pytest.approx(expected)


def test_coverage_is_the_share_of_items_listed_for_anybody():
    # a, b for the first two people, e, d for the third: four of five items.
    X, y = [["a"], ["a"], ["e"]], ["b", "b", "d"]
    assert scores_of(X, y, 2)["coverage@2"] == 4 / 5
    assert scores_of(X[:2], y[:2], 2)["coverage@2"] == 2 / 5


def test_novelty_is_the_mean_self_information_of_the_listed_items():
    # a is in two histories of three, e in one, and b and d in none.
    X, y = [["a"], ["a"], ["e", "e"]], ["b", "b", "d"]
    a, e, unseen = np.log2(4 / 3), np.log2(4 / 2), np.log2(4 / 1)
    expected = (2 * (a + unseen) / 2 + (e + unseen) / 2) / 3
    assert scores_of(X, y, 2)["novelty@2"] == pytest.approx(expected)


def test_similarity_is_the_mean_cosine_of_all_pairs_of_a_list():
    # The list is a, b, c: neighbours are .3 apart, the ends .6.
    expected = (2 * np.cos(0.3) + np.cos(0.6)) / 3
    assert scores_of([["a"]], ["b"], 3)["similarity@3"] == pytest.approx(expected)


def test_the_lists_leave_out_seen_items():
    # b and c for somebody who has a.
    scores = scores_of([["a"]], ["b"], 2, exclude_seen=True)
    assert scores["similarity@2"] == pytest.approx(np.cos(0.3))
    assert scores["novelty@2"] == pytest.approx(np.log2(2))


def test_lists_shorter_than_k_count_what_they_have():
    # Only d and e are left for the first person, and nothing for the second.
    X, y = [["a", "b", "c"], ["a", "b", "c", "d", "e"]], ["d", "d"]
    scores = scores_of(X, y, 4, exclude_seen=True)
    assert scores["coverage@4"] == 2 / 5
    assert scores["similarity@4"] == pytest.approx(np.cos(0.3))
    assert scores["novelty@4"] == pytest.approx(np.log2(3 / 2))


def test_an_estimator_that_scores_items_lists_what_it_recommends():
    X = [["a", "b", "c"], ["b", "c"], ["c", "d"], ["e", "a", "b"]]
    ranker = TransitionItemRanker().fit(X)
    y = ["d", "d", "a", "c"]
    evaluation = evaluate(ranker, X, y, exclude_seen=True, n_listed=3)
    ids, _ = ranker.recommend(X, k=3, exclude_seen=True)
    catalogue = np.append(ranker.item_embeddings_.ids, "")
    assert catalogue[evaluation.lists].tolist() == ids.tolist()
    assert (evaluation.lists < 0).any()


def test_items_without_vectors_have_no_similarity():
    X, y = [["a", "b"], ["b", "c"]], ["c", "a"]
    ranker = TransitionItemRanker().fit(X)
    assert np.isnan(scores_of(X, y, 2, ranker)["similarity@2"])
    assert scores_of(X, y, 3, ranker)["coverage@3"] == 1


def test_the_measures_do_not_change_the_others():
    X, y = [["a"], ["c"], ["e", "a"]], ["b", "a", "nowhere"]
    with_them, without = scores_of(X, y, 3), RetrievalScores(k=(3,))(ENCODER, X, y)
    assert {name: with_them[name] for name in without} == without
    assert set(with_them) - set(without) == {"coverage@3", "novelty@3", "similarity@3"}
