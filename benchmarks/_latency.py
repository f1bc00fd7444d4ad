"""Microseconds of ``transform`` for one user with 50 events, warm."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from _pooling import pooled_by_scipy

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings


def measure(*, n_calls: int = 3000, n_items: int = 50_000, n_dims: int = 64) -> dict[str, Any]:
    """Return the percentiles for a list of ids and for one row of ``Histories``."""
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(
        rng.normal(size=(n_items, n_dims)), ids=[f"item-{row}" for row in range(n_items)]
    )
    log = Histories(rng.integers(0, n_items, 5000), np.arange(101) * 50, items.ids)
    encoder = DecayAverageUserEncoder(items).fit(log)
    row, ids = log[:1], [log[0].tolist()]
    np.testing.assert_array_equal(encoder.transform(row), encoder.transform(ids))
    found = {}
    for backend in ("numba", "scipy"):
        with nullcontext() if backend == "numba" else pooled_by_scipy():
            found[f"one row of Histories, {backend}"] = percentiles(
                lambda: encoder.transform(row), n_calls
            )
            found[f"a list of ids, {backend}"] = percentiles(
                lambda: encoder.transform(ids), n_calls
            )
    return {"microseconds": found}


def percentiles(call: Callable[[], Any], n_calls: int) -> dict[str, float]:
    """Return the median and the 99th percentile in microseconds."""
    seconds = np.empty(n_calls)
    for _ in range(200):
        call()
    for index in range(n_calls):
        started = time.perf_counter()
        call()
        seconds[index] = time.perf_counter() - started
    return {name: float(np.percentile(seconds, q) * 1e6) for name, q in (("p50", 50), ("p99", 99))}
