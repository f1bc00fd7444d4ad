"""The ranker by transitions."""

import joblib
import numpy as np
import pytest

from skue import Histories, RecallAtK, TransitionItemRanker, leave_last_out
from skue.histories._vocabulary import Vocabulary

RNG = np.random.default_rng(1)
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


def test_a_history_without_known_items_gets_the_most_popular():
    ranker = TransitionItemRanker().fit([["a", "b"], ["b", "c"], ["b"]])
    ids, _ = ranker.recommend([[], ["unknown"]], k=1)
    assert ids.tolist() == [["b"], ["b"]]


def test_items_of_one_instant_do_not_follow_one_another():
    histories = Histories.from_lists([[0, 1, 2]], timestamps=[[1.0, 1.0, 2.0]])
    table = TransitionItemRanker().fit(histories).counts_.transitions.toarray()
    assert table[0, 1] == 0 < table[0, 2]


def test_it_excludes_and_allows_items():
    ranker = TransitionItemRanker().fit(LISTS)
    ids, _ = ranker.recommend(LISTS[:3], k=8, exclude=[[0], [1], [2]], allow=[0, 1, 2])
    assert [set(row) - {-1} for row in ids.tolist()] == [{1, 2}, {0, 2}, {0, 1}]
    ids, _ = ranker.recommend(LISTS[:3], k=8, exclude_seen=True)
    assert all(
        set(row) - {-1} == set(range(8)) - set(own)
        for row, own in zip(ids.tolist(), LISTS, strict=False)
    )


def test_metrics_rank_the_whole_catalogue_by_its_scores():
    X, y = leave_last_out([row for row in LISTS if len(row) > 1])
    ranker = TransitionItemRanker().fit(X)
    ids, _ = ranker.recommend(X, k=3)
    hits = np.mean([target in row for target, row in zip(y, ids, strict=True)])
    assert 0 < hits < 1
    assert RecallAtK(3)(ranker, X, y) == pytest.approx(hits)


def test_a_pickled_ranker_gives_the_same_scores(tmp_path):
    ranker = TransitionItemRanker().fit(LISTS)
    joblib.dump(ranker, tmp_path / "ranker.joblib")
    loaded = joblib.load(tmp_path / "ranker.joblib")
    np.testing.assert_array_equal(loaded.recommend(LISTS, k=4)[1], ranker.recommend(LISTS, k=4)[1])


def test_requests_for_users_of_one_batch_look_their_items_up_once(monkeypatch):
    ranker = TransitionItemRanker().fit([["a", "b"], ["b", "c"]])
    histories = Histories.from_lists([["c", "a"], ["unknown", "b"]])
    calls = []
    lookup = Vocabulary.lookup
    monkeypatch.setattr(
        Vocabulary, "lookup", lambda self, ids: calls.append(1) or lookup(self, ids)
    )
    for row in (0, 1):
        ranker.recommend(histories[row : row + 1], k=1)
    assert len(calls) == 1


def test_a_small_difference_in_popularity_is_no_tie_for_the_metrics():
    ranker = TransitionItemRanker().fit([["a"]] * 2000 + [["b"]] * 1999)
    assert ranker.recommend([[]], k=1)[0].tolist() == [["a"]]
    assert RecallAtK(1)(ranker, [[], []], ["a", "b"]) == 0.5
    assert RecallAtK(1)(ranker, [[]], ["a"]) == 1.0


@pytest.mark.parametrize(
    "log", [[[], []], Histories.from_lists([["a", "b"]], weights=[[-1.0, 0.0]])]
)
def test_a_log_without_liked_events_is_refused(log):
    with pytest.raises(ValueError, match="no event with a positive weight"):
        TransitionItemRanker().fit(log)
