"""The cache: its answers, their sources, and failures."""

import os
import re
import signal
import threading
import time

import numpy as np
import pytest

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    LMDBStore,
    MixedUserEncoder,
    RedisStore,
    UserVectorCache,
)
from skue.serving import _cache, _stores, _workers
from skue.serving._stores import key_of

ITEMS = ItemEmbeddings(np.random.default_rng(0).normal(size=(9, 4)), space_id="shop-1")
ENCODER = DecayAverageUserEncoder(ITEMS).fit([[0, 1, 2], [3, 4], [5]])
LOG = {user: [user % 9, (user * 3) % 9] for user in range(50)}
FALLBACK = ENCODER.fallback_vector_


def load(ids):
    return [LOG[user] for user in ids.tolist()]


def vectors_of(users, encoder=ENCODER):
    return encoder.transform([LOG[user] for user in users])


class Loader:
    """Loads from LOG, records the users asked for, and can be delayed or made to fail."""

    def __init__(self, histories=None):
        self.asked, self.histories = [], histories
        self.started, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.error = None

    def __call__(self, ids):
        self.asked.append(ids.tolist())
        histories = load(ids) if self.histories is None else self.histories(ids)
        self.started.set()
        assert self.released.wait(20)
        if self.error is not None:
            raise self.error
        return histories


class BrokenStore(dict):
    """A dict that can stop answering."""

    broken = False

    def __getitem__(self, key):
        if self.broken:
            raise ConnectionError("the store is down")
        return super().__getitem__(key)

    def __setitem__(self, key, value):
        if self.broken:
            raise ConnectionError("the store is down")
        super().__setitem__(key, value)

    def __delitem__(self, key):
        if self.broken:
            raise ConnectionError("the store is down")
        super().__delitem__(key)


@pytest.fixture(autouse=True)
def short_rest(monkeypatch):
    monkeypatch.setattr(_stores.GuardedStore, "rest", 0.05)


@pytest.fixture(params=["memory", "dict", "lmdb", "redis"])
def store(request, tmp_path):
    if request.param == "lmdb":
        pytest.importorskip("lmdb")
        opened = LMDBStore(tmp_path / "vectors", max_bytes=2**24)
        yield opened
        opened.close()
    elif request.param == "redis":
        yield RedisStore(request.getfixturevalue("redis_server").url, timeout=5)
    else:
        yield {} if request.param == "dict" else None


@pytest.fixture
def makes():
    """Makes caches and closes them."""
    made = []

    def make(*arguments, **options):
        made.append(UserVectorCache(*arguments, **options))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def pending(cache):
    """Return the users that a task is computing."""
    return list(cache._claims)


def eventually(holds):
    until = time.monotonic() + 20
    while not holds() and time.monotonic() < until:
        time.sleep(0.005)
    assert holds()


@pytest.mark.parametrize("deadline", [None, 30.0])
def test_vectors_are_computed_once_and_then_cached(store, makes, deadline):
    cache, loader = makes(ENCODER, store, deadline=deadline), Loader()
    vectors, status = cache.get([3, 4], loader)
    np.testing.assert_array_equal(vectors, vectors_of([3, 4]))
    assert status.tolist() == ["fresh", "fresh"]
    # The answer does not wait for the write.
    eventually(lambda: not pending(cache))
    vectors, status = cache.get([4, 7, 3], loader)
    np.testing.assert_array_equal(vectors, vectors_of([4, 7, 3]))
    assert status.tolist() == ["cached", "fresh", "cached"]
    assert loader.asked == [[3, 4], [7]]
    counters = cache.counters
    assert (counters["hits"], counters["misses"], counters["fresh"]) == (2, 3, 3)


@pytest.mark.parametrize("store", ["dict", "lmdb", "redis"], indirect=True)
def test_a_store_is_a_mapping_of_bytes(store):
    store["skue:a"] = b"1"
    store.update({"skue:b": b"2"})
    assert (store["skue:a"], store.get("skue:c"), len(store)) == (b"1", None, 2)
    assert sorted(store) == ["skue:a", "skue:b"]
    del store["skue:a"]
    with pytest.raises(KeyError):
        store["skue:a"]
    with pytest.raises(KeyError):
        del store["skue:a"]


def test_redis_removes_expired_entries(redis_server):
    store = RedisStore(redis_server.url, expire=0.02, timeout=5)
    store["skue:a"] = b"1"
    eventually(lambda: "skue:a" not in store)


