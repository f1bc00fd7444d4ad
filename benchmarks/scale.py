"""Fit time, peak memory and recall on generated logs of growing size.

    python benchmarks/scale.py                          # 200,000 and 2,000,000 events
    python benchmarks/scale.py --events 10_000_000      # any size; half a million users
    python benchmarks/scale.py --peers                  # with implicit's ALS and item-kNN
    python benchmarks/scale.py --only two-tower         # some contenders
    python benchmarks/scale.py --items 1_000_000        # of a larger catalogue
    python benchmarks/scale.py --only "two-stage of averages"  # the second stage, cheaply
    python benchmarks/scale.py --events 10_000_000 --write LOG.csv   # only write the log

In the generated log, the next item can be learned: items belong to clusters that follow one
another, users come back to clusters of their own, and items in a cluster are Zipf popular. Users
have 20 events on average, there are 5 users per item, but at most 50,000 items. Each user's last
event is held out, and 5,000 users are scored in the whole catalogue. Each contender is fitted in a
process of its own, on a memory-mapped log. The peers need ``python -m pip install implicit``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    ProfileUserEncoder,
    RecallAtK,
    Retriever,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    UserVectorCache,
    export_index,
    leave_last_out,
    open_index,
)
from skue.compare._comparison import paired_interval
from skue.kernels._arrays import owners
from skue.metrics._evaluation import evaluate

K = 20
N_SCORED, N_REQUESTS = 5_000, 300
EVENTS_PER_USER = 20
SKUE = ("popularity", "transitions", "best average", "two-tower", "two-stage", "profile")
OF_AVERAGES = "two-stage of averages"
PEERS = ("implicit ALS", "implicit item-kNN")


def generated_log(
    n_events: int,
    seed: int = 0,
    *,
    events_per_user: int = EVENTS_PER_USER,
    n_items: int | None = None,
) -> Histories:
    """Return a log whose next item follows from the user and from the last cluster.

    ``n_items`` must be a multiple of 20. By default it is a fifth of the number of users, but
    between 500 and 50,000.
    """
    rng = np.random.default_rng(seed)
    n_users = n_events // events_per_user
    if n_items is None:
        n_items = int(np.clip(n_users // 5, 500, 50_000)) // 20 * 20
    n_clusters = n_items // 20
    cluster_of = rng.permutation(np.arange(n_items) % n_clusters)
    by_cluster = np.argsort(cluster_of, kind="stable").reshape(n_clusters, -1)
    by_cluster = rng.permuted(by_cluster, axis=1)
    following = rng.permutation(n_clusters)
    own = rng.integers(n_clusters, size=(n_users, 3))
    zipf = 1 / np.arange(1, by_cluster.shape[1] + 1)
    popularity = np.cumsum(zipf / zipf.sum())

    clusters = own[:, 0]
    codes = np.empty((n_users, events_per_user), dtype=np.int32)
    for step in range(events_per_user):
        places = np.searchsorted(popularity, rng.random(n_users))
        codes[:, step] = by_cluster[clusters, np.minimum(places, len(zipf) - 1)]
        kind = rng.random(n_users)
        stray = rng.integers(n_clusters, size=n_users)
        home = own[np.arange(n_users), rng.integers(3, size=n_users)]
        clusters = np.where(kind < 0.5, following[clusters], np.where(kind < 0.8, home, stray))
    offsets = np.arange(0, codes.size + 1, events_per_user)
    return Histories(codes.ravel(), offsets, np.arange(n_items))


def numbered(log: Histories) -> Histories:
    """Return the log with user ids."""
    return Histories(log.codes, log.offsets, log.item_ids, user_ids=np.arange(len(log)))


def popular_hits(train: Histories, y: np.ndarray) -> np.ndarray:
    """Return the hits of the most popular items."""
    counts = np.bincount(train.codes, minlength=len(train.item_ids))
    return np.isin(y, train.item_ids[np.argsort(-counts, kind="stable")[:K]]).astype(float)


def best_average(train: Histories) -> DecayAverageUserEncoder:
    """Return the average of a small grid that finds most events that come before the last."""
    items = CooccurrenceItemEmbedder(192).fit(train).item_embeddings_
    X, y = leave_last_out(train[:: max(1, len(train) // N_SCORED)])
    grid = [
        DecayAverageUserEncoder(items, decay=decay, repeat_exponent=exponent).fit(X)
        for decay in (0.05, 0.2, 0.5, 1.0, 2.0)
        for exponent in (1.0, 0.3)
    ]
    return max(grid, key=lambda encoder: encoder.score(X, y))


def skue_hits(
    name: str, train: Histories, X: Histories, y: np.ndarray, newer: Histories
) -> tuple[dict, np.ndarray]:
    """Fit one of ours; return what is told of the fit, and the hits of each user."""
    started = time.perf_counter()
    if name == "popularity":
        hits = popular_hits(train, y)
        return {"fit_seconds": time.perf_counter() - started}, hits
    if name == "best average":
        encoder = best_average(train)
    elif name == "transitions":
        encoder = TransitionItemRanker().fit(train)
    elif name == "profile":
        encoder = ProfileUserEncoder().fit(train)
    elif name == "two-stage":
        encoder = TwoStageRecommender(random_state=0).fit(train)
    elif name == OF_AVERAGES:
        first = DecayAverageUserEncoder(CooccurrenceItemEmbedder(64), decay=1.0)
        encoder = TwoStageRecommender(first, random_state=0).fit(train)
    else:
        encoder = TwoTowerUserEncoder(random_state=0).fit(train)
    found = {"fit_seconds": time.perf_counter() - started}
    hits = RecallAtK(K, normalize="hit").per_user(evaluate(encoder, X, y))
    if name in ("transitions", "two-tower", "two-stage", OF_AVERAGES):
        found["ms_a_user"] = ms_of_one_request(encoder.recommend, X[:N_REQUESTS])
    if name == "two-tower":
        found |= {"n_examples_seen": encoder.n_examples_seen_, "best_iter": encoder.best_iter_}
    if isinstance(encoder, TwoStageRecommender):
        found["ms_a_user_with_index"] = ms_with_index(encoder, X[:N_REQUESTS])
        found["second_stage"] = encoder.second_stage_
        found["update_seconds"] = seconds_of_update(encoder, newer)
    return found, hits


def ms_of_one_request(recommend: Callable[[Histories], Any], X: Histories) -> float:
    """Return the median milliseconds of a recommendation for one user."""
    seconds = []
    for row in range(len(X)):
        started = time.perf_counter()
        recommend(X[row : row + 1])
        seconds.append(time.perf_counter() - started)
    return 1e3 * float(np.median(seconds))


def ms_with_index(model: TwoStageRecommender, X: Histories) -> float:
    """Return the same with an hnswlib index, and user vectors that are computed anew."""
    with tempfile.TemporaryDirectory() as folder:
        export_index(model, folder)
        index = open_index(folder, backend="hnswlib")
        serving = Retriever(UserVectorCache(model.encoder_), index, model)
        return ms_of_one_request(lambda X: serving.recommend(X.user_ids, lambda _: X), X)


def seconds_of_update(model: TwoStageRecommender, newer: Histories) -> float:
    """Return how long it takes to add the last event of every user."""
    started = time.perf_counter()
    model.update(newer)
    return time.perf_counter() - started


def peer_hits(name: str, train: Histories, X: Histories, y: np.ndarray) -> tuple[dict, np.ndarray]:
    """Fit one of implicit's models on the counts of users and items; return the same."""
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import CosineRecommender

    started = time.perf_counter()
    if name == "implicit ALS":
        model = AlternatingLeastSquares(factors=128, iterations=15, random_state=0)
    else:
        model = CosineRecommender(K=100)
    with threadpool_limits(1, "blas"):  # as implicit asks for; it has threads of its own
        model.fit(counts_of(train), show_progress=False)
    found = {"fit_seconds": time.perf_counter() - started}
    queries = counts_of(X)
    recalculate = {"recalculate_user": True} if name == "implicit ALS" else {}
    ids, _ = model.recommend(
        np.arange(len(X)), queries, N=K, filter_already_liked_items=False, **recalculate
    )
    return found, (ids == np.asarray(y)[:, None]).any(axis=1).astype(float)


