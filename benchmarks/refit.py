"""A warm refit on one more day beside a cold fit: time, recall, and yesterday's user vectors.

    python benchmarks/refit.py                          # 200,000 events, and amazon-beauty
    python benchmarks/refit.py --events 2_000_000       # any size of generated log
    python benchmarks/refit.py --folder days            # keep the encoders fitted cold there

The newest two events of some users, 5 % of all events, are those of today. 2 % of the items are
new: they have events of today only. An encoder is fitted on the log of yesterday. Then one copy
of it is refitted warm on the log of today, and another encoder is fitted cold on the same log. Each
user's last event is held out of both logs, and 5,000 users are scored in the whole catalogue.
Amazon-beauty is read from the folder in SKUE_DATA. Times are wall-clock times of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import joblib
import numpy as np
from scale import N_SCORED, K, generated_log

from skue import Histories, TwoTowerUserEncoder, leave_last_out
from skue.compare._comparison import paired_interval
from skue.kernels._arrays import owners, positions_of_ranges
from skue.serving import VectorIndex

NEW_EVENTS, NEW_ITEMS = 0.05, 0.02


def beauty() -> Histories | None:
    """Return the log of amazon-beauty, or None if it is not there."""
    path = Path(os.environ.get("SKUE_DATA", "")) / "amazon-beauty.txt"
    if not path.is_file():
        return None
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return Histories.from_lists([[int(item) for item in line[1:]] for line in lines])


def two_days(today: Histories, seed: int = 0) -> tuple[Histories, Histories, np.ndarray]:
    """Return the logs of yesterday and of today, and the ids of the new items."""
    rng = np.random.default_rng(seed)
    n_items = len(today.item_ids)
    new_items = rng.choice(n_items, round(NEW_ITEMS * n_items), replace=False)
    able = rng.permutation(np.flatnonzero(today.lengths >= 4))
    users = able[: round(NEW_EVENTS * len(today.codes) / 2)]
    is_new = np.zeros(len(today.codes), dtype=bool)
    is_new[positions_of_ranges(today.offsets[1:][users] - 2, np.full(len(users), 2))] = True
    exists = is_new | ~np.isin(today.codes, new_items)
    today = today._keep_events(exists)
    return today._keep_events(~is_new[exists]), today, today.item_ids[new_items]


def has_repeats(histories: Histories) -> bool:
    """Whether a user has an item twice."""
    pairs = np.stack([owners(histories.offsets), histories.codes])
    return np.unique(pairs, axis=1).shape[1] < pairs.shape[1]


def hits(encoder_items, vectors, X: Histories, y: np.ndarray, *, repeats: bool) -> np.ndarray:
    """Return whether the held-out item is among the 20 nearest ones of each user."""
    index = VectorIndex(encoder_items)
    ids, _ = index.search(vectors, K, space_id=None, exclude=None if repeats else X)
    return (ids == np.asarray(y)[:, None]).any(axis=1).astype(float)


def timed(encoder: TwoTowerUserEncoder, log: Histories) -> float:
    started = time.perf_counter()
    encoder.fit(log)
    return time.perf_counter() - started


def cold_fit(log: Histories, path: Path | None) -> tuple[TwoTowerUserEncoder, float]:
    """Fit a new encoder, or load it with its time."""
    if path is not None and path.exists():
        return joblib.load(path)
    encoder = TwoTowerUserEncoder(random_state=0, warm_start=True)
    fitted = encoder, timed(encoder, log)
    if path is not None:
        joblib.dump(fitted, path)
    return fitted


def measure(name: str, log: Histories, folder: Path | None) -> dict:
    """Return the figures of one log."""
    train, held_out = leave_last_out(log)
    yesterday, today, new_items = two_days(train)
    files = [None if folder is None else folder / f"{name}-{day}.joblib" for day in (1, 2)]
    first, _ = cold_fit(yesterday, files[0])
    cold, cold_seconds = cold_fit(today, files[1])
    warm = joblib.load(files[0])[0] if files[0] else first
    before = first.item_embeddings_
    scored = np.random.default_rng(1).choice(len(today), min(N_SCORED, len(today)), False)
    X, y, repeats = today[scored], np.asarray(held_out)[scored], has_repeats(today)
    vectors = first.transform(X), first.transform(yesterday[scored])
    old_hits = hits(before, vectors[0], X, y, repeats=repeats)
    warm_seconds = timed(warm, today)
    items = warm.item_embeddings_
    found = {
        "warm": hits(items, warm.transform(X), X, y, repeats=repeats),
        "cold": hits(cold.item_embeddings_, cold.transform(X), X, y, repeats=repeats),
        "yesterday's encoder and index": old_hits,
        "yesterday's encoder, today's index": hits(items, vectors[0], X, y, repeats=repeats),
        "cached yesterday, today's index": hits(items, vectors[1], X, y, repeats=repeats),
    }
    recalls = {which: float(found[which].mean()) for which in found}
    of_new = np.isin(y, new_items)
    return {
        "log": name,
        "n_events": len(today.codes),
        "cold_seconds": cold_seconds,
        "warm_seconds": warm_seconds,
        "time_ratio": warm_seconds / cold_seconds,
        f"recall@{K}": recalls,
        "warm_minus_cold": paired_interval(found["warm"], found["cold"]),
        "share_of_todays_recall": {
            which: recalls[which] / recalls["warm"] for which in list(recalls)[3:]
        },
        "new_item_recall": {which: float(found[which][of_new].mean()) for which in recalls},
        "agreement": items.agreement,
        "aligned": items.aligned_with == before.space_id,
        "validation": warm.validation_scores_,
        "best_iter": warm.best_iter_,
        "items": [len(before), len(items), len(cold.item_embeddings_)],
    }


def main() -> None:
    """Measure every log, and write the figures where ``--out`` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="*", default=[200_000])
    parser.add_argument("--no-beauty", action="store_true", help="generated logs only")
    parser.add_argument("--folder", type=Path, help="where to keep the encoders fitted cold")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    logs = {f"generated-{n_events}": generated_log(n_events) for n_events in options.events}
    if not options.no_beauty and (log := beauty()) is not None:
        logs["amazon-beauty"] = log
    rows = []
    for name, log in logs.items():
        rows.append(measure(name, log, options.folder))
        print(json.dumps(rows[-1], indent=1), flush=True)
    if options.out:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine()}
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
