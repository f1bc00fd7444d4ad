"""Serving under load: latency, deadlines, a switch of encoders, an outage of the store.

    python benchmarks/serving.py              # a minute, as in the documentation
    python benchmarks/serving.py --seconds 9  # a short run
    python benchmarks/serving.py --second-stage  # only what a second stage costs

Threads request users by Zipf's law; one user in twenty is new. Other threads append events, and
each user has one writer. After a quarter of the time, the Redis server is killed, and started
again later. Halfway, a new encoder of another space is exported and switched to. Every answer is
kept. Afterwards, it is compared with the vector that its encoder gives for the user's history at
that time. BLAS has one thread, as it should if each request has its own thread.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from _two_stage_serving import second_stage_costs  # noqa: E402

from skue import (  # noqa: E402
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    MixedUserEncoder,
    RedisStore,
    Retriever,
    UserVectorCache,
    export_index,
    open_index,
)

N_ITEMS, N_DIMS, N_BASE = 50_000, 64, 20


class Redis:
    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url = folder, f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                time.sleep(0.01)

    def stop(self):
        self.process.kill()
        self.process.wait()


class World:
    """Users whose histories are determined by their number and the number of appended events."""

    def __init__(self, n_users, seed=0):
        self.n_users = n_users
        self.n_appended = np.zeros(2 * n_users, dtype=np.int64)
        self.n_announced = np.zeros(2 * n_users, dtype=np.int64)
        rng = np.random.default_rng(seed)
        items = rng.standard_normal((2, N_ITEMS, N_DIMS), dtype=np.float32)
        ids = [f"item-{row}" for row in range(N_ITEMS)]
        self.encoders = [
            encoder.set_params(
                item_embeddings=ItemEmbeddings(vectors, ids, space_id=f"space-{version}")
            ).fit(self.histories(np.arange(2000), np.zeros(2000, dtype=int)))
            for version, (encoder, vectors) in enumerate(
                zip((DecayAverageUserEncoder(decay=0.2), MixedUserEncoder()), items, strict=True)
            )
        ]

    def histories(self, users, n_appended):
        """Return histories; users beyond n_users are new and have only appended events."""
        base = np.where(users < self.n_users, N_BASE, 0)
        lengths = base + n_appended
        offsets = np.append(0, np.cumsum(lengths))
        owner = np.repeat(users, lengths)
        at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] + base, lengths)
        codes = (owner * 7919 + (at + N_BASE) * 104_729) % N_ITEMS
        return Histories.from_lists(np.split(_IDS[codes], offsets[1:-1]))

    def load(self, rng, users):
        # Like a database: usually a few milliseconds, sometimes many.
        time.sleep(0.05 if rng.random() < 0.01 else 0.002 + 0.002 * rng.random())
        return self.histories(users, self.n_appended[users])


_IDS = np.array([f"item-{row}" for row in range(N_ITEMS)])


def ask(world, serving, deadline, seed, pause, stop, answers, errors):
    rng = np.random.default_rng(seed)
    while not stop.is_set():
        if rng.random() < 0.05:
            user = world.n_users + int(rng.integers(world.n_users))
        else:
            user = int(rng.zipf(1.2)) % world.n_users
        now = serving[0]
        before = int(world.n_announced[user])
        try:
            started = time.perf_counter()
            vectors, status = now.cache.get([user], lambda ids: world.load(rng, ids))
            got = time.perf_counter()
            now.index.search(vectors, 20, space_id=now.cache.space_id)
            done = time.perf_counter()
        except Exception as error:
            errors.append(repr(error))
            continue
        version = int(now.cache.space_id[-1])
        after = int(world.n_appended[user])
        answers.append(
            (user, version, str(status[0]), before, after, got - started, done - got, vectors[0])
        )
        time.sleep(rng.exponential(pause))


def write(world, caches, seed, n_writers, pause, stop, errors):
    """Append events to the users whose number modulo n_writers is ``seed``."""
    rng = np.random.default_rng(1000 + seed)
    while not stop.is_set():
        user = int(rng.zipf(1.2)) % world.n_users
        user += (seed - user) % n_writers
        try:
            world.n_appended[user] += 1
            for cache in list(caches):
                cache.invalidate([user])
            world.n_announced[user] = world.n_appended[user]
        except Exception as error:
            errors.append(repr(error))
        time.sleep(rng.exponential(pause))


def run(arguments, folder):
    world = World(arguments.users)
    redis = Redis(folder)
    redis.start()
    store = RedisStore(redis.url, expire=3600)
    deadline = arguments.deadline / 1000

    def retriever(version):
        export_index(world.encoders[version], os.path.join(folder, "index"))
        cache = UserVectorCache(world.encoders[version], store, deadline=deadline, max_age=600)
        return Retriever(cache, open_index(os.path.join(folder, "index")))

    serving = [retriever(0)]
    caches, answers, errors, stop = [serving[0].cache], [], [], threading.Event()
    rng = np.random.default_rng(5)
    # Compile functions and fill half of the cache, as in a running service.
    serving[0].cache.warm(np.arange(world.n_users // 2), lambda ids: world.load(rng, ids))
    # As in a service, because a full garbage collection stops every thread.
    gc.collect()
    gc.freeze()
    threads = [
        threading.Thread(
            target=ask,
            args=(world, serving, deadline, t, arguments.pause / 1000, stop, answers, errors),
        )
        for t in range(arguments.threads)
    ]
    threads += [
        threading.Thread(target=write, args=(world, caches, t, 2, 0.02, stop, errors))
        for t in range(2)
    ]
    for thread in threads:
        thread.start()
    time.sleep(arguments.seconds / 4)
    redis.stop()
    time.sleep(arguments.down)
    redis.start()
    time.sleep(max(arguments.seconds / 2 - arguments.seconds / 4 - arguments.down, 0))
    new = retriever(1)
    # From before the warming, writers invalidate users in both caches.
    caches.append(new.cache)
    warmed = time.perf_counter()
    new.cache.warm(np.arange(world.n_users // 10), lambda ids: world.load(rng, ids))
    warmed = time.perf_counter() - warmed
    serving[0] = new
    time.sleep(arguments.seconds / 2)
    stop.set()
    for thread in threads:
        thread.join()
    counters = [cache.counters for cache in caches]
    for cache in caches:
        cache.close()
    redis.stop()
    return world, answers, errors, counters, warmed


def verify(world, answers):
    """Count wrong answers, and answers for a history without some announced event."""
    wrong = lost = 0
    for version, encoder in enumerate(world.encoders):
        mine = [answer for answer in answers if answer[1] == version]
        for start in range(0, len(mine), 5000):
            part = mine[start : start + 5000]
            exact = [answer for answer in part if answer[2] in ("cached", "fresh")]
            stale = [answer for answer in part if answer[2] == "stale"]
            wrong += sum(
                not np.array_equal(answer[7], encoder.fallback_vector_)
                for answer in part
                if answer[2] == "fallback"
            )
            wrong += int((~matches(world, encoder, stale, 0)).sum())
            right = matches(world, encoder, exact, 3)
            # If the vector matches an earlier history, an update was lost.
            doubtful = [answer for answer, ok in zip(exact, right, strict=True) if not ok]
            earlier = matches(world, encoder, doubtful, 0)
            lost += int(earlier.sum())
            wrong += int((~earlier).sum())
    return wrong, lost


def matches(world, encoder, answers, from_column):
    """Return which answers match their user's history after some number of appended events."""
    first = np.array([answer[3] if from_column else 0 for answer in answers], dtype=int)
    last = np.array([answer[4] for answer in answers], dtype=int)
    users = np.array([answer[0] for answer in answers], dtype=int)
    found = np.zeros(len(answers), dtype=bool)
    if not len(answers):
        return found
    vectors = np.stack([answer[7] for answer in answers])
    left = np.arange(len(answers))
    n_appended = last.copy()
    while len(left):
        expected = encoder.transform(world.histories(users[left], n_appended[left]))
        ok = np.abs(expected - vectors[left]).max(axis=1) < 1e-5
        found[left[ok]] = True
        n_appended -= 1
        left = left[~ok]
        left = left[n_appended[left] >= first[left]]
    return found


