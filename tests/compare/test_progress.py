"""The progress of the command on stderr."""

import io
import re

import pytest

from skue import TwoTowerUserEncoder
from skue.compare import _progress
from skue.compare._progress import EpochProgress, Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Gone(Terminal):
    def write(self, text):
        raise BrokenPipeError


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests advance."""
    now = [100.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    return now


def shown(stream):
    """Return all texts that were shown in the lines of the terminal."""
    return [part.rstrip() for part in re.split(r"[\r\n]", stream.getvalue()) if part.strip()]


def test_a_terminal_shows_the_epoch_and_the_time_left(clock):
    stream = Terminal()
    progress = Progress(stream)
    with progress.stage("two-tower"):
        clock[0] += 10  # the time before the first epoch does not count
        progress.advance(0, 4, "epoch")
        clock[0] += 30
        progress.advance(1, 4, "epoch")
        clock[0] += 20
        progress.advance(3, None, "epoch")
    assert shown(stream) == [
        "skue compare: two-tower",
        "skue compare: two-tower: epoch 1 of 4",
        "skue compare: two-tower: epoch 2 of 4, 1 min 30 s left",
        "skue compare: two-tower: epoch 4",
    ]


def test_a_quiet_command_writes_only_notes():
    stream = Terminal()
    progress = Progress(stream, quiet=True)
    with progress.stage("two-tower"):
        progress.advance(1, 4, "epoch")
    progress.say("log.csv: 3 users")
    progress.note("note: mind this")
    assert shown(stream) == ["skue compare: note: mind this"]


def test_work_continues_if_stderr_is_closed():
    progress = Progress(Gone())
    with progress.stage("two-tower"):
        progress.advance(1, 4, "epoch")
    progress.note("note: mind this")


def test_the_next_line_replaces_a_stage_that_is_over():
    stream = Terminal()
    progress = Progress(stream)
    with progress.stage("reading"):
        pass
    progress.note("error: no log")
    blank = " " * len("skue compare: reading")
    assert stream.getvalue() == f"\rskue compare: reading\r{blank}\r\rskue compare: error: no log\n"


def test_epochs_are_shown_and_the_encoder_keeps_no_callback():
    pytest.importorskip("sklearn.callback")
    stream = Terminal()
    progress = Progress(stream)
    encoder = TwoTowerUserEncoder(max_iter=2, early_stopping=False, random_state=0)
    with progress.stage("two-tower"):
        encoder.set_callbacks(EpochProgress(progress))
        encoder.fit([[n % 7, (n + 1) % 7, (n + 2) % 7, (n + 3) % 7] for n in range(60)])
        encoder.set_callbacks()
    assert any("epoch 2" in line for line in shown(stream))
    assert not any("callback" in name for name in vars(encoder))
