"""Interrupted callers of the cache: no claim, lock or thread is lost."""

import dis
import random
import signal
import sys
import threading
import time
from functools import cache

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, ItemEmbeddings, UserVectorCache

ITEMS = ItemEmbeddings(np.eye(4))
ENCODER = DecayAverageUserEncoder(ITEMS).fit([[0], [1]])


class Late(BaseException):
    """Raised by a signal handler, as a time limit of a request would be."""


def load(ids):
    return [[user % 4] for user in ids.tolist()]


def truth(users):
    return np.eye(4, dtype=np.float32)[[user % 4 for user in users]]


def in_time(function, *arguments):
    """Call in another thread, so that a call that hangs fails the test instead of the run."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)), daemon=True)
    thread.start()
    thread.join(20)
    assert results, "the call hangs or failed"
    return results[0]


def pending(cache):
    """Return the users that a task is computing."""
    with cache._state.lock:
        return [user for user, task in cache._state._claims.items() if not task.done()]


def assert_nothing_is_lost(cache, users):
    """Assert that the next get has all vectors, no lock is held and no user is claimed."""
    cache.deadline = None if cache.deadline is None else 20
    vectors, status = in_time(cache.get, users, load)
    np.testing.assert_array_equal(vectors, truth(users))
    assert set(status) <= {"fresh", "cached"}
    until = time.monotonic() + 20
    while pending(cache) and time.monotonic() < until:
        time.sleep(0.001)
    assert not pending(cache)
    locks = [cache._state.lock, cache._counters._lock, cache._runner._loaders._lock]
    assert not any(lock.locked() for lock in [*locks, cache._runner._readers._lock])


@cache
def points_of(code):
    """Return where the interpreter may run signal handlers: at starts, jumps back, after calls.

    An exception raised after a call belongs to the call. Raising it at the next instruction is
    equivalent only if both instructions have the same exception handler.
    """
    bytecode = dis.Bytecode(code)

    def handler_of(offset):
        inside = [e for e in bytecode.exception_entries if e.start <= offset < e.end]
        return inside[-1].target if inside else None

    points, call = set(), None
    for instruction in bytecode:
        name, offset = instruction.opname, instruction.offset
        follows = call is not None and handler_of(offset) == handler_of(call)
        if follows or name == "RESUME" or "JUMP_BACKWARD" in name:
            points.add(offset)
        call = offset if name.startswith("CALL") else None
    return frozenset(points)


class RaisesAt:
    """Raises in this thread when the code reaches its n-th point."""

    def __init__(self, n):
        self.left = n

    def __call__(self, frame, event, argument):
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in points_of(frame.f_code):
            self.left -= 1
            if self.left == 0:
                raise Late
        return self


def interrupted_at(n, function, *arguments):
    """Call a function, interrupt it at the n-th point, and return whether it got that far."""
    before, raises = sys.gettrace(), RaisesAt(n)
    sys.settrace(raises)
    try:
        function(*arguments)
    except Late:
        assert raises.left == 0
    finally:
        sys.settrace(before)
    return raises.left == 0


# Exceptions in callbacks of the garbage collector cannot be caught.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="traces by what Python 3.11 compiles to")
@pytest.mark.parametrize("has_store", [False, True], ids=["memory", "store"])
@pytest.mark.parametrize("deadline", [None, 5.0])
@pytest.mark.parametrize("call", ["get", "warm", "invalidate"])
def test_a_call_can_be_interrupted_at_every_point(has_store, deadline, call):
    n, users = 0, [0, 1]
    while True:
        # Every point, but only one in seven of those inside the encoder.
        n += 1 if n < 200 else 7
        cache = UserVectorCache(ENCODER, {} if has_store else None, deadline=deadline)
        if call == "invalidate":
            cache.warm(users, load)
            was_interrupted = interrupted_at(n, cache.invalidate, users)
        else:
            was_interrupted = interrupted_at(n, getattr(cache, call), users, load)
        assert_nothing_is_lost(cache, users)
        cache.close()
        if not was_interrupted:
            break
    assert n > 10


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
@pytest.mark.parametrize("has_store", [False, True], ids=["memory", "store"])
@pytest.mark.parametrize("deadline", [None, 0.01])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signal_handlers_that_raise_lose_nothing(has_store, deadline):
    n_calls, n_interrupted = interrupt_for(0.5, has_store, deadline, seed=0)
    assert n_interrupted > 50
    assert n_calls > n_interrupted / 2


def interrupt_for(seconds, has_store, deadline, seed):
    """Interrupt gets at random moments, while other threads ask for the same users."""
    cache = UserVectorCache(ENCODER, {} if has_store else None, deadline=deadline, max_entries=50)
    rng, armed, n_calls, n_interrupted = random.Random(seed), [False], 0, 0
    current, stop, wrong = [0], threading.Event(), []

    def handler(number, frame):
        if armed[0]:
            armed[0] = False
            raise Late

    def slow_load(ids):
        time.sleep(1e-4)
        return load(ids)

    def ask_too():
        while not stop.is_set():
            users = [current[0], current[0] + 1]
            vectors, status = cache.get(users, slow_load)
            for user, vector, state in zip(users, vectors, status, strict=True):
                if state in ("fresh", "cached") and not np.array_equal(vector, truth([user])[0]):
                    wrong.append(user)
                elif deadline is None and state not in ("fresh", "cached"):
                    wrong.append((user, state))
            time.sleep(1e-4)

    others = [threading.Thread(target=ask_too, daemon=True) for _ in range(2)]
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for thread in others:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            n_calls += 1
            current[0] = 2 * n_calls
            try:
                armed[0] = True
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(2e-5, 1e-3))
                cache.get([current[0], current[0] + 1], slow_load)
                armed[0] = False
            except Late:
                n_interrupted += 1
            armed[0] = False
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        stop.set()
        signal.signal(signal.SIGALRM, before)
    for thread in others:
        thread.join(20)
        assert not thread.is_alive()
    assert not wrong
    assert_nothing_is_lost(cache, list(range(max(2 * n_calls - 2000, 0), 2 * n_calls)))
    cache.close()
    return n_calls, n_interrupted


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_get_raises_keyboard_interrupt_and_computes_the_user_later(error):
    def ends(ids):
        raise error

    cache = UserVectorCache(ENCODER)
    with pytest.raises(error):
        cache.get([1], ends)
    assert_nothing_is_lost(cache, [1])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_in_a_thread_of_the_cache_is_a_failed_load(error, caplog):
    def ends(ids):
        raise error

    with UserVectorCache(ENCODER, deadline=20) as cache:
        for user in range(20):
            assert cache.get([user], ends)[1].tolist() == ["fallback"]
        assert cache.counters["load_errors"] == 20
        assert_nothing_is_lost(cache, [1])
    assert "met an error" in caplog.text


def test_a_caller_that_waits_for_an_interrupted_call_computes_the_user():
    cache, loading, go = UserVectorCache(ENCODER), threading.Event(), threading.Event()
    answers = []

    def ends(ids):
        loading.set()
        assert go.wait(20)
        raise KeyboardInterrupt

    def interrupted():
        with pytest.raises(KeyboardInterrupt):
            cache.get([1], ends)

    first = threading.Thread(target=interrupted)
    first.start()
    assert loading.wait(20)
    second = threading.Thread(target=lambda: answers.append(cache.get([1], load)))
    second.start()
    time.sleep(0.05)
    go.set()
    first.join(20)
    second.join(20)
    vectors, status = answers[0]
    assert status.tolist() == ["fresh"]
    np.testing.assert_array_equal(vectors, truth([1]))


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
        assert_nothing_is_lost(cache, [1, 2])


def test_a_task_waits_for_existing_threads_if_no_other_can_be_started(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    go = threading.Event()

    def slow(ids):
        assert go.wait(20)
        return load(ids)

    with UserVectorCache(ENCODER, deadline=0.05) as cache:
        assert cache.get([1], slow)[1].tolist() == ["fallback"]
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            assert cache.get([2], slow)[1].tolist() == ["fallback"]
        assert cache.counters["shed"] == 0
        go.set()
        assert_nothing_is_lost(cache, [1, 2])
        assert cache.counters["load_errors"] == 0
