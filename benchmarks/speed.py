"""Measure speed and memory beside what people would use instead, in one run.

``python benchmarks/speed.py`` runs everything (about half an hour), ``--quick`` a tenth of the
sizes, ``--only pooling recall`` some parts. The peers come with ``pip install "skue[bench]"``.
Prints every ratio; writes ``benchmarks/speed.json``, ``docs/_static/speed.svg`` and the page
``docs/user_guide/_speed.md``. Parts that were not run keep what an earlier run found.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _growth
import _latency
import _memory
import _page
import _pooling
import _reading
import _recall

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "speed.json"
PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "torch", "faiss-cpu", "pandas")


def training(quick: bool) -> dict[str, Any]:
    """Compare epochs; PyTorch is imported only here."""
    import training as module

    found: dict[str, Any] = {"seconds": {}, "ratios": {}}
    for name, setting in module.SETTINGS.items():
        sizes = {**setting, "n_users": setting["n_users"] // (5 if quick else 1)}
        measured = module.measure(**sizes)
        for who, seconds in measured["seconds"].items():
            found["seconds"][f"{name}, {who}"] = seconds
        found["ratios"][f"skue / PyTorch, {name}"] = measured["ratios"]["skue / PyTorch"]
    return found


def parts(quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what can be measured, by name."""
    less = 10 if quick else 1
    return {
        "pooling, 64 dimensions": lambda: _pooling.measure(64, n_users=100_000 // less, rounds=9),
        "pooling, 128 dimensions": lambda: _pooling.measure(128, n_users=100_000 // less, rounds=9),
        "recall": lambda: _recall.measure(n_users=20_000 // less, rounds=5),
        "training": lambda: training(quick),
        "latency": lambda: _latency.measure(n_calls=3000 // less),
        "memory": lambda: {
            "bytes": {
                "transform": _memory.measure("memory", n_users=1_000_000 // less),
                "iter_transform, memory-mapped": _memory.measure(
                    "mapped", n_users=1_000_000 // less
                ),
            }
        },
        "reading": lambda: _reading.measure(rounds=7),
        "importing": lambda: _reading.importing(),
        "growth": lambda: _growth.measure(scale=1 / less if quick else 1.0),
    }


def machine() -> dict[str, str]:
    """Return what the figures depend on, beside the code."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "date": date.today().isoformat(),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, no page")
    parser.add_argument("--only", nargs="*", help="parts whose names start so", default=[])
    given = parser.parse_args()
    found: dict[str, Any] = {}
    if RESULTS.is_file() and not given.quick:
        found = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name, measure in parts(given.quick).items():
        if given.only and not name.startswith(tuple(given.only)):
            continue
        print(f"# {name}", flush=True)
        found[name] = measure()
        print(json.dumps(found[name], indent=1), flush=True)
    found["machine"] = machine()
    if not given.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        _page.write(found, ROOT / "docs")


if __name__ == "__main__":
    main()
