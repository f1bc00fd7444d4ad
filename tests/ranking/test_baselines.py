"""The rankers that count, and a ranker of one's own on the public base class."""

import numpy as np
import pytest

from skue import (
    Histories,
    ItemRanker,
    OwnFrequencyRanker,
    PopularityRanker,
    RecallAtK,
    RetrievalScores,
    SimilarUsersRanker,
    TransitionItemRanker,
    leave_last_out,
)

RNG = np.random.default_rng(1)
RANKERS = [
    PopularityRanker(),
    OwnFrequencyRanker(),
    SimilarUsersRanker(),
    TransitionItemRanker(),
]
LISTS = [[int(i) for i in RNG.integers(8, size=RNG.integers(1, 9))] for _ in range(40)]


def slow_scores(history, lists, n_items):
    """Scores from the formula, by loops."""
    follows = np.zeros((n_items, n_items))
    for row in lists:
        for at, item in enumerate(row):
            for gap in range(1, 6):
                if at + gap < len(row) and row[at + gap] != item:
                    follows[item, row[at + gap]] += 1 / gap
    n = np.bincount(np.concatenate(lists), minlength=n_items)
    table = (follows + follows.T / 2) / np.sqrt(n)[:, None] / n**0.1
    scores = sum(np.exp(-age / 2) * table[item] for age, item in enumerate(reversed(history)))
    people = np.array([sum(item in row for row in lists) for item in range(n_items)])
    counts = sorted(set(people))
    below = [(counts.index(count) + 1) / (len(counts) + 1) - 1 for count in people]
    return np.where(scores > 0, scores, below)


def test_scores_are_those_of_the_formula():
    ranker = TransitionItemRanker().fit(LISTS)
    scores = ranker._scores(ranker._read(LISTS))(0, len(LISTS))
    assert set(ranker.item_embeddings_.ids) == set(range(8))
    for row, history in zip(scores, LISTS, strict=True):
        np.testing.assert_allclose(row, slow_scores(history, LISTS, 8), rtol=1e-5)


def test_items_of_one_instant_do_not_follow_one_another():
    histories = Histories.from_lists([[0, 1, 2]], timestamps=[[1.0, 1.0, 2.0]])
    table = TransitionItemRanker().fit(histories).counts_.transitions.toarray()
    assert table[0, 1] == 0 < table[0, 2]


@pytest.mark.parametrize("n_newer", [50, 210, 2000])
def test_what_follows_an_old_item_ranks_above_what_does_not_follow(n_newer):
    ranker = TransitionItemRanker().fit([["a", "b"]] * 3 + [["p"]] * 10 + [["x"]])
    assert ranker.recommend([["a", *["x"] * n_newer]], k=2)[0].tolist() == [["b", "p"]]


def test_metrics_rank_the_whole_catalogue_by_its_scores():
    X, y = leave_last_out([row for row in LISTS if len(row) > 1])
    ranker = TransitionItemRanker().fit(X)
    ids, _ = ranker.recommend(X, k=3)
    hits = np.mean([target in row for target, row in zip(y, ids, strict=True)])
    assert 0 < hits < 1
    assert RecallAtK(3)(ranker, X, y) == pytest.approx(hits)


def test_a_small_difference_in_popularity_is_no_tie_for_the_metrics():
    ranker = TransitionItemRanker().fit([["a"]] * 2000 + [["b"]] * 1999)
    assert ranker.recommend([[]], k=1)[0].tolist() == [["a"]]
    assert RecallAtK(1)(ranker, [[], []], ["a", "b"]) == 0.5
    assert RecallAtK(1)(ranker, [[]], ["a"]) == 1.0


@pytest.mark.parametrize("ranker", RANKERS, ids=repr)
def test_a_log_without_liked_events_is_refused(ranker):
    log = Histories.from_lists([["a", "b"]], weights=[[-1.0, 0.0]])
    with pytest.raises(ValueError, match="no event with a positive weight"):
        ranker.fit(log)


LOG = [["a", "a", "a", "b", "b", "c", "d"]]


