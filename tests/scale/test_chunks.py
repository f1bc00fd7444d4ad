"""However the users are shared out, every vector has the same bits."""

import numpy as np
import pytest
from joblib import parallel_config
from threadpoolctl import threadpool_limits

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, MixedUserEncoder
from skue.encoders import _chunks


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 12, 1000))])
    # Every fifth item is unknown, and the ids are not the rows.
    ids = rng.permutation(300)
    items = ItemEmbeddings(rng.normal(size=(240, 7)), ids=ids[:240])
    return items, Histories(rng.integers(0, 300, offsets[-1]), offsets, np.arange(300))


@pytest.fixture(params=[DecayAverageUserEncoder, MixedUserEncoder])
def encoder(request, batch, monkeypatch):
    monkeypatch.setattr(_chunks, "CHUNK_SIZE", 64)
    return request.param(batch[0]).fit(batch[1])


def test_threads_change_no_bit(encoder, batch):
    with threadpool_limits(1, user_api="blas"):
        one = encoder.transform(batch[1])
    with threadpool_limits(4, user_api="blas"):
        np.testing.assert_array_equal(encoder.transform(batch[1]), one)


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_workers_change_no_bit(encoder, batch, backend, n_jobs):
    expected = encoder.transform(batch[1])
    with parallel_config(backend=backend):
        found = encoder.set_params(n_jobs=n_jobs).transform(batch[1])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("chunk_size", [1, 100, 5000])
def test_chunks_are_the_rows_of_the_whole(encoder, batch, chunk_size):
    chunks = list(encoder.iter_transform(batch[1], chunk_size=chunk_size))
    assert [rows.start for rows, _ in chunks] == list(range(0, 1000, chunk_size))
    assert chunks[-1][0].stop == 1000
    np.testing.assert_array_equal(
        np.concatenate([vectors for _, vectors in chunks]), encoder.transform(batch[1])
    )


def test_a_chunk_of_no_users_is_refused(encoder, batch):
    with pytest.raises(ValueError, match="chunk_size must be an integer of at least 1, got 0"):
        encoder.iter_transform(batch[1], chunk_size=0)


def test_unknown_items_are_reported_once_for_all_chunks(encoder, batch):
    with pytest.warns(UserWarning, match=r"of 60 items that are not in") as caught:
        encoder.set_params(unknown_item="warn").transform(batch[1])
    assert len(caught) == 1
