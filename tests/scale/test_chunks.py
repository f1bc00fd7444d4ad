"""However the users are shared out, every vector has the same bits."""

import numpy as np
import pytest
from joblib import parallel_config
from threadpoolctl import threadpool_limits

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    MixedUserEncoder,
    TwoTowerUserEncoder,
)
from skue.encoders import _base


def two_tower(items):
    return TwoTowerUserEncoder(items, max_iter=1, early_stopping=False, random_state=0)


@pytest.fixture(scope="module", params=["no weights", "a dislike"])
def batch(request):
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 12, 400))])
    # Every fifth item is unknown, and the ids are not the rows.
    ids = rng.permutation(300)
    items = ItemEmbeddings(rng.normal(size=(240, 7)), ids=ids[:240])
    weights = None
    if request.param == "a dislike":  # which sends its chunk, and no other, another way
        weights = np.ones(offsets[-1])
        weights[-1] = -1.0
    codes = rng.integers(0, 300, offsets[-1])
    return items, Histories(codes, offsets, np.arange(300), weights=weights)


@pytest.fixture(params=[DecayAverageUserEncoder, MixedUserEncoder, two_tower])
def encoder(request, batch, monkeypatch):
    monkeypatch.setattr(_base, "CHUNK_SIZE", 64)
    return request.param(batch[0]).fit(batch[1])


def test_threads_change_no_bit(encoder, batch):
    with threadpool_limits(1, user_api="blas"):
        one = encoder.transform(batch[1])
    with threadpool_limits(4, user_api="blas"):
        np.testing.assert_array_equal(encoder.transform(batch[1]), one)


@pytest.mark.parametrize(("backend", "n_jobs"), [("threading", 3), ("loky", 2)])
def test_workers_change_no_bit(encoder, batch, backend, n_jobs):
    expected = encoder.transform(batch[1])
    with parallel_config(backend=backend):
        found = encoder.set_params(n_jobs=n_jobs).transform(batch[1])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("chunk_size", [7, 64, 399, 5000])
def test_chunks_are_the_rows_of_the_whole(encoder, batch, chunk_size):
    chunks = list(encoder.iter_transform(batch[1], chunk_size=chunk_size))
    assert [rows.start for rows, _ in chunks] == list(range(0, 400, chunk_size))
    assert chunks[-1][0].stop == 400
    assert all(len(vectors) == rows.stop - rows.start for rows, vectors in chunks)
    np.testing.assert_array_equal(
        np.concatenate([vectors for _, vectors in chunks]), encoder.transform(batch[1])
    )


def test_a_cold_user_is_named_by_the_row_of_the_whole_batch(batch, monkeypatch):
    monkeypatch.setattr(_base, "CHUNK_SIZE", 64)
    encoder = DecayAverageUserEncoder(batch[0], cold_start="raise").fit(batch[1])
    lists = [[batch[0].ids[0]]] * 200 + [[]]
    weights = None if batch[1].weights is None else [[1.0] * len(row) for row in lists]
    X = Histories.from_lists(lists, weights=weights)
    with pytest.raises(ValueError, match=r"rows \[200\]"):
        list(encoder.iter_transform(X, chunk_size=10))
