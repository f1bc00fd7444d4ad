"""How time grows with ten times more users, events, items or dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from _recall import unit
from _timing import side_by_side

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, recall_at_k

STEPS = (1, 2, 5, 10)
# The item vectors fit into the processor's cache at every size, as cache misses would look like
# growth. There are enough users to distribute them evenly over threads.
ENCODED = {"n_users": 16_384, "n_events": 50, "n_items": 1000, "n_dims": 64}
RANKED = {"n_users": 4000, "n_items": 10_000, "n_dims": 64}


def measure(*, scale: float = 1.0, rounds: int = 9) -> dict[str, Any]:
    """Return seconds by size, and the slope of log seconds over log size: 1 is linear."""
    found: dict[str, Any] = {"seconds": {}, "slopes": {}}
    plan = [
        ("transform", "n_users", ENCODED, encoding),
        # From 200 events on. With fewer, the fixed time per user is noticeable.
        ("transform", "n_events", {**ENCODED, "n_events": 200}, encoding),
        ("transform", "n_items", ENCODED, encoding),
        ("transform", "n_dims", {**ENCODED, "n_items": 250}, encoding),
        *(("recall_at_k", name, RANKED, ranking) for name in RANKED),
    ]
    for what, name, sizes, prepare in plan:
        sizes = {**sizes, "n_users": int(sizes["n_users"] * scale)}
        by_step = {}
        for step in STEPS:
            by_step[f"{sizes[name] * step}"] = prepare(**{**sizes, name: sizes[name] * step})
        seconds = {
            size: float(np.min(values))
            for size, values in side_by_side(by_step, rounds=rounds).items()
        }
        label = f"{what}, {name.removeprefix('n_')}"
        found["seconds"][label] = seconds
        found["slopes"][label] = slope(seconds)
    return found


def slope(seconds: dict[str, float]) -> float:
    """Return the slope of a line through log seconds against log size."""
    sizes = np.log([float(size) for size in seconds])
    return float(np.polyfit(sizes, np.log(list(seconds.values())), 1)[0])


def encoding(*, n_users: int, n_events: int, n_items: int, n_dims: int) -> Any:
    """Return a function that encodes users."""
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(rng.normal(size=(n_items, n_dims)))
    codes = rng.integers(0, n_items, n_users * n_events)
    log = Histories(codes, np.arange(n_users + 1) * n_events, np.arange(n_items))
    encoder = DecayAverageUserEncoder(items).fit(log[:100])
    return lambda: encoder.transform(log)


def ranking(*, n_users: int, n_items: int, n_dims: int) -> Any:
    """Return a function that ranks one target per user."""
    rng = np.random.default_rng(0)
    users, items = (
        unit(rng.normal(size=(n_users, n_dims))),
        unit(rng.normal(size=(n_items, n_dims))),
    )
    targets = rng.integers(0, n_items, n_users)
    return lambda: recall_at_k(users, items, targets, 20)
