"""What a user writes, with every public name of skue; mypy checks it, nothing runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
from numpy.typing import NDArray

from skue import (
    MRR,
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    DecayCurveDisplay,
    Events,
    Histories,
    HistoryStatistics,
    ItemEmbeddings,
    ItemFeatures,
    ItemRanker,
    LMDBStore,
    MixedUserEncoder,
    NDCGAtK,
    OwnFrequencyRanker,
    PopularityRanker,
    ProfileUserEncoder,
    RecallAtK,
    RecallCurveDisplay,
    RedisStore,
    RetrievalScores,
    Retriever,
    SimilarUsersRanker,
    SpaceMismatchError,
    TrainingCurveDisplay,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    UserEncoder,
    UserStates,
    UserVectorCache,
    ann_recall,
    as_histories,
    drift,
    export_index,
    leave_last_out,
    load_interactions,
    open_index,
    pooling_backend,
    prune,
    recall_at_k,
    rollback,
    share_items,
    split_at,
    temporal_folds,
)
from skue.datasets import make_user_histories

if TYPE_CHECKING:
    import pandas


def read(path: Path) -> Histories:
    histories = load_interactions(path, user="who", item="what", time="when")
    assert_type(histories[0], np.ndarray)
    assert_type(histories[:10], Histories)
    assert_type(histories[[0, 2]], Histories)
    assert_type(histories[np.array([True, False])], Histories)
    assert_type(as_histories([["tea", "cup"]]), Histories)
    assert_type(Histories.from_frame({"u": [1], "i": [2]}, user="u", item="i"), Histories)
    histories.save("histories.npz")
    return Histories.load("histories.npz", mmap=True)


def features_of(values: NDArray[np.float64], ids: list[str]) -> ItemFeatures:
    features = ItemFeatures(values, ids)
    assert_type(features.extend(values, ["pot"]), ItemFeatures)
    features.save("features.npz")
    return ItemFeatures.load("features.npz")


def items_of(histories: Histories) -> ItemEmbeddings:
    embedder = CooccurrenceItemEmbedder(n_dims=16, window=3).fit(histories)
    assert_type(embedder, CooccurrenceItemEmbedder)
    items: ItemEmbeddings = embedder.item_embeddings_
    ids, scores = items.similar_items(["tea"], k=3)
    assert_type(ids, np.ndarray)
    assert_type(scores, np.ndarray)
    return items.extend(np.ones((1, 16)), ["pot"])


def averages(histories: Histories, items: ItemEmbeddings) -> NDArray[np.float32]:
    encoder = DecayAverageUserEncoder(
        items, decay=0.1, age_unit="D", cold_start="popular", unknown_item="warn"
    ).fit(histories)
    assert_type(encoder, DecayAverageUserEncoder)
    vectors = encoder.transform(histories)
    assert_type(vectors, NDArray[np.float32])
    for rows, chunk in encoder.iter_transform(histories, chunk_size=100):
        vectors[rows] = chunk
    ids, scores = encoder.recommend(histories, k=5, exclude_seen=True, allow=["tea"])
    assert_type(ids, np.ndarray)
    assert_type(scores, NDArray[np.float32])
    frame: pandas.DataFrame = encoder.recommend(histories, exclude=["tea"], as_frame=True)
    print(frame, encoder.encoder_id_, encoder.space_id_, encoder.coverage(histories).status)
    assert_type(encoder.score(histories, ["tea"]), float)
    return vectors


def profiles(histories: Histories) -> NDArray[np.float32]:
    encoder = ProfileUserEncoder(n_dims=32, cold_start="zero").fit(histories)
    assert_type(encoder, ProfileUserEncoder)
    ids, scores = encoder.similar_users(histories[:5], histories, k=20, together=True)
    assert_type(ids, np.ndarray)
    assert_type(scores, NDArray[np.float32])
    return encoder.transform(histories)


def ranked(histories: Histories, items: ItemEmbeddings) -> float:
    recommender = TwoStageRecommender(DecayAverageUserEncoder(items), n_candidates=50).fit(
        histories
    )
    assert_type(recommender, TwoStageRecommender)
    ids, scores = recommender.update(histories).recommend(histories, k=5)
    assert_type(ids, np.ndarray)
    assert_type(scores, NDArray[np.float32])
    assert_type(recommender.transform(histories), NDArray[np.float32])
    transitions = TransitionItemRanker().fit(histories)
    assert_type(transitions, TransitionItemRanker)
    return transitions.score(histories, ["tea"])


def states(histories: Histories, items: ItemEmbeddings) -> UserStates:
    encoder = MixedUserEncoder(items, short_weight=0.4, cold_start=[1.0, 0.0]).fit(histories)
    state = encoder.update_state(encoder.make_state(histories), [["tea"]])
    assert_type(encoder.transform_state(state[:1]), np.ndarray)
    return UserStates.from_bytes(state.to_bytes())


def features(histories: Histories, encoder: DecayAverageUserEncoder) -> NDArray[np.float64]:
    past, future = split_at(histories, "2026-01-31", horizon="90D")
    statistics = HistoryStatistics("2026-01-31", columns=["n_events", "trend"]).fit(past)
    assert_type(statistics, HistoryStatistics)
    assert_type(drift(past, future, encoder, n_users=100), dict[str, float])
    return statistics.transform(past)


def learned(histories: Histories) -> TwoTowerUserEncoder:
    X, y = leave_last_out(histories, by="instant")
    encoder = TwoTowerUserEncoder(
        hidden_layer_sizes=(64,), item_tower="trained", negatives="sampled", max_iter=3
    ).fit(X)
    assert_type(encoder, TwoTowerUserEncoder)
    assert_type(RecallAtK(20, normalize="hit")(encoder, X, y), float)
    assert_type(NDCGAtK(20)(encoder, X, y) + MRR()(encoder, X, y), float)
    assert_type(RetrievalScores((5, 10))(encoder, X, y), dict[str, float])
    assert_type(recall_at_k(encoder.transform(X), encoder.item_vectors_, y, k=5), float)
    TrainingCurveDisplay.from_estimator(encoder)
    RecallCurveDisplay.from_estimator(encoder, X, y).plot()
    folds, targets, cv = temporal_folds(histories, n_splits=2)
    DecayCurveDisplay.from_estimator(DecayAverageUserEncoder(), folds, targets, cv=cv)
    return encoder


def serve(encoder: TwoTowerUserEncoder, load: Callable[[np.ndarray], Any], folder: str) -> None:
    export_index(encoder, folder)
    index = open_index(folder, backend="faiss")
    print(ann_recall(index, np.ones((1, 8)), k=5), prune(folder, keep=3), rollback(folder))
    try:
        index.recommend(encoder, [["tea"]], k=5, exclude=["cup"])
    except SpaceMismatchError as error:
        print(error.given, error.expected)
    cache = UserVectorCache(encoder, LMDBStore("store"), max_age=60.0)
    cache = UserVectorCache(encoder, RedisStore(), deadline=0.01)
    ids, scores, status = Retriever(cache, index).recommend(["ann"], load, k=5)
    print(ids, scores, status)
    cache.close()


def spread(client: Any, items: ItemEmbeddings) -> None:
    with share_items(client, items) as shared:
        assert_type(shared, ItemEmbeddings)


def generated() -> None:
    data = make_user_histories(n_users=10)
    if pooling_backend() == "numba":
        states(data.histories, data.item_embeddings)


class NewestItemEncoder(UserEncoder):
    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        has_events = np.diff(events.offsets) > 0
        vectors = np.zeros((events.n_users, self.item_embeddings_.n_dims), np.float32)
        vectors[has_events] = self.item_vectors_[events.rows[events.offsets[1:][has_events] - 1]]
        return vectors, has_events


def count(histories: Histories) -> list[ItemRanker]:
    return [
        PopularityRanker().fit(histories),
        OwnFrequencyRanker(beta=0.5).fit(histories),
        SimilarUsersRanker().fit(histories),
    ]


def refused(histories: Histories) -> None:
    """What mypy has to refuse: --strict reports a comment that ignores no error."""
    MixedUserEncoder(age_unit="days")  # type: ignore[arg-type]
    TwoTowerUserEncoder(item_tower="half")  # type: ignore[arg-type]
    print(histories[0].item_ids)  # type: ignore[attr-defined]
