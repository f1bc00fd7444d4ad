"""Index and cache as one object: a switch never mixes versions."""

import threading
import time

import numpy as np
import pytest

from skue import (
    DecayAverageUserEncoder,
    ItemEmbeddings,
    Retriever,
    SpaceMismatchError,
    UserVectorCache,
    export_index,
    open_index,
    rollback,
)

RNG = np.random.default_rng(0)
IDS = [f"item-{i}" for i in range(30)]
SPACES = [ItemEmbeddings(RNG.normal(size=(30, 6)), IDS, space_id=f"space-{v}") for v in range(2)]
LISTS = {user: [IDS[i] for i in RNG.integers(30, size=5)] for user in range(20)}
ENCODERS = [DecayAverageUserEncoder(items).fit(list(LISTS.values())) for items in SPACES]


def load(ids):
    return [LISTS[user] for user in ids.tolist()]


def test_the_retriever_returns_what_the_encoder_recommends(tmp_path):
    export_index(ENCODERS[0], tmp_path)
    serving = Retriever(UserVectorCache(ENCODERS[0]), open_index(tmp_path))
    ids, scores, status = serving.recommend([3, 4], load, k=5, exclude=[LISTS[3], LISTS[4]])
    expected = ENCODERS[0].recommend([LISTS[3], LISTS[4]], 5, exclude_seen=True)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)
    assert status.tolist() == ["fresh", "fresh"]


def test_an_index_of_another_space_is_refused(tmp_path):
    export_index(ENCODERS[1], tmp_path)
    with pytest.raises(SpaceMismatchError, match=r"'space-0'.*'space-1'"):
        Retriever(UserVectorCache(ENCODERS[0]), open_index(tmp_path))


def test_each_request_uses_one_version_during_a_switch(tmp_path):
    """Every answer equals that of the old or the new encoder with its own items."""
    store, problems, done = {}, [], threading.Event()
    export_index(ENCODERS[0], tmp_path)
    current = [Retriever(UserVectorCache(ENCODERS[0], store, deadline=30), open_index(tmp_path))]
    expected = [encoder.recommend([LISTS[user] for user in range(20)], 5) for encoder in ENCODERS]
    answered, seen = set(), set()

    def ask(seed):
        rng = np.random.default_rng(seed)
        while not done.is_set():
            user = int(rng.integers(20))
            serving = current[0]
            version = int(serving.index.space_id[-1])
            ids, scores, _ = serving.recommend([user], load, k=5)
            right_ids, right_scores = expected[version]
            close = np.allclose(scores[0], right_scores[user], atol=1e-6)
            if ids[0].tolist() != right_ids[user].tolist() or not close:
                problems.append((user, version, ids))
            answered.add(version)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for version in (1, 0, 1):
        if version:
            export_index(ENCODERS[1], tmp_path)
        else:
            rollback(tmp_path)
        cache = UserVectorCache(ENCODERS[version], store, deadline=30)
        cache.warm(list(LISTS), load)
        current[0] = Retriever(cache, open_index(tmp_path))
        answered.clear()
        until = time.monotonic() + 20
        while version not in answered and time.monotonic() < until:
            time.sleep(0.005)
        seen |= answered
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert seen == {0, 1}