def test_another_encoder_never_serves_the_old_vectors(makes):
    other, store = MixedUserEncoder(ITEMS).fit([[0, 1]]), {}
    makes(ENCODER, store).get([3], load)
    vectors, status = makes(other, store).get([3], load)
    assert status.tolist() == ["fresh"]
    np.testing.assert_array_equal(vectors, vectors_of([3], other))


def test_refitting_the_encoder_does_not_change_the_cache(makes):
    encoder = DecayAverageUserEncoder(ITEMS).fit([[0, 1, 2], [3, 4], [5]])
    cache = makes(encoder)
    encoder.set_params(item_embeddings=ItemEmbeddings(np.eye(9)), decay=2.0).fit([[0]])
    np.testing.assert_array_equal(cache.get([3], load)[0], vectors_of([3]))
    assert cache.encoder_id == ENCODER.encoder_id_ == cache.encoder.encoder_id_


@pytest.mark.parametrize("user", ["ann", 7])
def test_a_single_user_in_place_of_a_list_raises(makes, user):
    with pytest.raises(ValueError, match=r"user_ids must be a list of ids.*Write one id as"):
        makes(ENCODER).get(user, load)


@pytest.mark.parametrize("store", ["memory", "dict"], indirect=True)
def test_a_vector_older_than_max_age_is_computed_again(store, makes, monkeypatch):
    cache, loader = makes(ENCODER, store, max_age=10), Loader()
    cache.get([3], loader)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 9)
    assert cache.get([3], loader)[1].tolist() == ["cached"]
    monkeypatch.setattr(time, "time", lambda: real() + 11)
    assert cache.get([3], loader)[1].tolist() == ["fresh"]
    assert len(loader.asked) == 2
    assert 9 <= cache.counters["max_vector_age"] < 11


def test_a_late_user_gets_the_fallback_and_later_the_vector(makes):
    cache, loader = makes(ENCODER, deadline=0.02), Loader()
    loader.released.clear()
    vectors, status = cache.get([3], loader)
    assert status.tolist() == ["fallback"]
    np.testing.assert_array_equal(vectors[0], FALLBACK)
    assert cache.counters["timeouts"] == 1
    loader.released.set()
    eventually(lambda: not pending(cache))
    vectors, status = cache.get([3], loader)
    assert status.tolist() == ["cached"]
    np.testing.assert_array_equal(vectors, vectors_of([3]))


@pytest.mark.parametrize("store", ["memory", "dict"], indirect=True)
@pytest.mark.parametrize("how", ["invalidated", "too-old"])
def test_a_late_user_gets_the_last_good_vector_if_there_is_one(store, makes, how, monkeypatch):
    cache, loader = makes(ENCODER, store, deadline=20, max_age=10), Loader()
    cache.get([3], loader)
    eventually(lambda: not pending(cache))
    if how == "invalidated":
        cache.invalidate([3])
    else:
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 11)
    loader.released.clear()
    cache.deadline = 0.05
    vectors, status = cache.get([3, 4], loader)
    assert status.tolist() == ["stale", "fallback"]
    np.testing.assert_array_equal(vectors, [vectors_of([3])[0], FALLBACK])
    loader.released.set()
    eventually(lambda: not pending(cache))


def test_a_full_pool_returns_the_fallback_at_once(makes, monkeypatch):
    monkeypatch.setattr(_workers, "N_THREADS", 1)
    monkeypatch.setattr(_workers, "N_WAITING", 1)
    cache, loader = makes(ENCODER, deadline=0.02), Loader()
    loader.released.clear()
    cache.get([3], loader)
    cache.get([4], loader)
    cache.deadline = 1000
    _, status = cache.get([5], loader)
    assert status.tolist() == ["fallback"]
    assert cache.counters["shed"] == 1
    loader.released.set()
    eventually(lambda: not pending(cache))
    assert cache.get([3, 4, 5], loader)[1].tolist() == ["cached", "cached", "fresh"]


