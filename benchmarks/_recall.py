"""Recall at 20 of 20,000 users and 50,000 items, against faiss and numpy.argpartition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _pooling import patched
from _timing import medians, side_by_side, speed_ratio

from skue import recall_at_k
from skue.kernels import _ranking
from skue.kernels._threads import spread
from skue.kernels._unit_rows import unit_rows

K = 20


def measure(
    *, n_users: int = 20_000, n_items: int = 50_000, n_dims: int = 64, **options: int
) -> dict[str, Any]:
    """Return medians and ratios. All contenders start from the same unit vectors."""
    rng = np.random.default_rng(0)
    items = unit(rng.normal(size=(n_items, n_dims)))
    targets = rng.integers(0, n_items, n_users)
    # Users near their targets, so that there are hits.
    users = unit(items[targets] + 0.35 * rng.normal(size=(n_users, n_dims)))

    def by_numpy() -> float:
        # As without the extra ``fast``.
        with patched(_ranking, "pooling_backend", lambda: "scipy"):
            return recall_at_k(users, items, targets, K)

    contenders: dict[str, Callable[[], Any]] = {
        "skue, numba": lambda: recall_at_k(users, items, targets, K),
        "skue, numpy": by_numpy,
        "faiss IndexFlatIP": lambda: by_faiss(users, items, targets),
        "argpartition": lambda: by_argpartition(users, items, targets),
        "matrix product alone": lambda: product_alone(users, items),
    }
    found = {name: contenders[name]() for name in list(contenders)[:4]}
    assert max(found.values()) - min(found.values()) <= 2 / n_users, found
    seconds = side_by_side(contenders, **options)
    return {
        "recall": found["skue, numba"],
        "seconds": medians(seconds),
        "ratios": {
            f"{name} / {peer}": speed_ratio(seconds, name, peer)
            for name in list(contenders)[:2]
            for peer in list(contenders)[2:]
        },
    }


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return float32 rows of length 1."""
    return unit_rows(vectors.astype(np.float32))


def by_faiss(users: np.ndarray, items: np.ndarray, targets: np.ndarray) -> float:
    """Search a flat index, and look up the targets in the results."""
    import faiss

    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    _, found = index.search(users, K)
    return float((found == targets[:, None]).any(axis=1).mean())


def by_argpartition(
    users: np.ndarray, items: np.ndarray, targets: np.ndarray, *, block: int = 2000
) -> float:
    """Partition all scores, 2,000 users at a time: all users at once would take 16 GB."""
    hits = 0
    for start in range(0, len(users), block):
        scores = users[start : start + block] @ items.T
        top = np.argpartition(-scores, kth=K - 1, axis=1)[:, :K]
        for row, target in enumerate(targets[start : start + block]):
            hits += int(target) in top[row]
    return hits / len(users)


def product_alone(users: np.ndarray, items: np.ndarray) -> None:
    """Compute all scores in the same tiles and threads, without counting."""

    def compute(start: int) -> None:
        for column in range(0, len(items), 1024):
            users[start : start + 512] @ items[column : column + 1024].T

    spread(compute, range(0, len(users), 512))
