"""Approximate search: recall and microseconds per user, compared with exact search.

    python benchmarks/ann.py                       # random, learned-like, a million clustered
    python benchmarks/ann.py --only learned        # a minute
    python benchmarks/ann.py --backends faiss      # without hnswlib, the slowest to build

Users are averages with decay over histories whose items are mostly near each other. The indexes
have not seen them: they are tuned on averages of random items. For comparison, the recall of
random directions is measured too, although no user vectors point there. Exact search and the
backend are timed in turns, for one user at a time and for all users at once, at k = 20.
"""

from __future__ import annotations

import argparse
import json
import os
import time

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from _timing import medians, side_by_side  # noqa: E402

from skue import ItemEmbeddings, ann_recall  # noqa: E402
from skue.serving import VectorIndex  # noqa: E402

K, N_USERS, N_ONE_BY_ONE = 20, 256, 16
SIZES = {"random": (1500, 48), "learned": (50_000, 64), "clustered": (1_000_000, 64)}


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_items(kind, rng):
    """Return item vectors, and the cluster of each."""
    n_items, n_dims = SIZES[kind]
    noise = rng.standard_normal((n_items, n_dims), dtype=np.float32)
    if kind == "random":
        return unit(noise), np.zeros(n_items, dtype=int)
    n_centres = int(np.sqrt(n_items))
    centres = rng.standard_normal((n_centres, n_dims), dtype=np.float32)
    popularity = 1 / np.arange(1, n_centres + 1) ** 0.8
    own = rng.choice(n_centres, size=n_items, p=popularity / popularity.sum())
    if kind == "learned":
        # Vectors in learned spaces share a direction, which holds popularity.
        centres += 0.5 * rng.standard_normal(n_dims, dtype=np.float32)
    return unit(centres[own] + 0.6 * noise), own


def make_users(items, own, rng, n_users=N_USERS):
    """Return averages of histories: each event stays in the cluster of the one before, or jumps."""
    by_cluster = np.argsort(own, kind="stable")
    first = np.searchsorted(own[by_cluster], np.arange(own.max() + 2))
    users = np.zeros((n_users, items.shape[1]))
    for user in range(n_users):
        item = int(rng.integers(len(items)))
        for age in range(int(rng.integers(1, 30))):
            users[user] += 0.8**age * items[item]
            if rng.random() < 0.3:
                item = int(rng.integers(len(items)))
            else:
                item = int(by_cluster[rng.integers(first[own[item]], first[own[item] + 1])])
    return unit(users)


def measure(kind, backend):
    rng = np.random.default_rng(0)
    vectors, own = make_items(kind, rng)
    users = make_users(vectors, own, rng)
    directions = unit(rng.standard_normal(users.shape))
    items = ItemEmbeddings(vectors)
    started = time.perf_counter()
    index = VectorIndex(items, backend=backend)
    seconds = time.perf_counter() - started
    exact = VectorIndex(items)

    def one_by_one(which):
        for user in range(N_ONE_BY_ONE):
            which.search(users[user : user + 1], K, space_id=None)

    times = medians(
        side_by_side(
            {
                "exact, one": lambda: one_by_one(exact),
                f"{backend}, one": lambda: one_by_one(index),
                "exact, all": lambda: exact.search(users, K, space_id=None),
                f"{backend}, all": lambda: index.search(users, K, space_id=None),
            },
            rounds=5,
        )
    )
    return {
        "items": f"{kind}, {len(vectors):,} x {vectors.shape[1]}",
        "backend": backend,
        "seconds_to_open": seconds,
        **{f"info_{name}": value for name, value in index.backend_info.items()},
        "recall_of_users": ann_recall(index, users, K),
        "recall_of_random_directions": ann_recall(index, directions, K),
        "us_one": times[f"{backend}, one"] / N_ONE_BY_ONE * 1e6,
        "us_one_exact": times["exact, one"] / N_ONE_BY_ONE * 1e6,
        "us_in_batch": times[f"{backend}, all"] / N_USERS * 1e6,
        "us_in_batch_exact": times["exact, all"] / N_USERS * 1e6,
    }


def line(row):
    tuned = {
        name.removeprefix("info_"): value
        for name, value in row.items()
        if name in ("info_n_cells", "info_n_cells_read", "info_n_candidates")
    }
    return (
        f"{row['items']:<28} {row['backend']:<8} {row['info_method']:<6} "
        f"recall {row['info_recall']:.3f} (sample) {row['recall_of_users']:.3f} (users) "
        f"{row['recall_of_random_directions']:.3f} (random)  "
        f"us: one {row['us_one']:.0f} (exact {row['us_one_exact']:.0f}), "
        f"batch {row['us_in_batch']:.0f} (exact {row['us_in_batch_exact']:.0f})  "
        f"opened in {row['seconds_to_open']:.1f} s  {tuned or ''}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--backends", nargs="+", default=["faiss", "hnswlib"])
    parser.add_argument("--json", help="file to write the figures to")
    arguments = parser.parse_args()
    rows = []
    for kind in arguments.only:
        for backend in arguments.backends:
            rows.append(measure(kind, backend))
            print(line(rows[-1]), flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