@pytest.mark.parametrize(
    ("histories", "error", "message"),
    [
        (None, OSError("the log is away"), "the log is away"),
        (lambda ids: [[1]], None, "load returned 1 histories for 2 users"),
        (
            lambda ids: Histories.from_lists([[1], [2]], user_ids=[3, 99]),
            None,
            r"not asked for, such as \[99\]",
        ),
        (lambda ids: "nonsense", None, "X must be Histories"),
    ],
    ids=["raises", "rows", "users", "type"],
)
def test_a_load_that_fails_is_counted_and_logged(makes, caplog, histories, error, message):
    cache, loader = makes(ENCODER), Loader(histories)
    loader.error = error
    vectors, status = cache.get([3, 4], loader)
    assert status.tolist() == ["fallback", "fallback"]
    np.testing.assert_array_equal(vectors, [FALLBACK, FALLBACK])
    assert cache.counters["load_errors"] == 1
    eventually(lambda: re.search(message, caplog.text))
    assert cache.get([3], load)[1].tolist() == ["fresh"]


def test_a_failed_load_leaves_the_last_good_vector(makes):
    cache, loader = makes(ENCODER, {}), Loader()
    cache.get([3], loader)
    cache.invalidate([3])
    loader.error = OSError("the log is away")
    vectors, status = cache.get([3], loader)
    assert status.tolist() == ["stale"]
    np.testing.assert_array_equal(vectors, vectors_of([3]))


@pytest.mark.parametrize("deadline", [None, 20.0])
def test_the_cache_works_while_the_store_is_down(makes, deadline):
    store = BrokenStore()
    cache, loader = makes(ENCODER, store, deadline=deadline), Loader()
    cache.get([3], loader)
    eventually(lambda: not pending(cache))
    store.broken = True
    vectors, status = cache.get([3, 4], loader)
    assert status.tolist() == ["cached", "fresh"]
    np.testing.assert_array_equal(vectors, vectors_of([3, 4]))
    assert cache.get([3, 4], loader)[1].tolist() == ["cached", "cached"]
    assert cache.counters["store_errors"] >= 1
    store.broken = False
    time.sleep(0.06)
    assert cache.get([5], loader)[1].tolist() == ["fresh"]
    eventually(lambda: key_of(cache.encoder_id, 5) in store)


def test_an_invalidation_during_an_outage_still_holds_after_it(makes):
    store, histories = BrokenStore(), {3: [1]}
    cache = makes(ENCODER, store)

    def current(ids):
        return [histories[user] for user in ids.tolist()]

    cache.get([3], current)
    store.broken = True
    histories[3] = [1, 5]
    cache.invalidate([3])
    store.broken = False
    time.sleep(0.06)
    vectors, status = cache.get([3], current)
    assert status.tolist() == ["fresh"]
    np.testing.assert_array_equal(vectors, ENCODER.transform([[1, 5]]))
    vectors, status = makes(ENCODER, store).get([3], current)
    np.testing.assert_array_equal(vectors, ENCODER.transform([[1, 5]]))


def test_a_full_redis_can_still_be_read(redis_server, makes):
    import redis

    store = RedisStore(redis_server.url, timeout=5)
    makes(ENCODER, store).get([3], load)
    redis.Redis.from_url(redis_server.url).config_set("maxmemory", "1")
    cache = makes(ENCODER, store)
    assert cache.get([4], load)[1].tolist() == ["fresh"]
    assert cache.counters["store_errors"] == 1
    assert cache.get([3], load)[1].tolist() == ["cached"]


@pytest.mark.skipif(os.name != "posix", reason="stops the server by a signal")
def test_a_redis_that_hangs_does_not_delay_the_caller(redis_server, makes):
    cache = makes(ENCODER, RedisStore(redis_server.url, timeout=5), deadline=0.05)
    cache.get([3], load)
    eventually(lambda: not pending(cache))
    redis_server.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    _, status = cache.get([3, 4], load)
    waited = time.monotonic() - started
    redis_server.process.send_signal(signal.SIGCONT)
    assert status.tolist() == ["cached", "fallback"]
    # Not a measure of speed: the server's own time-out is a hundred deadlines.
    assert waited < 4
    eventually(lambda: not pending(cache))


def test_an_invalidated_user_is_computed_again(store, makes):
    cache, loader = makes(ENCODER, store), Loader()
    cache.get([3, 4], loader)
    cache.invalidate([3])
    assert cache.get([3, 4], loader)[1].tolist() == ["fresh", "cached"]
    assert loader.asked == [[3, 4], [3]]


class SlowWrites(dict):
    """A store whose next write waits until it is released."""

    def __init__(self):
        super().__init__()
        self.writing, self.released = threading.Event(), threading.Event()

    def __setitem__(self, key, value):
        if not self.writing.is_set():
            self.writing.set()
            assert self.released.wait(20)
        super().__setitem__(key, value)


