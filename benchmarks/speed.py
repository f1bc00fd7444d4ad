"""Compare speed and memory with the usual alternatives, in one run.

``python benchmarks/speed.py`` runs all parts (about ten minutes on two cores), prints every
figure, and writes ``benchmarks/speed.json``. ``python docs/measured_tables.py`` and
``python benchmarks/pictures.py`` write the tables and the picture of the page from it.
``--only pooling recall`` runs some parts, and ``--quick`` runs them at a tenth of the size; both
only print.
``python -m pip install -e ".[fast,io,plot,serve]" --group bench`` installs the alternatives.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _growth
import _latency
import _memory
import _pooling
import _reading
import _recall
from threadpoolctl import threadpool_info

import skue

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "speed.json"
MEMORY: dict[str, tuple[int, dict[str, Any]]] = {
    "1,000,000 users, `transform`": (1_000_000, {}),
    "the same without pandas": (1_000_000, {"without": ("pandas", "pyarrow")}),
    "the same without numba": (1_000_000, {"without": ("numba",)}),
    "1,000,000 users, mapped": (1_000_000, {"mapped": True}),
    "5,000,000 users, mapped": (5_000_000, {"mapped": True}),
}
PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "torch", "faiss-cpu", "pandas", "pyarrow")


def training(quick: bool) -> dict[str, Any]:
    """Compare an epoch with PyTorch, which is imported only here."""
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
    """Return the parts that can be measured, by name."""
    less = 10 if quick else 1
    return {
        "pooling, 64 dimensions": lambda: _pooling.measure(64, n_users=100_000 // less, rounds=9),
        "pooling, 128 dimensions": lambda: _pooling.measure(128, n_users=100_000 // less, rounds=9),
        "recall": lambda: _recall.measure(n_users=20_000 // less, rounds=5),
        "training": lambda: training(quick),
        "latency": lambda: _latency.measure(n_calls=3000 // less),
        "memory": lambda: {
            "bytes": {
                name: _memory.measure(n_users // less, **options)
                for name, (n_users, options) in MEMORY.items()
            }
        },
        "reading": lambda: _reading.measure(rounds=7, n_lines=10_000_000 // less),
        "importing": lambda: _reading.importing(),
        "growth": lambda: _growth.measure(scale=1 / less if quick else 1.0),
    }


def machine() -> dict[str, str]:
    """Return the machine and the versions, on which the figures depend."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].partition(":")[2].strip() if names else model
    blas = [x for x in threadpool_info() if x["user_api"] == "blas"]
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "BLAS of numpy": f"{blas[0]['internal_api']} {blas[0]['version']} for "
        f"{blas[0].get('architecture', 'any processor')}, {blas[0]['num_threads']} threads",
        "skue": skue.__version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "date": date.today().isoformat(),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes; only print")
    parser.add_argument(
        "--only", nargs="*", help="parts with these prefixes; only print", default=[]
    )
    given = parser.parse_args()
    # Called first, because the alternatives load another BLAS.
    found: dict[str, Any] = {"machine": machine()}
    started = time.perf_counter()
    for name, measure in parts(given.quick).items():
        if given.only and not name.startswith(tuple(given.only)):
            continue
        print(f"# {name}", flush=True)
        found[name] = measure()
        print(json.dumps(found[name], indent=1), flush=True)
    found["minutes"] = round((time.perf_counter() - started) / 60, 1)
    if not given.quick and not given.only:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"# written after {found['minutes']} minutes")


if __name__ == "__main__":
    main()
