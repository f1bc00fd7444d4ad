"""Times of ``load_interactions``, compared with pandas and pyarrow, and of ``import skue``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.csv
from _timing import medians, side_by_side, speed_ratio

from skue import load_interactions

_PEERS = ("pandas", "pyarrow")


def measure(*, rounds: int = 7, n_lines: int = 10_000_000) -> dict[str, Any]:
    """Return medians and ratios on the public log and on generated logs in random order."""
    found: dict[str, Any] = {"seconds": {}, "ratios": {}}
    with tempfile.TemporaryDirectory() as folder:
        logs = {
            "generated, 400,000 lines in mixed order": generated(Path(folder) / "log.csv.gz"),
            f"generated, {n_lines:,} lines in mixed order": generated(
                Path(folder) / "large.csv", n_lines, n_users=500_000
            ),
        }
        public = Path(os.environ.get("SKUE_DATA", "")) / "online-retail.csv.gz"
        if public.is_file():
            logs["online-retail.csv.gz"] = public
        for name, path in logs.items():
            contenders = readers(path)
            assert len(contenders["skue"]().codes) == len(contenders["pandas"]())
            # Reading a large file takes long, but its time varies little.
            seconds = side_by_side(contenders, rounds=3 if "large" in path.name else rounds)
            for who, median in medians(seconds).items():
                found["seconds"][f"{name}, {who}"] = median
            for peer in _PEERS:
                ratio = 1 / speed_ratio(seconds, "skue", peer)
                found["ratios"][f"time of skue / {peer}, {name}"] = ratio
    return found


def readers(path: Path) -> dict[str, Callable[[], Any]]:
    """Return functions that read the columns of a log, ids as text and times as dates."""
    names = ["user_id", "item_id", "timestamp"]
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    types = {"user_id": text, "item_id": text, "timestamp": pyarrow.timestamp("us")}
    convert = pyarrow.csv.ConvertOptions(column_types=types, include_columns=names)
    return {
        "skue": lambda: load_interactions(path),
        "pandas": lambda: pandas.read_csv(
            path,
            parse_dates=["timestamp"],
            dtype={"user_id": str, "item_id": str},
            usecols=names,
        ),
        "pyarrow": lambda: pyarrow.csv.read_csv(path, convert_options=convert),
    }


def generated(path: Path, n_lines: int = 400_000, n_users: int = 20_000) -> Path:
    """Write a log with lines in random order and distinct dates."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "user_id": rng.integers(0, n_users, n_lines),
            "item_id": pandas.Categorical.from_codes(
                rng.integers(0, 8000, n_lines), [f"P{item:05d}" for item in range(8000)]
            ),
            "timestamp": pandas.to_datetime(rng.permutation(n_lines) * 60, unit="s"),
        }
    )
    frame.to_csv(path, index=False)
    return path


def importing(*, rounds: int = 5) -> dict[str, Any]:
    """Return the median seconds of imports in a new interpreter."""
    programs = {"import sklearn.base, scipy.sparse": [], "import skue": []}
    for _ in range(rounds):
        for program, seconds in programs.items():
            timed = f"import time; s = time.perf_counter(); {program}; print(time.perf_counter()-s)"
            done = subprocess.run(
                [sys.executable, "-c", timed], check=True, capture_output=True, text=True
            )
            seconds.append(float(done.stdout))
    return {"seconds": {name: statistics.median(values) for name, values in programs.items()}}