def microseconds(seconds):
    return {f"p{name}": float(np.percentile(seconds, name) * 1e6) for name in (50, 99, 99.9)} | {
        "max": float(np.max(seconds) * 1e6)
    }


def small_costs():
    """Time the update of one state, and exact search compared with the matrix product."""
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(rng.standard_normal((N_ITEMS, N_DIMS), dtype=np.float32), _IDS)
    some = Histories.from_lists(
        [_IDS[rng.integers(N_ITEMS, size=30)] for _ in range(50)],
        timestamps=[np.sort(rng.random(30)) * 1e6 for _ in range(50)],
    )
    update, update_list = [], []
    encoder = DecayAverageUserEncoder(items, age_unit="D").fit(some)
    state = encoder.make_state(some)[0]
    ids, times = [["item-7"]], [[2e6]]
    new = Histories.from_lists(ids, timestamps=times)
    for _ in range(5000):
        started = time.perf_counter()
        encoder.update_state(state, new)
        middle = time.perf_counter()
        encoder.update_state(state, Histories.from_lists(ids, timestamps=times))
        update_list.append(time.perf_counter() - middle)
        update.append(middle - started)
    index_folder = tempfile.mkdtemp()
    export_index(items, index_folder)
    index = open_index(index_folder)
    user, searched = encoder.transform(some)[:1], index.items.vectors
    bare, search = [], []
    for _ in range(1000):
        started = time.perf_counter()
        user @ searched.T
        middle = time.perf_counter()
        index.search(user, 10, space_id=index.space_id)
        search.append(time.perf_counter() - middle)
        bare.append(middle - started)
    shutil.rmtree(index_folder)
    return {
        "update_of_one_state_us": microseconds(update),
        "update_with_histories_made_us": microseconds(update_list),
        "bare_product_us": microseconds(bare),
        "exact_search_us": microseconds(search),
        "search_over_product_p50": float(np.median(search) / np.median(bare)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--down", type=float, default=5, help="seconds of the outage")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--deadline", type=float, default=25, help="in milliseconds")
    parser.add_argument("--pause", type=float, default=20, help="mean ms between requests")
    parser.add_argument("--second-stage", action="store_true")
    parser.add_argument("--json", help="file to write the figures to")
    arguments = parser.parse_args()
    if arguments.second_stage:
        print(json.dumps(second_stage_costs(), indent=1))
        return
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is not installed")
    results = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", **small_costs()}
    results["second_stage"] = second_stage_costs()
    folder = tempfile.mkdtemp()
    try:
        world, answers, errors, counters, warmed = run(arguments, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    waits = np.array([answer[5] for answer in answers])
    over = np.maximum(waits - arguments.deadline / 1000, 0)
    wrong, lost = verify(world, answers)
    statuses, counts = np.unique([answer[2] for answer in answers], return_counts=True)
    results |= {
        "answers": len(answers),
        "answers_a_second": len(answers) / arguments.seconds,
        "answers_by_encoder": [sum(a[1] == v for a in answers) for v in range(2)],
        "status": dict(zip(statuses.tolist(), counts.tolist(), strict=True)),
        "updates": int(world.n_appended.sum()),
        "get_us": microseconds(waits),
        "search_us": microseconds(np.array([answer[6] for answer in answers])),
        "deadline_ms": arguments.deadline,
        "overshoot_of_deadline_us": microseconds(over),
        "warming_seconds": warmed,
        "exceptions": len(errors),
        "wrong_vectors": wrong,
        "lost_updates": lost,
        "counters": counters,
    }
    print(json.dumps(results, indent=1))
    for error in errors[:5]:
        print(error, file=sys.stderr)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)
    sys.exit(1 if errors or wrong or lost else 0)


if __name__ == "__main__":
    main()