def test_an_outdated_write_is_ignored_and_removed(makes):
    store = SlowWrites()
    cache = makes(ENCODER, store, deadline=20)
    cache.get([3], lambda ids: [[1]])
    assert store.writing.wait(20)
    cache.invalidate([3])
    expected = ENCODER.transform([[1, 5]])
    np.testing.assert_array_equal(cache.get([3], lambda ids: [[1, 5]])[0], expected)
    store.released.set()
    eventually(lambda: not pending(cache))
    for _ in range(2):
        np.testing.assert_array_equal(cache.get([3], lambda ids: [[1, 5]])[0], expected)
        eventually(lambda: not pending(cache))
    # Nor does another process find it, once it is removed.
    others = lambda: makes(ENCODER, store).get([3], lambda ids: [[1, 5]])[0]  # noqa: E731
    eventually(lambda: np.array_equal(others(), expected))


def test_warm_stores_the_vectors_of_a_new_encoder(makes):
    other, store = MixedUserEncoder(ITEMS).fit([[0, 1]]), {}
    makes(ENCODER, store).get([3], load)
    cache, loader = makes(other, store), Loader()
    assert cache.warm([3, 4, 3], loader) == 2
    vectors, status = cache.get([3, 4], loader)
    assert status.tolist() == ["cached", "cached"]
    assert loader.asked == [[3, 4]]
    np.testing.assert_array_equal(vectors, vectors_of([3, 4], other))


def test_warm_loads_in_batches_and_counts_the_vectors_that_the_memory_holds(makes, monkeypatch):
    monkeypatch.setattr(_cache, "_WARM_BATCH", 7)
    for max_entries, n_held in ((100, 20), (4, 4)):
        loader, cache = Loader(), makes(ENCODER, max_entries=max_entries)
        assert cache.warm(np.arange(20), loader) == n_held
        assert [len(batch) for batch in loader.asked] == [7, 7, 6]
        assert f"n_entries={n_held}" in repr(cache)


@pytest.mark.parametrize(
    "options",
    [
        {"expire": 0},
        {"expire": "7"},
        {"timeout": 0},
    ],
)
def test_invalid_options_of_redis_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RedisStore(**options)


def test_warm_raises_the_errors_of_load(makes):
    loader = Loader()
    loader.error = OSError("the log is away")
    cache = makes(ENCODER)
    with pytest.raises(OSError, match="the log is away"):
        cache.warm([3], loader)
    assert cache.get([3], load)[1].tolist() == ["fresh"]


def test_warm_raises_while_the_store_is_down(makes):
    store = BrokenStore()
    store.broken = True
    with pytest.raises(RuntimeError, match=r"failed to write 1 vectors.*store is down.*Call warm"):
        makes(ENCODER, store).warm([3], load)


def test_memory_keeps_at_most_max_entries(makes):
    cache, loader = makes(ENCODER, max_entries=2), Loader()
    for user in (1, 2, 1, 3):
        cache.get([user], loader)
    assert cache.get([1, 3, 2], loader)[1].tolist() == ["cached", "cached", "fresh"]


def test_unknown_item_rate_is_the_share_of_unknown_items(makes):
    cache = makes(ENCODER)
    cache.get([1, 2], lambda ids: [[0, 77], [88, 99]])
    assert cache.counters["unknown_item_rate"] == 3 / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_entries": 0}, r"'max_entries' parameter of UserVectorCache .* Got 0 instead"),
        ({"deadline": -1}, r"'deadline' parameter of UserVectorCache .* Got -1 instead"),
        ({"max_age": "1d"}, r"'max_age' parameter of UserVectorCache .* Got '1d' instead"),
        ({"key": "secret" * 9}, "key must be bytes, at least 16, got str. Make one with secrets"),
        ({"key": b"k" * 15}, "key must be bytes, at least 16, got 15 bytes"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        UserVectorCache(ENCODER, **options)


def test_an_unfitted_or_raising_encoder_is_refused():
    with pytest.raises(ValueError, match=r"cold_start='raise'.*Set cold_start='mean'"):
        UserVectorCache(DecayAverageUserEncoder(ITEMS, cold_start="raise").fit([[0]]))
    with pytest.raises(ValueError, match="must be a user encoder, got str"):
        UserVectorCache("encoder")
    with pytest.raises(Exception, match="is not fitted"):
        UserVectorCache(DecayAverageUserEncoder(ITEMS))
