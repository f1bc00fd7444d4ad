"""What is fitted on a slice of a log is what is fitted on the same histories as lists."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    OwnFrequencyRanker,
    PopularityRanker,
    SimilarUsersRanker,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    export_index,
    open_index,
)

RNG = np.random.default_rng(1)
# Groups of 30 items; a slice has events of some of the items only.
LISTS = [(RNG.integers(0, 30, 8) + 30 * RNG.integers(0, 60)).tolist() for _ in range(500)]
TIMES = [np.sort(RNG.integers(0, 9, 8)).tolist() for _ in LISTS]
TOWERS = {"max_iter": 1, "hidden_layer_sizes": (8,), "random_state": 0}
ESTIMATORS = [
    DecayAverageUserEncoder(),
    TwoTowerUserEncoder(CooccurrenceItemEmbedder(n_dims=8), **TOWERS),
    PopularityRanker(),
    OwnFrequencyRanker(),
    SimilarUsersRanker(),
    TransitionItemRanker(),
    TwoStageRecommender(DecayAverageUserEncoder(CooccurrenceItemEmbedder(8)), random_state=0),
]


def log_of(rows):
    return Histories.from_lists([LISTS[r] for r in rows], timestamps=[TIMES[r] for r in rows])


def shuffled(histories):
    """The same log with its vocabulary in another order."""
    order = np.random.default_rng(0).permutation(len(histories.item_ids))
    codes = np.argsort(order)[histories.codes]
    ids, times = histories.item_ids[order], histories.timestamps
    return Histories(codes, histories.offsets, ids, timestamps=times)


ROWS = np.sort(np.random.default_rng(2).choice(len(LISTS), 120, replace=False))
WHOLE, ALONE = log_of(range(len(LISTS))), log_of(ROWS)
SLICE = shuffled(WHOLE)[ROWS]


def name_of(estimator):
    return str(estimator)[:60]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
@pytest.mark.filterwarnings("ignore:.*examples to learn from")
def test_a_slice_gives_the_bits_of_the_same_histories_as_lists(estimator):
    assert len(SLICE.item_ids) > len(ALONE.item_ids)
    ids, scores = estimator.fit(SLICE).recommend(SLICE, 5, exclude_seen=True)
    known = estimator.item_embeddings_.ids
    encoder_id = getattr(estimator, "encoder_id_", None)
    expected_ids, expected_scores = estimator.fit(ALONE).recommend(ALONE, 5, exclude_seen=True)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_array_equal(known, estimator.item_embeddings_.ids)
    assert encoder_id == getattr(estimator, "encoder_id_", None)
    assert np.isin(known, ALONE.item_ids).all()


def test_an_exported_index_holds_no_item_without_an_event(tmp_path):
    export_index(DecayAverageUserEncoder().fit(SLICE), tmp_path)
    ids = open_index(tmp_path).items.ids
    np.testing.assert_array_equal(np.sort(ids), ALONE.item_ids)


def test_parts_counted_one_after_another_have_no_item_without_an_event():
    embedder = (
        CooccurrenceItemEmbedder(n_dims=8).partial_fit(WHOLE[:100]).partial_fit(WHOLE[100:200])
    )
    expected = CooccurrenceItemEmbedder(n_dims=8).fit(log_of(range(200)))
    np.testing.assert_array_equal(embedder.counted_item_ids_, expected.counted_item_ids_)
    assert embedder.item_embeddings_.catalog_id == expected.item_embeddings_.catalog_id


def test_random_directions_are_those_of_items_with_an_event():
    singles = Histories.from_lists([[user] for user in range(20)], weights=[[1.0]] * 19 + [[-1.0]])
    with pytest.warns(UserWarning, match="No two items appear together"):
        items = CooccurrenceItemEmbedder(n_dims=3).fit(singles[5:]).item_embeddings_
    assert items.ids.tolist() == list(range(5, 19))


@pytest.mark.parametrize("n_dims", [8, 64])
def test_the_threads_of_blas_do_not_change_the_item_vectors(n_dims):
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            found.append(CooccurrenceItemEmbedder(n_dims=n_dims).fit(WHOLE[300:]).item_embeddings_)
    assert found[0].catalog_id == found[1].catalog_id


def test_items_too_rare_for_a_dimension_are_placed_beside_their_neighbours():
    common = [[0, 1, 2, 3, 4], [1, 3, 0, 2, 4], [4, 2, 0, 1, 3]] * 40
    rare = [[100 + 2 * n, 101 + 2 * n] for n in range(30)]
    embedder = CooccurrenceItemEmbedder(n_dims=8, smoothing=50).fit(common + rare)
    items = embedder.item_embeddings_
    assert len(items) == 65
    first = items.vectors[items.lookup([row[0] for row in rare])]
    second = items.vectors[items.lookup([row[1] for row in rare])]
    cosines = first @ second.T
    assert np.diag(cosines).min() > 0.8