@pytest.mark.parametrize(
    ("ranker", "expected"),
    [
        (PopularityRanker(), [3, 2, 1, 1]),
        (OwnFrequencyRanker(beta=0.5), [0 + 1 / 2, 1 + 1 / 3, 2 + 1 / 6, 1 + 1 / 6]),
        (OwnFrequencyRanker(beta=9.0), [0 + 9, 1 + 6, 2 + 3, 1 + 3]),
        # One item of four is not shared, so the similarity to the other user is 3 / (3 ** .25 *
        # 4 ** .75); the events are the user's 4 of 4, and the other's 7 of 7.
        (
            SimilarUsersRanker(),
            (3 / (3**0.25 * 4**0.75)) ** 5 * np.array([3, 2, 1, 1]) / 7
            + np.array([0, 1, 2, 1]) / 4,
        ),
    ],
    ids=repr,
)
def test_scores_are_those_made_by_hand(ranker, expected):
    ids, scores = ranker.fit(LOG).recommend([["b", "c", "c", "d"]], k=4)
    order = ["abcd".index(item) for item in ids[0]]
    np.testing.assert_allclose(scores[0], np.array(expected)[order], rtol=1e-6)
    assert (np.diff(scores[0]) <= 0).all()


def test_similar_users_count_an_item_once_an_instant_in_the_newest_25():
    times = [[1, 1, *range(2, 27)]]
    log = Histories.from_lists([["a", "b", *["c"] * 25]], timestamps=times)
    shares = SimilarUsersRanker().fit(log).recent_.toarray()
    np.testing.assert_allclose(shares, [[0, 0, 1]])
    log = Histories.from_lists([["a", "a", "b", "c"]], timestamps=[[1, 1, 1, 2]])
    assert SimilarUsersRanker().fit(log).recent_.toarray().tolist() == [[0.5, 0.5, 0.5]]


def test_beta_is_chosen_on_the_newest_events():
    own = [[f"{user}-{item}" for item in range(12)] for user in range(20)]
    assert OwnFrequencyRanker().fit([[*items, items[0]] for items in own]).beta_ == 0.5
    # Half of the users choose, as the next item, one that is popular with the others.
    mixed = [[*items, "x"] if user % 2 else ["x", *items] for user, items in enumerate(own)]
    assert OwnFrequencyRanker().fit(mixed).beta_ == 3.0


@pytest.mark.parametrize("ranker", RANKERS, ids=repr)
def test_dislikes_are_not_counted(ranker):
    mixed = Histories.from_lists(
        [["a", "b", "c"], ["a", "b", "a", "c"], ["a"], ["b", "c", "d"]],
        weights=[[1, 1, -1], [1, 1, -1, 0], [-1], [1, -1, 1]],
    )
    liked = Histories.from_lists([["a", "b"], ["a", "b"], [], ["b", "d"]])
    found, expected = (ranker.fit(log).recommend(log, k=3, exclude=["c"]) for log in (mixed, liked))
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("ranker", RANKERS, ids=repr)
def test_what_was_fitted_with_times_needs_them_only_if_they_change_the_scores(ranker):
    times = [[1.0, 1.0, 2.0], [1.0, 2.0, 2.0]]
    log = Histories.from_lists([["a", "b", "c"], ["c", "a", "b"]], timestamps=times)
    ranker.fit(log)
    if type(ranker) in (PopularityRanker, OwnFrequencyRanker):
        expected = ranker.recommend(log, k=3)[0]
        np.testing.assert_array_equal(ranker.recommend(list(log), k=3)[0], expected)
    else:
        with pytest.raises(ValueError, match=r"X has no timestamps, but .* was fitted"):
            ranker.recommend(list(log), k=3)


class SameFirstLetter(ItemRanker):
    """A ranker of one's own: the newest item, and items whose id starts in the same way."""

    def _score_items(self, histories):
        letters = np.array([item[0] for item in self.item_embeddings_.ids])
        scores = np.zeros((len(histories), len(letters)))
        for row, items in enumerate(histories):
            if len(items):
                scores[row] = letters == items[-1][0]
        return scores


def test_a_ranker_of_ones_own_needs_one_method():
    X, y = [["ab", "ac", "ba"], ["ba"], ["??"]], ["bb", "bb", "ab"]
    ranker = SameFirstLetter().fit([["ab", "ac", "ba", "bb"]])
    ids, scores = ranker.recommend(X, k=4, exclude_seen=True, allow=["ab", "ba", "bb"])
    assert ids.tolist() == [["bb", "", "", ""], ["bb", "ab", "", ""], ["ab", "ba", "bb", ""]]
    assert scores[0].tolist() == [1, -np.inf, -np.inf, -np.inf]
    # Of the four items that are equal for the unknown history, each is the first in one of four.
    assert RecallAtK(1, exclude_seen=True)(ranker, X, y) == (1 + 1 + 1 / 4) / 3
    assert ranker.score(X, y) == 1.0
    assert set(RetrievalScores(k=(1, 2))(ranker, X, y)) >= {"recall@1", "recall@2"}
