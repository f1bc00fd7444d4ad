"""A history that is far longer than all others: a bot, or a till that is taken for a person."""

import subprocess
import sys

import numpy as np
import pytest

from skue import CooccurrenceItemEmbedder, Histories, TransitionItemRanker


def log_with(long_history):
    rng = np.random.default_rng(0)
    return Histories.from_lists([*rng.integers(40, size=(60, 9)), long_history])


@pytest.mark.parametrize(
    "learned",
    [
        lambda log: CooccurrenceItemEmbedder(8).fit(log).item_embeddings_.vectors,
        lambda log: TransitionItemRanker().fit(log).counts_.transitions.toarray(),
    ],
    ids=["embedder", "transitions"],
)
def test_events_before_the_newest_ten_thousand_have_no_effect(learned):
    newest = np.random.default_rng(1).integers(40, size=10_000)
    expected = learned(log_with(newest))
    older = np.append(np.arange(40).repeat(3), newest)
    np.testing.assert_array_equal(learned(log_with(older)), expected)
    assert not np.array_equal(learned(log_with(newest[1:])), expected)


@pytest.mark.slow
def test_a_user_with_a_million_events_takes_less_than_a_gigabyte(tmp_path):
    rng = np.random.default_rng(0)
    users = np.append(np.repeat(np.arange(60), 9), np.full(10**6, 60))
    items = rng.integers(300, size=len(users))
    lines = (f"u{user},i{item}\n" for user, item in zip(users, items, strict=True))
    path = tmp_path / "log.csv"
    path.write_text("user,item\n" + "".join(lines), encoding="utf-8")
    script = """
import re, sys
from skue import *
from skue.compare._command import main

# Fits and scores all encoders, the second stage, and all rankers but one.
assert main(["compare", sys.argv[1]]) == 0
log = load_interactions(sys.argv[1])
SimilarUsersRanker().fit(log).recommend(log, k=5, exclude_seen=True)
# Not getrusage, whose maximum includes the process that started this one.
status = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[-1]) < 1.0
