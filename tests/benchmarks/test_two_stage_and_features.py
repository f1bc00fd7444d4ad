"""The commands that measure the second stage and item features write what they print."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def write_log(path, *, times, n_users=60, n_items=20):
    """Write a log in which item i is followed by i + 1 most of the time.

    With times, items are bought again; without, never.
    """
    rng = np.random.default_rng(0)
    lines = ["user,item,time" if times else "user,item"]
    for user in range(n_users):
        steps = rng.choice([1, 2], p=[0.8, 0.2], size=6)
        items = (rng.integers(n_items) + np.cumsum(steps)) % n_items
        if times:
            items[3:] = items[:3]
        day = [f",2026-01-{day + 1:02d}" if times else "" for day in range(6)]
        lines += [f"u{user},{item}{when}" for item, when in zip(items, day, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def run(name, *options):
    command = [sys.executable, str(BENCHMARKS / name), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("times", [True])
def test_the_second_stage_has_medians_and_differences_of_each_seed(tmp_path, times):
    log, written = tmp_path / "log.csv", tmp_path / "two-stage.json"
    write_log(log, times=times)
    printed = run("two_stage.py", "--log", log, "--seeds", 2, "--json", written)
    found = json.loads(written.read_text())
    assert list(tmp_path.iterdir()) and not list(tmp_path.glob("*.part"))
    assert (found["log"], found["exclude_seen"]) == ("log.csv", not times)
    rows = {row["name"]: row for row in found["rows"]}
    counting = {"own frequency", "own count + popularity", "similar users (UP-CF)"}
    others = counting if times else {"two-stage, updated"}
    assert set(rows) == {"transitions", "encoder", "two-stage"} | others
    for name, row in rows.items():
        n_seeds = 1 if name in counting | {"transitions"} else 2
        for metric in ("R@10", "N@10"):
            assert len(row["by seed"][metric]) == n_seeds
            assert row[metric] == np.median(row["by seed"][metric])
            assert 0 <= row[metric] <= 1
        assert f"{name:25}  median R@10 {row['R@10']:.4f}" in printed
    less = rows["two-stage"]["less"]
    assert set(less) == {"encoder"} | (counting if times else set())
    for seed, (mean, low, high) in enumerate(less["encoder"]["R@10"]):
        ours, theirs = (rows[name]["by seed"]["R@10"][seed] for name in ("two-stage", "encoder"))
        assert low <= mean <= high
        assert mean == pytest.approx(ours - theirs)
        assert f"R@10 less encoder {mean:+.4f} [{low:+.4f}, {high:+.4f}]" in printed
