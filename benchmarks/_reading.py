"""Reading a log: ``load_interactions`` against ``pandas.read_csv`` alone; and importing skue."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from _timing import medians, side_by_side, speed_ratio

from skue import load_interactions


def measure(**options: int) -> dict[str, Any]:
    """Return medians and ratios on the public log, and on a generated one in mixed order."""
    found: dict[str, Any] = {"seconds": {}, "ratios": {}}
    with tempfile.TemporaryDirectory() as folder:
        logs = {"generated, 400,000 lines in mixed order": generated(Path(folder))}
        public = Path(os.environ.get("SKUE_DATA", "")) / "online-retail.csv.gz"
        if public.is_file():
            logs["online-retail.csv.gz"] = public
        for name, path in logs.items():
            contenders = {
                "skue": lambda path=path: load_interactions(path),
                "pandas": lambda path=path: pandas.read_csv(
                    path, parse_dates=["timestamp"], dtype={"user_id": str, "item_id": str}
                ),
            }
            assert len(contenders["skue"]().codes) == len(contenders["pandas"]())
            seconds = side_by_side(contenders, **options)
            for who, median in medians(seconds).items():
                found["seconds"][f"{name}, {who}"] = median
            found["ratios"][f"time of skue / pandas, {name}"] = 1 / speed_ratio(
                seconds, "skue", "pandas"
            )
    return found


def generated(folder: Path, n_lines: int = 400_000) -> Path:
    """Write a log whose lines are in no order, and no date twice."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "user_id": rng.integers(0, 20_000, n_lines),
            "item_id": [f"P{item:05d}" for item in rng.integers(0, 8000, n_lines)],
            "timestamp": pandas.to_datetime(rng.permutation(n_lines) * 60, unit="s"),
        }
    )
    frame.to_csv(folder / "log.csv.gz", index=False)
    return folder / "log.csv.gz"


def importing(*, rounds: int = 5) -> dict[str, Any]:
    """Return the seconds that a fresh interpreter needs to import, medians."""
    programs = {"import sklearn.base, scipy.sparse": [], "import skue": []}
    for _ in range(rounds):
        for program, seconds in programs.items():
            timed = f"import time; s = time.perf_counter(); {program}; print(time.perf_counter()-s)"
            done = subprocess.run(
                [sys.executable, "-c", timed], check=True, capture_output=True, text=True
            )
            seconds.append(float(done.stdout))
    return {"seconds": {name: statistics.median(values) for name, values in programs.items()}}
