"""Threads of the cache: which calls wait, interrupted callers, and that programs end."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import skue
from skue import DecayAverageUserEncoder, ItemEmbeddings, UserVectorCache
from skue.serving._workers import N_THREADS

ENCODER = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2))).fit([[0], [1]])


def load(ids):
    return [[user % 2] for user in ids.tolist()]


def eventually(holds):
    until = time.monotonic() + 20
    while not holds() and time.monotonic() < until:
        time.sleep(0.005)
    assert holds()


@pytest.fixture
def never():
    """A load that returns when the test is over."""
    over = threading.Event()

    def stuck(ids):
        over.wait(60)
        return load(ids)

    stuck.over = over
    yield stuck
    over.set()


def test_stored_users_are_served_while_all_loads_are_stuck(never):
    store = {}
    UserVectorCache(ENCODER, store).get(np.arange(100), load)
    with UserVectorCache(ENCODER, store, deadline=0.01) as cache:
        for user in range(1000, 1060):
            assert cache.get([user], never)[1].tolist() == ["fallback"]
        assert cache.counters["shed"] > 0
        cache.deadline = 20
        for user in range(100):
            assert cache.get([user], load)[1].tolist() == ["cached"]


def test_close_does_not_wait_and_drops_queued_work(never):
    cache, loading = UserVectorCache(ENCODER, deadline=0.02), []

    def stuck(ids):
        loading.append(ids)
        return never(ids)

    for user in range(N_THREADS + 4):
        cache.get([user], stuck)
    started = time.monotonic()
    cache.close()
    assert time.monotonic() - started < 5
    never.over.set()
    time.sleep(0.05)
    assert len(loading) == N_THREADS


@pytest.mark.parametrize("deadline", [None, 20])
def test_a_closed_cache_computes_nothing_more(deadline):
    with UserVectorCache(ENCODER, deadline=deadline) as cache:
        cache.get([1], load)
    asked = []
    assert cache.get([1, 2], asked.append)[1].tolist() == ["cached", "fallback"]
    assert not asked


def in_time(function, *arguments):
    """Call in another thread, so that a call that hangs fails the test instead of the run."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)), daemon=True)
    thread.start()
    thread.join(20)
    assert results, "the call hangs or failed"
    return results[0]


def test_get_raises_keyboard_interrupt_and_computes_the_user_later():
    def ends(ids):
        raise KeyboardInterrupt

    cache = UserVectorCache(ENCODER)
    with pytest.raises(KeyboardInterrupt):
        cache.get([1], ends)
    assert in_time(cache.get, [1], load)[1].tolist() == ["fresh"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_in_a_thread_of_the_cache_is_a_failed_load(error):
    def ends(ids):
        raise error

    with UserVectorCache(ENCODER, deadline=20) as cache:
        for user in range(20):
            assert cache.get([user], ends)[1].tolist() == ["fallback"]
        assert cache.counters["load_errors"] == 20
        assert in_time(cache.get, [1], load)[1].tolist() == ["fresh"]


@pytest.mark.parametrize("has_store", [False, True], ids=["memory", "store"])
def test_a_thread_that_cannot_be_started_affects_one_answer(has_store, monkeypatch, caplog):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with UserVectorCache(ENCODER, {} if has_store else None, deadline=20) as cache:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            started = time.monotonic()
            assert cache.get([1, 2], load)[1].tolist() == ["fallback", "fallback"]
            assert time.monotonic() - started < 10
        assert cache.counters["shed"] == 2
        assert "can't start new thread" in caplog.text
        assert in_time(cache.get, [1, 2], load)[1].tolist() == ["fresh", "fresh"]


PROGRAM = """
import os, signal, threading, time
import numpy as np
from skue import DecayAverageUserEncoder, ItemEmbeddings, UserVectorCache
encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2))).fit([[0], [1]])
never = threading.Event()
signal.alarm(60)

class Stuck(dict):
    def __getitem__(self, key):
        never.wait()

# Loads that never return, of closed and open caches.
for store, closes in ((None, False), ({}, True)):
    cache = UserVectorCache(encoder, store, deadline=0.01)
    for user in range(50):
        cache.get([user], lambda ids: never.wait())
    if closes:
        cache.close()
# A store that never answers.
print(UserVectorCache(encoder, Stuck(), deadline=0.05).get([1], None)[1][0], flush=True)
# Ctrl-C of a call that waits for another one.
cache = UserVectorCache(encoder)
threading.Thread(target=cache.get, args=([1], lambda ids: never.wait()), daemon=True).start()
time.sleep(0.1)
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    cache.get([1], None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="sends signals")
def test_a_program_can_be_interrupted_and_ends_while_loads_and_stores_never_return():
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=Path(skue.__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(Path(skue.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fallback\ninterrupted\n", "")


def test_an_infinite_deadline_waits_for_all_vectors():
    deadline = float("inf")
    with UserVectorCache(ENCODER, deadline=deadline, max_age=deadline) as cache:
        assert cache.get([1], load)[1].tolist() == ["fresh"]
        assert cache.get([1], load)[1].tolist() == ["cached"]


def test_twenty_threads_with_overlapping_users_load_each_user_once():
    loaded, lock = [], threading.Lock()

    def counted(ids):
        with lock:
            loaded.extend(ids.tolist())
        time.sleep(0.002)
        return load(ids)

    for deadline in (None, 30):
        for store in (None, {}):
            loaded.clear()
            with UserVectorCache(ENCODER, store, deadline=deadline) as cache:
                start = threading.Barrier(20)
                wrong = []

                def ask(seed, cache=cache, start=start, wrong=wrong):
                    users = np.random.default_rng(seed).permutation(40)[:15]
                    start.wait(20)
                    for user in users.reshape(5, 3):
                        vectors, _ = cache.get(user, counted)
                        if (vectors.argmax(axis=1) != user % 2).any():
                            wrong.append(user)

                threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(20)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
                assert not wrong
                assert len(loaded) == len(set(loaded))
