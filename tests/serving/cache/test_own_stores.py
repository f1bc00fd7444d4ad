"""Stores of one's own need three methods, and only what skue shows."""

import threading

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, ItemEmbeddings, UserVectorCache
from skue.serving import Store

ENCODER = DecayAverageUserEncoder(ItemEmbeddings(np.eye(3))).fit([[0], [1]])


class Files:
    """A folder with one file per entry."""

    def __init__(self, folder):
        self.folder = folder

    def _path(self, key: str):
        return self.folder / key.encode().hex()

    def __getitem__(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: bytes) -> None:
        self._path(key).write_bytes(value)

    def __delitem__(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None


class Counted(Files):
    """Many entries in one call, as over a network."""

    def __init__(self, folder):
        super().__init__(folder)
        self.n_calls, self._lock = 0, threading.Lock()

    def get_many(self, keys: list[str]) -> dict[str, bytes]:
        self.n_calls += 1
        return {key: self[key] for key in keys if self._path(key).exists()}

    def set_many(self, entries: dict[str, bytes]) -> None:
        self.n_calls += 1
        for key, value in entries.items():
            self[key] = value

    def delete_many(self, keys: list[str]) -> None:
        self.n_calls += 1
        for key in keys:
            self._path(key).unlink(missing_ok=True)


def load(ids):
    return [[user % 3] for user in ids.tolist()]


@pytest.mark.parametrize("kind", [Files, Counted])
def test_a_cache_reads_writes_and_removes_entries_of_an_own_store(kind, tmp_path):
    store: Store = kind(tmp_path)
    cache = UserVectorCache(ENCODER, store)
    users = np.arange(30)
    vectors, status = cache.get(users, load)
    assert set(status) == {"fresh"} and len(list(tmp_path.iterdir())) == 30
    again, status = UserVectorCache(ENCODER, kind(tmp_path)).get(users, load=None)
    assert set(status) == {"cached"}
    np.testing.assert_array_equal(vectors, again)
    cache.invalidate([3, 4, 99])
    assert len(list(tmp_path.iterdir())) == 28
    assert cache.get([2, 3], load)[1].tolist() == ["cached", "fresh"]
    assert cache.counters["store_errors"] == 0
    if kind is Counted:
        # A read and a write, the removal, and a read and a write.
        assert store.n_calls == 5
