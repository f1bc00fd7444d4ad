"""Ctrl-C while the command works."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from skue.compare._stopping import Stopping

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
ROOT = Path(__file__).parents[2]
PREPARED = """
import os, signal, sys
from skue.compare._stopping import Stopping
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("log") / "log.csv"
    lines = [f"{u},{rng.integers(800)}" for u in range(2000) for _ in range(30)]
    path.write_text("user_id,item_id\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_while_the_two_tower_is_fitted_ends_the_command_and_writes_nothing(
    log, tmp_path, number, code
):
    command = [sys.executable, "-m", "skue", "compare", str(log), "--out", str(tmp_path / "report")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # Where the tests run in the background, Ctrl-C may be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    reached = False
    for line in process.stderr:
        if line == "skue compare: two-tower\n":
            reached = True
            break
    time.sleep(0.5)
    assert reached and process.poll() is None
    sent = time.monotonic()
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert time.monotonic() - sent < 30
    assert out == ""
    said = "interrupted" if number == signal.SIGINT else "stopped"
    assert errors == f"skue compare: {said}; nothing was written\n"
    assert os.listdir(tmp_path) == []


def test_code_that_catches_every_exception_cannot_hold_up_a_stop():
    code, out, errors = python("""
with Stopping():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        pass
    print("went on")
""")
    assert (code, out) == (130, "")
    assert errors == "skue compare: interrupted; nothing was written\n"


def test_threads_at_work_are_not_waited_for():
    started = time.monotonic()
    code, _, _ = python("""
import threading, time
from concurrent.futures import ThreadPoolExecutor
with Stopping():
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with ThreadPoolExecutor() as pool:
        pool.submit(time.sleep, 600).result()
""")
    assert code == 130
    assert time.monotonic() - started < 60


def test_what_was_begun_is_undone_newest_first():
    code, out, _ = python("""
with Stopping() as stopping:
    with stopping.undoing(lambda: print("first", flush=True)):
        with stopping.undoing(lambda: print("second", flush=True)):
            os.kill(os.getpid(), signal.SIGINT)
""")
    assert (code, out) == (130, "second\nfirst\n")


def test_a_stop_that_is_held_back_comes_when_the_block_is_through():
    code, out, errors = python("""
with Stopping() as stopping:
    with stopping.held_back():
        os.kill(os.getpid(), signal.SIGINT)
        print("through", flush=True)
        stopping.outcome = "all is written"
    print("went on", flush=True)
""")
    assert (code, out) == (130, "through\n")
    assert errors == "skue compare: interrupted; all is written\n"


def test_a_signal_that_is_to_be_ignored_stays_ignored():
    code, out, _ = python("""
signal.signal(signal.SIGINT, signal.SIG_IGN)
with Stopping():
    os.kill(os.getpid(), signal.SIGINT)
    print("went on")
""")
    assert (code, out) == (0, "went on\n")


def test_the_handlers_that_were_there_come_back():
    before = signal.getsignal(signal.SIGINT)
    with Stopping() as stopping:
        assert signal.getsignal(signal.SIGINT) == stopping._on_signal
    assert signal.getsignal(signal.SIGINT) is before