def counts_of(histories: Histories) -> sp.csr_matrix:
    """Return the counts of items per user."""
    ones = np.ones(len(histories.codes), dtype=np.float32)
    shape = (len(histories), len(histories.item_ids))
    # A copy, because the log is mapped from disk and sum_duplicates sorts in place.
    table = sp.csr_matrix((ones, np.array(histories.codes), histories.offsets), shape=shape)
    table.sum_duplicates()
    return table


def one(name: str, folder: Path) -> None:
    """Fit and score one contender in this process, and write what was found."""
    train = Histories.load(folder / "train.npz", mmap=True)
    X, y = Histories.load(folder / "queries.npz"), np.load(folder / "held_out.npy")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name in PEERS:
        found, hits = peer_hits(name, train, X, y)
    else:
        newer = Histories.load(folder / "newer.npz", mmap=True)
        found, hits = skue_hits(name, train, X, y, newer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found |= {"peak_gb": peak / 2**20, "peak_over_imports_gb": (peak - before) / 2**20}
    np.save(folder / f"{name}.npy", hits)
    print(json.dumps(found))


def measure(n_events: int, n_items: int | None, names: Sequence[str]) -> list[dict]:
    """Return one row for each contender on one log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = numbered(generated_log(n_events, n_items=n_items))
        train, held_out = leave_last_out(log)
        scored = np.random.default_rng(1).choice(len(train), min(N_SCORED, len(train)), False)
        train.save(folder / "train.npz")
        last, one_each = log.codes[log.offsets[1:] - 1], np.arange(len(log) + 1)
        newer = Histories(last, one_each, log.item_ids, user_ids=log.user_ids)
        newer.save(folder / "newer.npz")
        train[scored].save(folder / "queries.npz")
        np.save(folder / "held_out.npy", held_out[scored])
        rows = []
        for contender in names:
            command = [sys.executable, __file__, "--one", contender, "--folder", str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            hits = np.load(folder / f"{contender}.npy")
            row = {"n_events": n_events, "n_users": len(train), "n_items": len(train.item_ids)}
            row |= {"contender": contender, f"recall@{K}": float(hits.mean())}
            row |= json.loads(done.stdout.splitlines()[-1])
            if contender != "popularity" and (folder / "best average.npy").exists():
                row["against_best_average"] = paired_interval(
                    hits, np.load(folder / "best average.npy")
                )
            rows.append(row)
            print(json.dumps(row), flush=True)
        return rows


def write(histories: Histories, path: Path) -> None:
    """Write a log as a CSV, with three days between the events of a user."""
    import pandas

    users = owners(histories.offsets)
    days = 3 * (np.arange(len(users)) - histories.offsets[users])
    seconds = 1_600_000_000 + 86_400 * days + users % 86_400
    columns = {"user_id": users, "item_id": histories.codes, "timestamp": seconds}
    pandas.DataFrame(columns).to_csv(path, index=False)


def main() -> None:
    """Measure every size, and write the figures where ``--out`` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[200_000, 2_000_000])
    parser.add_argument("--items", type=int, help="number of items, a multiple of 20")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only", nargs="+", choices=(*SKUE, *PEERS, OF_AVERAGES))
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--write", type=Path, help="write the log there, and end")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.folder)
        return
    if options.write:
        write(generated_log(options.events[0]), options.write)
        return
    names = options.only or SKUE + (PEERS if options.peers else ())
    rows = [row for n_events in options.events for row in measure(n_events, options.items, names)]
    if options.out:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine()}
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
