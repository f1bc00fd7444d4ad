"""Threads of the cache: who waits for whom, and that programs end."""

import os
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
from skue.serving.cache._workers import WorkerPool

ENCODER = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2))).fit([[0], [1]])


def load(ids):
    return [[0]] * len(ids)


@pytest.fixture
def never():
    """A load that returns when the test is over."""
    over = threading.Event()

    def stuck(ids):
        over.wait(60)
        return load(ids)

    yield stuck
    over.set()


@pytest.fixture
def run():
    """Runs a program that has the names above, and returns what it printed."""

    def run(body, timeout=30):
        head = """
            import os, signal, sys, threading, time
            import numpy as np
            from skue import *
            enc = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2))).fit([[0], [1]])
            load = lambda ids: [[0]] * len(ids)
            never = threading.Event()
        """
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(body)],
            cwd=Path(skue.__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


def test_users_in_the_store_are_served_although_all_loads_are_stuck(never):
    store = {}
    UserVectorCache(ENCODER, store).get(np.arange(100), load)
    with UserVectorCache(ENCODER, store, deadline=0.05) as cache:
        for user in range(1000, 1060):
            assert cache.get([user], never)[1].tolist() == ["fallback"]
        assert cache.counters["shed"] > 0
        cache.deadline = 20
        for user in range(100):
            assert cache.get([user], load)[1].tolist() == ["cached"]


def test_a_batch_with_stuck_users_gives_the_others_their_vectors(never):
    store = {}
    UserVectorCache(ENCODER, store).get([1, 2], load)
    with UserVectorCache(ENCODER, store, deadline=0.3) as cache:
        assert cache.get([1, 3, 2], never)[1].tolist() == ["cached", "fallback", "cached"]


def test_close_does_not_wait_and_who_waits_is_answered(never):
    cache, answers = UserVectorCache(ENCODER, deadline=30), []
    threads = [
        threading.Thread(target=lambda user=user: answers.append(cache.get([user], never)))
        for user in range(12)
    ]
    for thread in threads:
        thread.start()
    at_work, until = cache._runner._loaders._at_work, time.monotonic() + 20
    while time.monotonic() < until:
        if len(cache._pending) == 12 and sum(list(at_work.values())) == 8:
            break
        time.sleep(0.005)
    started = time.monotonic()
    cache.close()
    assert time.monotonic() - started < 5
    # Eight are at work; the four that nobody has begun are told.
    until = time.monotonic() + 20
    while len(answers) < 4 and time.monotonic() < until:
        time.sleep(0.005)
    assert [status.tolist() for _, status in answers] == [["fallback"]] * 4


@pytest.mark.parametrize("deadline", [None, 20])
def test_a_closed_cache_computes_nothing_more(deadline):
    with UserVectorCache(ENCODER, deadline=deadline) as cache:
        cache.get([1], load)
    asked = []
    assert cache.get([1, 2], asked.append)[1].tolist() == ["cached", "fallback"]
    assert not asked


def test_a_cache_that_is_let_go_is_let_go_by_its_threads(monkeypatch):
    import gc
    import weakref

    from skue.serving.cache import _workers

    monkeypatch.setattr(_workers, "_IDLE", 0.05)
    cache = UserVectorCache(ENCODER, deadline=20)
    cache.get([1], load)
    gone = weakref.ref(cache)
    threads = list(cache._runner._loaders._at_work)
    del cache
    until = time.monotonic() + 20
    while (gone() is not None or threads[0].is_alive()) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None
    assert not threads[0].is_alive()


def test_a_pool_takes_as_many_tasks_as_it_has_threads_and_places():
    pool, go, done = WorkerPool(2, 3, "test"), threading.Event(), []

    def step(task):
        assert go.wait(20)
        done.append(task)

    taken = []
    for task in range(10):
        taken.append(pool.submit(step, task))
        time.sleep(0.01)
    assert taken == [True] * 5 + [False] * 5
    go.set()
    until = time.monotonic() + 20
    while len(done) < 5 and time.monotonic() < until:
        time.sleep(0.005)
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert pool.submit(done.append, 5)
    assert not pool.close() or 5 not in done


def test_a_step_that_raises_does_not_cost_the_pool_its_thread(caplog):
    pool, ran = WorkerPool(1, 5, "test"), threading.Event()

    def fails(task):
        raise SystemExit

    assert pool.submit(fails, 0)
    assert pool.submit(lambda task: ran.set(), 1)
    assert ran.wait(20)
    assert "met an error" in caplog.text


@pytest.mark.parametrize(("closed", "has_store"), [(True, False), (False, True)])
def test_a_program_ends_although_loads_never_return(run, closed, has_store):
    started = time.monotonic()
    ended = run(f"""
        cache = UserVectorCache(enc, {{}} if {has_store} else None, deadline=0.05)
        for user in range(50):
            cache.get([user], lambda ids: never.wait())
        if {closed}:
            cache.close()
        print("done", flush=True)
    """)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
    assert time.monotonic() - started < 25


def test_a_program_ends_although_a_store_never_answers(run):
    ended = run("""
        class Stuck(dict):
            def __getitem__(self, key):
                never.wait()
        cache = UserVectorCache(enc, Stuck(), deadline=0.05)
        print(cache.get([1], load)[1][0], flush=True)
    """)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fallback\n", "")


def test_the_end_of_a_program_waits_for_loads_that_return_promptly(run, tmp_path):
    ended = run(f"""
        class Folder(dict):
            def update(self, entries):
                open({str(tmp_path / "kept")!r}, "wb").write(b"".join(entries.values()))
        def slow(ids):
            time.sleep(0.4)
            return load(ids)
        cache = UserVectorCache(enc, Folder(), deadline=0.01)
        print(cache.get([1], slow)[1][0], flush=True)
    """)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fallback\n", "")
    assert len((tmp_path / "kept").read_bytes()) > 16


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts by a signal")
def test_ctrl_c_ends_a_program_whose_get_waits_for_a_load_that_never_returns(run):
    ended = run("""
        cache = UserVectorCache(enc)
        first = threading.Thread(
            target=cache.get, args=([1], lambda ids: never.wait()), daemon=True
        )
        first.start()
        time.sleep(0.2)
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            cache.get([1], load)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_computes_whom_its_parent_was_computing(run):
    ended = run("""
        import warnings
        warnings.simplefilter("ignore")
        cache = UserVectorCache(enc, deadline=0.05)
        cache.get([1], lambda ids: never.wait())
        if not os.fork():
            cache.deadline = 20
            print(cache.get([1], load)[1][0], flush=True)
        else:
            os.wait()
    """)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fresh\n", "")


@pytest.mark.parametrize("deadline", [float("inf"), 1e300, 10**400])
def test_a_deadline_without_end_waits_until_all_is_there(deadline):
    if deadline == 10**400:
        with pytest.raises((ValueError, OverflowError)):
            UserVectorCache(ENCODER, deadline=deadline).get([1], load)
        return
    with UserVectorCache(ENCODER, deadline=deadline, max_age=deadline) as cache:
        assert cache.get([1], load)[1].tolist() == ["fresh"]
        assert cache.get([1], load)[1].tolist() == ["cached"]


def test_fifty_threads_ask_for_overlapping_users_and_each_is_loaded_once():
    loaded, lock = [], threading.Lock()

    def counted(ids):
        with lock:
            loaded.extend(ids.tolist())
        time.sleep(0.002)
        return [[user % 2] for user in ids.tolist()]

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
