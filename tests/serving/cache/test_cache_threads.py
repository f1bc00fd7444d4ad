"""Threads of the cache: which calls wait, and that programs end."""

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
from skue.serving._cache import WorkerPool

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


# Forks a process for every program, which spares each the imports. A program ends as any other:
# by reaching the end of the script.
SERVER = """
import os, signal, sys, threading, time
import numpy as np
from skue import *
from skue.serving import _threads
_threads.EXIT_PATIENCE = 0.1
enc = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2))).fit([[0], [1]])
load = lambda ids: [[0]] * len(ids)
never = threading.Event()
for program in sys.stdin:
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)
signal.alarm(30)
for descriptor, path in zip((1, 2), sys.argv[1:]):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
exec(eval(program))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a program that has the names above; returns its exit code, output and errors."""
    if not hasattr(os, "fork"):
        pytest.skip("forks")
    out, errors = (tmp_path_factory.mktemp("run") / name for name in ("out", "errors"))
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, out, errors],
        cwd=Path(skue.__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:

        def run(program):
            server.stdin.write(f"{textwrap.dedent(program)!r}\n")
            server.stdin.flush()
            return int(server.stdout.readline()), out.read_text(), errors.read_text()

        yield run
        server.stdin.close()


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


def test_a_stuck_user_does_not_delay_the_stored_users_of_a_batch(never):
    store = {}
    UserVectorCache(ENCODER, store).get([1, 2], load)
    with UserVectorCache(ENCODER, store, deadline=0.3) as cache:
        assert cache.get([1, 3, 2], never)[1].tolist() == ["cached", "fallback", "cached"]


def test_close_does_not_wait_and_answers_the_callers_of_queued_tasks(never):
    cache, answers = UserVectorCache(ENCODER, deadline=30), []
    threads = [
        threading.Thread(target=lambda user=user: answers.append(cache.get([user], never)))
        for user in range(12)
    ]
    for thread in threads:
        thread.start()
    at_work, until = cache._runner._loaders._at_work, time.monotonic() + 20
    while time.monotonic() < until:
        if len(cache._state._claims) == 12 and sum(list(at_work.values())) == 8:
            break
        time.sleep(0.005)
    started = time.monotonic()
    cache.close()
    assert time.monotonic() - started < 5
    # Eight are being loaded; the callers of the four queued ones get an answer.
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


def test_idle_threads_do_not_keep_a_cache_alive(monkeypatch):
    import gc
    import weakref

    from skue.serving import _cache as _threads

    monkeypatch.setattr(_threads, "_IDLE", 0.05)
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


def test_a_pool_accepts_as_many_tasks_as_it_has_threads_and_queue_places():
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


def test_a_step_that_raises_does_not_end_its_thread(caplog):
    pool, ran = WorkerPool(1, 5, "test"), threading.Event()

    def fails(task):
        raise SystemExit

    assert pool.submit(fails, 0)
    assert pool.submit(lambda task: ran.set(), 1)
    assert ran.wait(20)
    assert "met an error" in caplog.text


@pytest.mark.parametrize(("closed", "has_store"), [(True, False), (False, True)])
def test_a_program_ends_while_loads_never_return(run, closed, has_store):
    started = time.monotonic()
    ended = run(f"""
        cache = UserVectorCache(enc, {{}} if {has_store} else None, deadline=0.01)
        for user in range(50):
            cache.get([user], lambda ids: never.wait())
        if {closed}:
            cache.close()
        print("done", flush=True)
    """)
    assert ended == (0, "done\n", "")
    assert time.monotonic() - started < 25


def test_a_program_ends_while_a_store_never_answers(run):
    ended = run("""
        class Stuck(dict):
            def __getitem__(self, key):
                never.wait()
        cache = UserVectorCache(enc, Stuck(), deadline=0.05)
        print(cache.get([1], load)[1][0], flush=True)
    """)
    assert ended == (0, "fallback\n", "")


def test_the_end_of_a_program_waits_for_a_short_load(run, tmp_path):
    ended = run(f"""
        _threads.EXIT_PATIENCE = 20.0
        class Folder(dict):
            def update(self, entries):
                open({str(tmp_path / "kept")!r}, "wb").write(b"".join(entries.values()))
        def slow(ids):
            time.sleep(0.2)
            return load(ids)
        cache = UserVectorCache(enc, Folder(), deadline=0.01)
        print(cache.get([1], slow)[1][0], flush=True)
    """)
    assert ended == (0, "fallback\n", "")
    assert len((tmp_path / "kept").read_bytes()) > 16


def test_ctrl_c_interrupts_a_get_that_waits_for_a_load(run):
    ended = run("""
        cache = UserVectorCache(enc)
        first = threading.Thread(
            target=cache.get, args=([1], lambda ids: never.wait()), daemon=True
        )
        first.start()
        time.sleep(0.1)
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            cache.get([1], load)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    assert ended == (0, "interrupted\n", "")


def test_a_forked_process_computes_a_user_that_its_parent_was_computing(run):
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
    assert ended == (0, "fresh\n", "")


@pytest.mark.parametrize("deadline", [float("inf"), 1e300, 10**400])
def test_an_infinite_deadline_waits_for_all_vectors(deadline):
    if deadline == 10**400:
        with pytest.raises((ValueError, OverflowError)):
            UserVectorCache(ENCODER, deadline=deadline).get([1], load)
        return
    with UserVectorCache(ENCODER, deadline=deadline, max_age=deadline) as cache:
        assert cache.get([1], load)[1].tolist() == ["fresh"]
        assert cache.get([1], load)[1].tolist() == ["cached"]


@pytest.mark.parametrize("deadline", [None, 30])
def test_a_user_computed_between_the_look_and_the_claim_is_not_loaded_again(deadline):
    loaded = []

    def counted(ids):
        loaded.extend(ids.tolist())
        return load(ids)

    with UserVectorCache(ENCODER, deadline=deadline) as cache:
        claim = cache._state.claim

        def late_claim(users, task):
            cache._state.claim = claim
            cache.get([1, 2], counted)
            return claim(users, task)

        cache._state.claim = late_claim
        assert cache.get([1, 3], counted)[1].tolist() == ["cached", "fresh"]
    assert sorted(loaded) == [1, 2, 3]


def test_twenty_threads_with_overlapping_users_load_each_user_once():
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
