"""Entries of a store: which are served, which are ignored, and their keys."""

import pickle
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skue import DecayAverageUserEncoder, ItemEmbeddings, LMDBStore, RedisStore, UserVectorCache
from skue.serving._stores import Entry, key_of, pack_entry, unpack_entry

ENCODER = DecayAverageUserEncoder(ItemEmbeddings(np.eye(3))).fit([[0], [1]])
ID = ENCODER.encoder_id_
UNIT = np.array([0.6, 0.8, 0], dtype=np.float32)
SECRET, OTHER = b"s" * 32, b"o" * 32


def load(ids):
    return [[user % 3] for user in ids.tolist()]


def get(store, user=0, **options):
    """Serve one user from a new cache, as another process would."""
    cache = UserVectorCache(ENCODER, store, **options)
    vectors, status = cache.get([user], load)
    return vectors[0].tolist(), str(status[0]), cache.counters["damaged"]


def entry_for(user, vector=UNIT, age=0.0, secret=None):
    key = key_of(ID, user)
    entry = Entry(np.asarray(vector, dtype=np.float32), time.time() - age)
    return {key: pack_entry(key, entry, secret)}


def test_a_valid_entry_is_served_also_if_clocks_differ_by_a_few_seconds():
    for age in (0.0, -3.0):
        assert get(entry_for(0, age=age)) == (UNIT.tolist(), "cached", 0)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("an entry was unpickled",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        pickle.dumps(Bomb()),
        None,
        *entry_for(1).values(),
        next(iter(entry_for(0).values()))[:-1],
        *entry_for(0, vector=UNIT[:2]).values(),
        *entry_for(0, age=-3600.0).values(),
    ],
    ids=["empty", "noise", "pickle", "none", "other-user", "cut", "other-width", "future"],
)
def test_an_invalid_entry_is_counted_and_computed_again(data):
    store = {key_of(ID, 0): data}
    assert get(store) == ([1, 0, 0], "fresh", 1)
    assert get(store) == ([1, 0, 0], "cached", 0)


def test_an_entry_copied_to_another_user_is_ignored():
    store = {}
    for secret in (None, SECRET):
        get(store, 1, key=secret)
        store[key_of(ID, 0)] = store[key_of(ID, 1)]
        assert get(store, 0, key=secret) == ([1, 0, 0], "fresh", 1)


@pytest.mark.parametrize(
    ("written_with", "read_with"),
    [(None, SECRET), (SECRET, None), (OTHER, SECRET)],
    ids=["unsigned", "signed-for-others", "other-key"],
)
def test_an_entry_signed_with_another_key_is_ignored(written_with, read_with):
    store = entry_for(0, secret=written_with)
    assert get(store, key=read_with) == ([1, 0, 0], "fresh", 1)


def test_entries_forged_without_the_key_are_never_served():
    store = {}
    get(store, 0, key=SECRET)
    get(store, 1, key=SECRET)
    key, signed = key_of(ID, 0), store[key_of(ID, 0)]
    forged = pack_entry(key, Entry(UNIT, time.time()))
    attempts = [
        forged,
        forged[:-16] + signed[-32:],
        pack_entry(key, Entry(UNIT, time.time()), b""),
        store[key_of(ID, 1)],
        signed[:-33] + bytes([signed[-33] ^ 1]) + signed[-32:],
    ]
    for data in attempts:
        store[key] = data
        assert get(store, 0, key=SECRET) == ([1, 0, 0], "fresh", 1)


@pytest.mark.parametrize("secret", [None, SECRET], ids=["plain", "signed"])
def test_every_altered_byte_of_an_entry_is_detected(secret):
    ((key, data),) = entry_for(0, secret=secret).items()
    assert unpack_entry(key, 3, data, secret) is not None
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert unpack_entry(key, 3, altered, secret) is None


def test_the_key_is_shown_nowhere():
    secret = b"do not tell anybody, please"
    cache = UserVectorCache(ENCODER, {}, key=secret)
    assert "tell" not in repr(cache)
    with pytest.raises(ValueError, match="at least 16, got 11 bytes") as raised:
        UserVectorCache(ENCODER, key=b"do not tell")
    assert "tell" not in str(raised.value)


IDS = st.integers(-(2**63), 2**63 - 1) | st.text() | st.text("ab\0\ud800:ü", max_size=5)


@settings(max_examples=50, deadline=None)
@example(["7", 7])
@example(["ann", "ann\0", "ann\0\0", "\0ann"])
@example(["\ud800\udc00", "\U00010000"])
@example(["x" * 256, "x" * 257, "ü" * 128, "ü" * 129, "x" * 1_000_000, "x" * 999_999 + "y"])
@example(["h:" + "0" * 64, "x" * 300])
@given(st.lists(IDS, unique_by=lambda user: (type(user), user)))
def test_different_users_have_different_keys(users):
    keys = [key_of(ID, user) for user in users]
    assert len(set(keys)) == len(users)
    encoded = {key.encode() for key in keys}
    assert len(encoded) == len(users)
    # What LMDB takes at most.
    assert max(map(len, encoded), default=0) <= 511


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_unusual_ids_work_in_real_stores(kind, tmp_path, request):
    if kind == "lmdb":
        pytest.importorskip("lmdb")
        store = LMDBStore(tmp_path)
    else:
        store = RedisStore(request.getfixturevalue("redis_server").url, timeout=5)
    users = ["ann", "ann\0", "ann ", "ann\n", "", "\0", "7", "ü", "\ud800", "x" * 10_000]
    rows = {user: row % 3 for row, user in enumerate(users)}
    histories = lambda ids: [[rows[user]] for user in ids.tolist()]  # noqa: E731
    assert set(UserVectorCache(ENCODER, store).get(users, histories)[1]) == {"fresh"}
    cache = UserVectorCache(ENCODER, store)
    vectors, status = cache.get(users, histories)
    assert set(status) == {"cached"}
    assert vectors.argmax(axis=1).tolist() == list(rows.values())
    assert cache.counters["store_errors"] == cache.counters["damaged"] == 0
