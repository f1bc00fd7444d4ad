"""Ctrl-C and SIGTERM while the command runs."""

import os
import signal
import subprocess
import sys
import time

import pytest
from processes import compare_with_a_two_tower_that_never_ends, start

from skue.compare import _stopping
from skue.compare._stopping import Stopping

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
# The module alone: importing skue would take most of the time.
PREPARED = f"""
import os, runpy, signal
Stopping = runpy.run_path({_stopping.__file__!r})["Stopping"]
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + code], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_two_tower_is_fitted_ends_the_command_and_writes_nothing(
    tmp_path, number, code
):
    folder, log = tmp_path / "here", tmp_path / "log.txt"
    folder.mkdir()
    log.write_text("".join(f"u{u} {u % 7} {u % 5} {u % 6} {u % 4}\n" for u in range(60)))
    out, errors = tmp_path / "out.txt", tmp_path / "errors.txt"
    process = start(
        compare_with_a_two_tower_that_never_ends,
        *(str(log), "--out", str(folder / "report")),
        stdout=out,
        stderr=errors,
    )
    until = time.monotonic() + 60
    while not (errors.exists() and errors.read_text().endswith("skue compare: two-tower\n")):
        assert process.is_alive() and time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.3)
    assert process.is_alive()
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == code
    assert out.read_text() == ""
    said = "interrupted" if number == signal.SIGINT else "stopped"
    assert errors.read_text().splitlines()[-1] == f"skue compare: {said}; nothing was written"
    assert os.listdir(folder) == []


def test_code_that_catches_every_exception_cannot_prevent_the_stop():
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


def test_the_process_ends_without_waiting_for_busy_threads():
    started = time.monotonic()
    code, _, _ = python("""
import threading, time
from concurrent.futures import ThreadPoolExecutor
with Stopping():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with ThreadPoolExecutor() as pool:
        pool.submit(time.sleep, 600).result()
""")
    assert code == 130
    assert time.monotonic() - started < 60


def test_the_latest_work_is_undone_first():
    code, out, _ = python("""
with Stopping() as stopping:
    with stopping.undoing(lambda: print("first", flush=True)):
        with stopping.undoing(lambda: print("second", flush=True)):
            os.kill(os.getpid(), signal.SIGINT)
""")
    assert (code, out) == (130, "second\nfirst\n")


def test_a_signal_that_is_held_back_stops_the_process_after_the_block():
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


def test_a_signal_that_was_ignored_before_stays_ignored():
    code, out, _ = python("""
signal.signal(signal.SIGINT, signal.SIG_IGN)
with Stopping():
    os.kill(os.getpid(), signal.SIGINT)
    print("went on")
""")
    assert (code, out) == (0, "went on\n")


def test_the_earlier_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT)
    with Stopping() as stopping:
        assert signal.getsignal(signal.SIGINT) == stopping._on_signal
    assert signal.getsignal(signal.SIGINT) is before
