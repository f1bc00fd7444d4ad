"""The comparison with other packages: the evaluation, the split and the peers, by hand."""

from pathlib import Path

import numpy as np
import pytest

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    NDCGAtK,
    PopularityRanker,
    RecallAtK,
    TransitionItemRanker,
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """Import the benchmark, which is not part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import _peers
        import peers

        yield _peers, peers


def sessions(n_users=80, n_items=15, seed=0, instants=False):
    """Return histories in which item i is followed by i + 1 most of the time."""
    rng = np.random.default_rng(seed)
    lists = []
    for _ in range(n_users):
        steps = np.where(rng.random(6) < 0.8, 1, rng.integers(n_items, size=6))
        lists.append(((rng.integers(n_items) + np.cumsum(steps)) % n_items).tolist())
    times = [np.arange(6) // 2 for _ in lists] if instants else None
    users = [f"u{row}" for row in range(n_users)]
    return Histories.from_lists(lists, timestamps=times, user_ids=users)


def test_the_last_two_events_are_held_out_and_never_learned_from(modules):
    split = modules[1].Split(Histories.from_lists([list("abcd"), list("xyz")], user_ids=["1", "2"]))
    assert [list(row) for row in split.learned_from] == [["a", "b"], ["x"]]
    assert list(split.validation[1]) == ["c", "y"]
    assert [list(row) for row in split.test[0]] == [["a", "b", "c"], ["x", "y"]]
    assert list(split.test[1]) == ["d", "z"]


def test_the_evaluation_agrees_with_a_ranking_made_by_hand(modules):
    _peers, peers = modules
    train = Histories.from_lists([list("aaab"), list("bc")])
    peer = _peers.ItemScorer(PopularityRanker(), exclude_seen=False).fit(train)
    # Popularity: a 3, b 2, c 1.
    found = peers.evaluation(peer, Histories.from_lists([["c"], ["a"]]), ["b", "c"], False)
    assert RecallAtK(1).per_user(found).tolist() == [0, 0]
    assert RecallAtK(2).per_user(found).tolist() == [1, 0]
    assert NDCGAtK(3).per_user(found).tolist() == pytest.approx([1 / np.log2(3), 1 / np.log2(4)])
    # Without the items that people have: b is second for c, and c second for a.
    found = peers.evaluation(peer, Histories.from_lists([["c"], ["a"]]), ["b", "c"], True)
    assert RecallAtK(2).per_user(found).tolist() == [1, 1]


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_evaluation_agrees_with_the_scorers_of_skue(modules, exclude_seen):
    _peers, peers = modules
    split = peers.Split(sessions())
    X, y = split.test
    encoder = DecayAverageUserEncoder(decay=0.5)
    ranker = TransitionItemRanker()
    for peer, estimator in (
        (_peers.Encoder(encoder), encoder),
        (_peers.ItemScorer(ranker, exclude_seen=exclude_seen), ranker),
    ):
        found = peers.evaluation(peer.fit(split.train), X, y, exclude_seen)
        recall = RecallAtK(3, exclude_seen=exclude_seen)(estimator, X, y)
        assert np.mean(RecallAtK(3, normalize="min").per_user(found)) == pytest.approx(recall)
        assert np.mean(NDCGAtK(3).per_user(found)) == pytest.approx(
            NDCGAtK(3, exclude_seen=exclude_seen)(estimator, X, y)
        )
        assert recall > 0


def test_ease_agrees_with_its_definition(modules):
    X = sessions()
    peer = modules[0].EASE(regularization=20).fit(X)
    taken = np.zeros((len(X), len(peer.items)))
    for row, codes in enumerate(X):
        taken[row, peer.items.lookup(np.unique(codes))] = 1
    # Each column is a ridge regression on all other items.
    for item in range(len(peer.items)):
        others = np.delete(taken, item, axis=1)
        weights = np.linalg.solve(
            others.T @ others + 20 * np.eye(others.shape[1]), others.T @ taken[:, item]
        )
        expected = np.insert(weights, item, 0.0)
        assert peer.weights_[:, item] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_sequential_linear_model_agrees_with_its_definition(modules, decay):
    # With repeats, baskets, dislikes, and people of one event or none.
    lists = [list("abcab"), list("cabda"), list("bdc"), list("a"), []]
    times = [[1, 1, 2, 3, 3], [1, 2, 3, 4, 5], [1, 2, 2], [1], []]
    weights = [[1, 1, 1, 1, 1], [1, 1, 1, -1, 1], [1, 1, 1], [1], []]
    X = Histories.from_lists(lists, timestamps=times, weights=weights)
    peer = modules[0].SequentialLinear(regularization=0.7, learned_decay=decay).fit(X)
    names = list("abcd")
    so_far, targets = [], []
    for items, at, liked in zip(lists, times, weights, strict=True):
        events = [
            (t, names.index(item)) for item, t, w in zip(items, at, liked, strict=True) if w > 0
        ]
        instants = sorted({t for t, _ in events})
        for t, item in events:
            before = np.zeros(4)
            for other, past in events:
                if other < t:
                    age = instants.index(t) - 1 - instants.index(other)
                    before[past] += np.exp(-decay * age)
            so_far.append(before)
            targets.append(np.eye(4)[item])
    S, T = np.array(so_far), np.array(targets)
    weights = np.linalg.solve(S.T @ S + 0.7 * np.eye(4), S.T @ T)
    order = peer.items.lookup(np.array(names))
    assert peer.weights_[np.ix_(order, order)] == pytest.approx(weights, abs=1e-5)
    query = Histories.from_lists([list("ab"), list("d")])
    scores = peer.scores(query, decay=1.0)(0, 2)[:, order]
    expected = np.array([weights[1] + np.exp(-1) * weights[0], weights[3]])
    assert scores == pytest.approx(expected, abs=1e-5)


def test_tifu_knn_decays_baskets_within_and_across_groups(modules):
    lists = [["a", "b", "b", "c"], ["d"]]
    X = Histories.from_lists(lists, timestamps=[[1, 2, 3, 3], [1]], user_ids=["1", "2"])
    peer = modules[0].TIFUKNN(within_decay=0.9, group_decay=0.7, group_size=2).fit(X)
    vectors = peer.vectors(X).toarray()[:, peer.items.lookup(np.array(list("abcd")))]
    # The newest group has the instants 3 and 2, the older one the instant 1.
    newest = np.array([0, 1 + 0.9, 1, 0]) / 2
    oldest = np.array([1, 0, 0, 0])
    assert vectors[0] == pytest.approx((newest + 0.7 * oldest) / 2)
    # The neighbour of each person is the other one.
    scores = peer.scores(X, n_neighbors=1, own_share=0.6)(0, 2)
    assert scores[0, peer.items.lookup(np.array(["d"]))[0]] == pytest.approx(0.4)


def planted(name, modules, **settings):
    """Return the share of people for whom a peer finds the items of their own group."""
    _peers, peers = modules
    rng = np.random.default_rng(0)
    # Three groups of six items; everybody has five of one group.
    lists = [(6 * (row % 3) + rng.permutation(6)[:5]).tolist() for row in range(300)]
    split = peers.Split(Histories.from_lists(lists, user_ids=[str(row) for row in range(300)]))
    assert split.exclude_seen
    peer = getattr(_peers, name)(**settings).fit(split.train)
    query = {} if name == "BPR" else {"decay": 0.0 if name == "SequentialLinear" else 0.2}
    # Two items of the group are left.
    return np.mean(RecallAtK(2).per_user(peers.evaluation(peer, *split.test, True, **query)))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ItemNeighbours", {"similarity": "cosine", "n_neighbors": 10}),
        ("ALS", {"factors": 8, "alpha": 1, "regularization": 0.1}),
        ("BPR", {"factors": 8, "iterations": 50}),
        ("EASE", {"regularization": 10}),
        ("SequentialLinear", {"regularization": 10, "learned_decay": 0.2}),
    ],
)
def test_a_peer_finds_planted_neighbours(modules, name, settings):
    if name not in ("EASE", "SequentialLinear"):
        pytest.importorskip("implicit")
    # By chance, 2 in 14.
    assert planted(name, modules, **settings) > 0.9


def test_the_first_items_of_an_encoder_are_the_best_new_ones(modules):
    _peers, peers = modules
    X = sessions(n_items=40)
    encoder = _peers.Encoder(DecayAverageUserEncoder(CooccurrenceItemEmbedder(8))).fit(X)
    rows = peers.first_items(encoder, X, exclude_seen=True)
    table = encoder.encoder.transform(X) @ encoder.items.vectors.T
    for scores, own, found in zip(
        table, encoder.items.rows_of(X).reshape(-1, 6), rows, strict=True
    ):
        scores[own] = -np.inf
        best = np.sort(scores)[::-1][:10]
        np.testing.assert_allclose(scores[found], best, atol=1e-6)
