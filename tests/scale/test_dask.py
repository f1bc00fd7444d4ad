"""A real cluster of two worker processes: the same vectors, and each worker gets the items once."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    RecallAtK,
    leave_last_out,
    share_items,
)
from skue.encoders import _base
from skue.items import _pair_counts
from skue.items._spectral import learned_items

pytestmark = pytest.mark.slow
TRANSITIONS = {"window": 5, "smoothing": 0.1, "directed": True}
distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",  # any free port
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def items():
    return ItemEmbeddings(np.random.default_rng(0).normal(size=(2000, 32)))


@pytest.fixture(scope="module")
def histories():
    rng = np.random.default_rng(1)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(2, 30, 3000))])
    return Histories(rng.integers(0, 2000, offsets[-1]), offsets, np.arange(2000))


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(_base, "CHUNK_SIZE", 100)


def n_unpickled(dask_worker):
    return dask_worker._skue_unpickled


def count_items_received(dask_worker):
    """Count on a worker how often a whole item matrix is unpickled there."""
    if hasattr(dask_worker, "_skue_unpickled"):
        return
    dask_worker._skue_unpickled = 0
    received = ItemEmbeddings.__setstate__

    def counted(self, state):
        dask_worker._skue_unpickled += 1
        received(self, state)

    ItemEmbeddings.__setstate__ = counted


@pytest.fixture
def received(client):
    """Return a function that says how many item matrices each worker has received so far."""
    client.run(count_items_received)
    return lambda: sorted(client.run(n_unpickled).values())


def test_transform_on_a_cluster_is_transform(client, items, histories, small_chunks, received):
    fitted = DecayAverageUserEncoder(items).fit(histories)
    expected = fitted.transform(histories)
    before = received()
    with share_items(client, items), joblib.parallel_config(backend="dask"):
        found = fitted.set_params(n_jobs=-1).transform(histories)
    np.testing.assert_array_equal(found, expected)
    # Thirty chunks, one matrix a worker.
    assert [n - m for n, m in zip(received(), before, strict=True)] == [1, 1]


def test_pairs_counted_on_a_cluster_give_the_same_item_vectors(client, histories, monkeypatch):
    expected = CooccurrenceItemEmbedder(n_dims=16).fit(histories).item_embeddings_
    transitions = learned_items(histories, 16, **TRANSITIONS)
    monkeypatch.setattr(_pair_counts, "CHUNK_EVENTS", 4000)
    assert len(_pair_counts._chunks(histories.offsets)) > 10
    with joblib.parallel_config(backend="dask"):
        found = CooccurrenceItemEmbedder(n_dims=16, n_jobs=-1).fit(histories).item_embeddings_
        found_transitions = learned_items(histories, 16, n_jobs=-1, **TRANSITIONS)
    assert found.catalog_id == expected.catalog_id
    assert found_transitions.catalog_id == transitions.catalog_id


def test_a_search_on_a_cluster_is_the_search(client, items, histories, received):
    X, y = leave_last_out(histories)
    search = GridSearchCV(
        DecayAverageUserEncoder(items),
        {"decay": [0.0, 1.0], "repeat_exponent": [0.5, 1.0]},
        scoring=RecallAtK(20),
        cv=2,
    )
    expected = search.fit(X, y).cv_results_["mean_test_score"].copy()
    before = received()
    with share_items(client, items), joblib.parallel_config(backend="dask", scatter=[X]):
        found = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)
    assert [n - m for n, m in zip(received(), before, strict=True)] == [1, 1]


def test_shared_items_travel_as_a_name_and_only_inside_the_block(client, items):
    encoder = DecayAverageUserEncoder(items).fit([[0]])
    whole = pickle.dumps(encoder)
    with share_items(client, items) as shared:
        assert shared is items
        with share_items(client, items):
            small = pickle.dumps(encoder)
        assert len(small) < 5000 < items.vectors.nbytes < len(whole)
        assert pickle.loads(small).item_embeddings_ is items
        assert items.vectors.nbytes > 10 * len(pickle.dumps(encoder))
    with pytest.raises(RuntimeError, match="Unpickle inside the share_items block"):
        pickle.loads(small)
    assert len(pickle.dumps(encoder)) == len(whole)
