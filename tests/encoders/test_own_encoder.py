"""An encoder of your own, which imports only public names, is an encoder in every way."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skue import (
    CooccurrenceItemEmbedder,
    Events,
    Histories,
    ItemEmbeddings,
    RecallAtK,
    UserEncoder,
    UserVectorCache,
    export_index,
    leave_last_out,
    open_index,
)

LISTS = [["tea", "cup"], ["cup", "pot", "saw"], ["saw"], []]
ITEMS = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], ids=["tea", "cup", "pot", "saw"])


class MedianEncoder(UserEncoder):
    """The median of the newest events in each dimension."""

    _output_parameters = ("max_history", "n_newest")

    def __init__(self, item_embeddings=None, *, n_newest=3, max_history=None, cold_start="mean"):
        super().__init__(item_embeddings, max_history=max_history, cold_start=cold_start)
        self.n_newest = n_newest

    def _encode_events(self, events: Events):
        vectors = np.zeros((events.n_users, self.item_embeddings_.n_dims), dtype=np.float32)
        for user in range(events.n_users):
            rows = events.rows[events.offsets[user] : events.offsets[user + 1]]
            if len(rows):
                vectors[user] = np.median(self.item_vectors_[rows[-self.n_newest :]], axis=0)
        norms = np.linalg.norm(vectors, axis=1)
        return vectors / np.where(norms > 0, norms, 1)[:, None], norms > 0


@pytest.mark.filterwarnings("ignore:No two items appear together")
@parametrize_with_checks([MedianEncoder(CooccurrenceItemEmbedder(n_dims=3))])
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def test_vectors_recommendations_and_coverage_follow_from_encode_events():
    encoder = MedianEncoder(ITEMS, n_newest=1).fit(LISTS)
    vectors = encoder.transform(LISTS)
    np.testing.assert_allclose(vectors[:3], ITEMS.vectors[[1, 3, 3]], atol=1e-6)
    np.testing.assert_array_equal(vectors[3], encoder.fallback_vector_)
    assert encoder.recommend(LISTS[:1], k=2)[0].tolist() == [["cup", "tea"]]
    assert encoder.coverage([["tea", "nowhere"], []]).status.tolist() == ["encoded", "empty"]
    assert [rows.start for rows, _ in encoder.iter_transform(LISTS, chunk_size=3)] == [0, 3]


def test_metrics_searches_pipelines_index_and_cache_work_with_it(tmp_path):
    X, y = leave_last_out(Histories.from_lists(LISTS[:2] * 10))
    search = GridSearchCV(MedianEncoder(ITEMS), {"n_newest": [1, 2]}, scoring=RecallAtK(1), cv=2)
    assert 0 <= search.fit(X, y).best_score_ <= 1
    encoder = search.best_estimator_
    assert encoder.score(X, y) == 1  # there are four items
    assert make_pipeline(encoder, PCA(1)).fit_transform(X).shape == (20, 1)
    export_index(encoder, tmp_path)
    ids, _ = open_index(tmp_path).recommend(encoder, X[:2], 2)
    np.testing.assert_array_equal(ids, encoder.recommend(X[:2], 2)[0])
    vectors, _ = UserVectorCache(encoder).get(["ann"], lambda ids: [["tea"]])
    np.testing.assert_array_equal(vectors, encoder.transform([["tea"]]))


def test_its_parameters_are_checked_and_part_of_its_id():
    encoder = MedianEncoder(ITEMS).fit(LISTS)
    other = clone(encoder).set_params(n_newest=2).fit(LISTS)
    assert encoder.encoder_id_ != other.encoder_id_
    assert clone(encoder).fit(LISTS).encoder_id_ == encoder.encoder_id_
    with pytest.raises(ValueError, match="'max_history' parameter of MedianEncoder must be"):
        MedianEncoder(ITEMS, max_history=0).fit(LISTS)


def test_a_pickle_of_another_version_says_which_version_is_needed(monkeypatch):
    encoder = MedianEncoder(ITEMS).fit(LISTS)
    monkeypatch.setattr("skue.encoders._recommender.__version__", "3.1.0")
    data = pickle.dumps(encoder)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"MedianEncoder was saved with skue 3\.1\.0, and this is"):
        pickle.loads(data)
