"""The cache under faults, for a few seconds; the command runs it with 200,000 answers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import cache_faults


def test_no_answer_is_wrong_and_no_thread_is_stuck_under_faults():
    found = cache_faults.run(1500, share=0.4)
    assert (found["wrong"], found["stuck"]) == (0, 0), found["first_wrong"]
    assert found["answers"] >= 1500
    # Every fault has happened, and there were answers of every kind.
    assert set(found["loads"]) == {"None", *cache_faults.FAULTS}
    assert set(found["status"]) == {"cached", "fresh", "stale", "fallback"}
    assert found["events"] > 20


@pytest.mark.parametrize("status", ["cached", "stale"])
def test_a_vector_of_another_user_or_history_is_found(status):
    world = cache_faults.World()
    vector = world.encoder.transform([world.history(3, 40)])[0]
    assert world.is_right(3, vector, status, 39, 41)
    assert not world.is_right(4, vector, status, 39, 41)
    assert world.is_right(3, vector, status, 41, 42) == (status == "stale")
