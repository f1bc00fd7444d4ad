"""Scorers, compared with fractions computed by hand and with all orders of tied items."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline

from skue import (
    MRR,
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    NDCGAtK,
    RecallAtK,
    RetrievalScores,
    recall_at_k,
)
from skue.kernels._ranking import rank_positives
from skue.kernels._ties import (
    expected_average_precision,
    expected_dcg,
    expected_hit_rate,
    expected_hits,
    expected_reciprocal_rank,
    tied_groups,
)

# Cosines to "a" fall in alphabetical order.
ANGLES = {"a": 0.0, "b": 0.3, "c": 0.6, "d": 0.9, "e": 1.2}
ITEMS = ItemEmbeddings(
    [[np.cos(angle), np.sin(angle)] for angle in ANGLES.values()], ids=list(ANGLES)
)
ENCODER = DecayAverageUserEncoder(ITEMS).fit([["a"]])


@pytest.mark.parametrize(
    ("scorer", "targets", "expected"),
    [
        (RecallAtK(2), [["b", "d"]], 1 / 2),
        (RecallAtK(2), [["b", "c", "d"]], 1 / 3),
        (RecallAtK(2, normalize="min"), [["b", "c", "d"]], 1 / 2),
        (RecallAtK(2, normalize="hit"), [["b", "c", "d"]], 1),
        (RecallAtK(2, exclude_seen=True), [["b", "c", "d"]], 2 / 3),
        (RecallAtK(2, exclude_seen=True), [["a", "b"]], 1 / 2),
        (RecallAtK(3), [["b", "nowhere"]], 1 / 2),
        (RecallAtK(3), [["b", "b", "c"]], 1),
        (NDCGAtK(2), [["b"]], 1 / np.log2(3)),
        (NDCGAtK(3), [["a", "c"]], (1 + 1 / 2) / (1 + 1 / np.log2(3))),
        (NDCGAtK(2), [["e"]], 0),
        (MRR(), [["c", "e"]], 1 / 3),
        (MRR(exclude_seen=True), [["c"]], 1 / 2),
        (MRR(), [["nowhere"]], 0),
    ],
)
def test_a_metric_equals_the_fraction_computed_by_hand(scorer, targets, expected):
    y = np.empty(1, dtype=object)
    y[0] = np.array(targets[0])
    assert scorer(ENCODER, [["a"]], y) == pytest.approx(expected, abs=1e-9)


def test_retrieval_scores_equal_the_single_scorers():
    X, y = [["a"], ["c"], ["e", "a"]], ["b", "a", "nowhere"]
    scores = RetrievalScores(k=(1, 3))(ENCODER, X, y)
    assert scores == {
        "recall@1": RecallAtK(1)(ENCODER, X, y),
        "ndcg@1": NDCGAtK(1)(ENCODER, X, y),
        "map@1": RecallAtK(1)(ENCODER, X, y),  # one held-out item, first or not
        "recall@3": RecallAtK(3)(ENCODER, X, y),
        "ndcg@3": NDCGAtK(3)(ENCODER, X, y),
        "map@3": pytest.approx(1 / 2 / 3),  # at rank 2, below rank 3, unknown
        "mrr": MRR()(ENCODER, X, y),
    }


def test_the_breakdown_separates_users_and_items():
    X, y = [["a"], ["nowhere"], ["a"]], ["a", "a", "b"]
    scores = RetrievalScores(k=(1,), breakdown=True)(ENCODER, X, y)
    assert scores["cold_share"] == pytest.approx(1 / 3)
    assert scores["repeat_share"] == pytest.approx(1 / 3)
    assert scores["recall@1_repeat"] == 1
    assert scores["recall@1_warm"] == 1 / 2
    assert scores["unknown_share"] == 0


def test_the_breakdown_separates_items_with_and_without_events():
    items = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1]], ids=["a", "b", "c"])
    encoder = DecayAverageUserEncoder(items).fit([["a"], ["a", "c"]])
    assert encoder.is_new_item_.tolist() == [False, True, False]
    X, y = [["a"], ["a"], ["a"], ["c"]], ["b", "a", "nowhere", "b"]
    scores = RetrievalScores(k=(1,), breakdown=True, exclude_seen=True)(encoder, X, y)
    assert scores["new_share"] == 3 / 4
    assert scores["unknown_share"] == 1 / 4
    assert scores["recall@1_new"] == pytest.approx(2 / 3)
    assert scores["recall@1_known"] == 0


@pytest.mark.parametrize(("n_users", "block_bytes"), [(1, 10_000), (7, 1)])
@pytest.mark.parametrize(("n_items", "k"), [(13, 4), (13, 13), (101, 20)])
def test_equal_item_vectors_give_a_recall_of_exactly_k_in_n(n_items, k, n_users, block_bytes):
    rng = np.random.default_rng(0)
    users = rng.normal(size=(n_users, 8)).astype(np.float32)
    users /= np.linalg.norm(users, axis=1, keepdims=True)
    items = np.tile(rng.normal(size=8).astype(np.float32), (n_items, 1))
    items /= np.linalg.norm(items[0])
    positives, _ = rank_positives(
        lambda start, stop: users[start:stop] @ items.T,
        n_items,
        rng.integers(n_items, size=n_users),
        np.arange(n_users + 1),
        tolerance=1e-6,
        block_bytes=block_bytes,
    )
    hits = expected_hits(tied_groups(positives), k)
    assert hits == pytest.approx(np.full(n_users, k / n_items), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=6),
    st.sets(st.integers(0, 5), min_size=1, max_size=3),
    st.integers(1, 6),
    st.integers(1, 400),
)
def test_ties_count_as_the_mean_over_all_orders(levels, relevant, k, block_bytes):
    scores = np.array(levels, dtype=np.float32)
    relevant = sorted(item for item in relevant if item < len(scores)) or [0]
    k = min(k, len(scores))
    positives, _ = rank_positives(
        lambda start, stop: scores[None].copy(),
        len(scores),
        np.array(relevant),
        np.array([0, len(relevant)]),
        block_bytes=block_bytes,
    )
    groups = tied_groups(positives)
    hits, hit, dcg, reciprocal, precision = [], [], [], [], []
    for order in permutations(range(len(scores))):
        # A stable sort of a random order is a random order of the ties.
        ranked = sorted(order, key=lambda item: -scores[item])
        found = [rank for rank, item in enumerate(ranked, start=1) if item in relevant]
        hits.append(sum(rank <= k for rank in found))
        hit.append(found[0] <= k)
        dcg.append(sum(1 / np.log2(rank + 1) for rank in found if rank <= k))
        reciprocal.append(1 / found[0])
        precision.append(sum(n / rank for n, rank in enumerate(found, start=1) if rank <= k))
    assert expected_hits(groups, k)[0] == pytest.approx(np.mean(hits))
    assert expected_hit_rate(groups, k)[0] == pytest.approx(np.mean(hit))
    assert expected_dcg(groups, k)[0] == pytest.approx(np.mean(dcg))
    assert expected_reciprocal_rank(groups)[0] == pytest.approx(np.mean(reciprocal))
    assert expected_average_precision(groups, k)[0] == pytest.approx(np.mean(precision))


def test_recall_at_k_equals_sorting():
    rng = np.random.default_rng(1)
    users, items = rng.normal(size=(50, 6)), rng.normal(size=(40, 6))
    targets = rng.integers(40, size=50)
    unit = items / np.linalg.norm(items, axis=1, keepdims=True)
    order = np.argsort(-(users @ unit.T), axis=1)[:, :7]
    expected = np.mean([target in row for target, row in zip(targets, order, strict=True)])
    assert recall_at_k(users, items, targets, k=7) == pytest.approx(expected)


def test_nan_vectors_raise():
    with pytest.raises(ValueError, match=r"row 1 holds NaN"):
        recall_at_k([[1.0, 0.0], [np.nan, 0.0]], [[1.0, 0.0]], [0, 0])


def test_y_of_another_length_raises():
    with pytest.raises(ValueError, match=r"got 2 rows in X and 1 in y"):
        RecallAtK(2)(ENCODER, [["a"], ["b"]], ["a"])


def test_a_user_without_a_held_out_item_raises():
    y = np.empty(2, dtype=object)
    y[:] = [np.array(["a"]), np.array([], dtype=str)]
    with pytest.raises(ValueError, match=r"the first of them row 1"):
        RecallAtK(2)(ENCODER, [["a"], ["b"]], y)


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3", None])
@pytest.mark.parametrize(
    "use",
    [
        RecallAtK,
        NDCGAtK,
        lambda k: RetrievalScores(k=(20, k)),
        lambda k: recall_at_k([[1, 0]], [[1, 0], [0, 1]], [0], k=k),
        lambda k: ENCODER.recommend([["a"]], k),
        lambda k: ENCODER.iter_transform([["a"]], chunk_size=k),
    ],
    ids=["recall", "ndcg", "scores", "function", "recommend", "chunks"],
)
def test_k_must_be_a_positive_integer(use, k):
    with pytest.raises(ValueError, match=r"(k|chunk_size) must be an integer of at least 1, got"):
        use(k)


def test_items_are_transformed_by_the_steps_after_the_encoder():
    rng = np.random.default_rng(2)
    items = ItemEmbeddings(rng.normal(size=(30, 5)))
    X = [[i % 30, (i * 7) % 30] for i in range(40)]
    y = [(i * 3) % 30 for i in range(40)]
    pipeline = Pipeline([("encode", DecayAverageUserEncoder(items)), ("pca", PCA(5))]).fit(X)
    users = pipeline.transform(X)
    projected = pipeline.named_steps["pca"].transform(items.vectors)
    assert RecallAtK(3)(pipeline, X, y) == pytest.approx(recall_at_k(users, projected, y, k=3))


def scores_of(encoder, X, y):
    """Every metric, each way in which it can be computed."""
    return [
        RecallAtK(2)(encoder, X, y),
        NDCGAtK(2)(encoder, X, y),
        MRR()(encoder, X, y),
        RetrievalScores(k=(2,))(encoder, X, y),
        encoder.score(X, y),
    ]


def test_padding_in_y_is_no_held_out_item():
    encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(6))).fit([[0], [1]])
    X, ragged, padded = [[1], [3]], [[1, 2], [3]], np.array([[1, 2], [3, -1]])
    assert scores_of(encoder, X, padded) == scores_of(encoder, X, ragged)
    vectors = encoder.transform(X), encoder.item_vectors_
    assert recall_at_k(*vectors, padded, 2) == recall_at_k(*vectors, ragged, 2) < 1
    text = np.array([["b", "c"], ["d", ""]])
    assert scores_of(ENCODER, [["b"], ["d"]], text) == scores_of(
        ENCODER, [["b"], ["d"]], [["b", "c"], ["d"]]
    )
    with pytest.raises(ValueError, match="at least one item per user, but 1 rows have none"):
        RecallAtK(2)(encoder, X, np.array([[1, 2], [-1, -1]]))


def test_y_with_user_ids_is_aligned_with_the_users_of_x():
    pandas = pytest.importorskip("pandas")
    X = Histories.from_lists([["a"], ["e"], ["c"]], user_ids=["ann", "bob", "cat"])
    expected = scores_of(ENCODER, X, [["b"], ["d", "a"], ["c"]])
    mixed = {"cat": ["c"], "ann": ["b"], "bob": ["d", "a"]}
    assert scores_of(ENCODER, X, list(mixed.values())) != expected
    for y in (
        mixed,
        pandas.Series(mixed),
        pandas.Series(mixed).to_frame("next"),
        Histories.from_lists(list(mixed.values()), user_ids=list(mixed)),
    ):
        assert scores_of(ENCODER, X, y) == expected
    with pytest.raises(ValueError, match="bob"):
        RecallAtK(1)(ENCODER, X, pandas.Series({"ann": "a", "cat": "b", "dan": "c"}))


def test_recall_at_k_aligns_targets_with_a_frame_of_user_vectors():
    pandas = pytest.importorskip("pandas")
    users = pandas.DataFrame(np.eye(2), index=["ann", "bob"])
    targets = pandas.Series([1, 0], index=["bob", "ann"])
    assert recall_at_k(users, np.eye(2), targets, k=1) == 1
    assert recall_at_k(users.to_numpy(), np.eye(2), [1, 0], k=1) == 0
