"""Is this version as good as an earlier one? Both fit TwoTowerUserEncoder with its defaults.

    git worktree add --detach /tmp/before v0.1.0
    python benchmarks/against.py /tmp/before
    python benchmarks/against.py /tmp/before --only notebook online-retail --seeds 3

prints the recall@20 of both versions on several logs, the paired 95 % interval of the difference
over users, and the seconds of the fits. Each fit runs in a process of its own, and those of the
two versions alternate. Real logs are read from the folder SKUE_DATA if it is set. On logs, each
user's last event (or instant) is held out. In the generated worlds of ``benchmarks/quality.py``,
item vectors are given, and other people are scored than those learned from.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

K = 20
# Name: arguments of the generated log.
GENERATED = {
    "943 people, 1680 items": {"n_events": 99_958, "events_per_user": 106, "n_items": 1680},
    "1000 people, 900 items": {"n_events": 20_000, "n_items": 900},
    "5000 people, 1000 items": {"n_events": 100_000},
}
WORLDS = {"notebook": "steady-3000", "fast shared drift": "fast-shared-12000"}
FILES = {"amazon-beauty": "amazon-beauty.txt", "online-retail": "online-retail.csv.gz"}


def prepare(name: str, folder: Path) -> None:
    """Write what to learn from, the queries and the held-out items, for both versions."""
    from quality import FIRST_WORLD_SEED, World
    from scale import generated_log

    from skue import leave_last_out, load_interactions

    if name in WORLDS:
        world = World(WORLDS[name], FIRST_WORLD_SEED)
        world.items.save(folder / "items.npz")
        train, (X, y) = world.train, world.others
    else:
        if name in GENERATED:
            histories = generated_log(**GENERATED[name])
        else:
            histories = load_interactions(Path(os.environ["SKUE_DATA"]) / FILES[name])
        by = "event" if histories.timestamps is None else "instant"
        X, y = leave_last_out(histories, by=by)
        train = X
    train.save(folder / "train.npz")
    X.save(folder / "queries.npz")
    np.save(folder / "held_out.npy", np.array([np.atleast_1d(row) for row in y], dtype=object))


def one(folder: Path, seed: int) -> None:
    """Fit and score in this process. It uses what is public in all versions."""
    from skue import Histories, ItemEmbeddings, TwoTowerUserEncoder

    given = folder / "items.npz"
    items = ItemEmbeddings.load(given) if given.exists() else None
    train, X = Histories.load(folder / "train.npz"), Histories.load(folder / "queries.npz")
    held_out = np.load(folder / "held_out.npy", allow_pickle=True)
    encoder = TwoTowerUserEncoder(items, random_state=seed)
    started, cpu = time.perf_counter(), time.process_time()
    encoder.fit(train)
    spent = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    rarely_again = (
        np.mean([np.isin(y, row).any() for y, row in zip(held_out, X, strict=True)]) < 0.01
    )
    ids, _ = encoder.recommend(X, K, exclude_seen=bool(rarely_again))
    recalls = [np.isin(y, row).mean() for y, row in zip(held_out, ids, strict=True)]
    np.save(folder / "recalls.npy", recalls)
    print(json.dumps(spent))


def run(checkout: Path, folder: Path, seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """Fit and score with the version of a checkout; return the recalls and the time of the fit."""
    command = [sys.executable, __file__, str(checkout), "--one", str(folder), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return np.load(folder / "recalls.npy"), json.loads(done.stdout.splitlines()[-1])


def compared(name: str, before: Path, n_seeds: int) -> dict[str, Any]:
    """Return the row of one log; the recalls of each user are means over the seeds."""
    from skue.compare._comparison import paired_interval

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(name, folder)
        versions = {"before": before, "now": Path(__file__).parents[1]}
        found = {
            (version, seed): run(checkout, folder, seed)
            for seed in range(n_seeds)
            for version, checkout in versions.items()
        }
    row: dict[str, Any] = {"log": name}
    recalls = {}
    for version in versions:
        runs = [found[version, seed] for seed in range(n_seeds)]
        recalls[version] = np.mean([recall for recall, _ in runs], axis=0)
        row[f"recall@{K} {version}"] = float(recalls[version].mean())
        for unit in ("seconds", "cpu"):
            row[f"{unit} {version}"] = float(np.median([spent[unit] for _, spent in runs]))
    row["difference"] = paired_interval(recalls["now"], recalls["before"])
    row["time now / before"] = row["seconds now"] / row["seconds before"]
    return row


def main() -> None:
    """Compare the versions on every log, one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout of the earlier version")
    names = [*WORLDS, *GENERATED, *(FILES if "SKUE_DATA" in os.environ else ())]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(Path(options.one[0]), int(options.one[1]))
        return
    for name in options.only:
        print(json.dumps(compared(name, options.before.resolve(), options.seeds)), flush=True)


if __name__ == "__main__":
    main()
