"""Answers of the cache under faults: a killed Redis, and loads that are slow, fail or mix up rows.

    python benchmarks/cache_faults.py                   # 200,000 answers, a few minutes
    python benchmarks/cache_faults.py --answers 2000    # a short run, as in the tests

Threads ask a cache with a deadline for users whose histories grow. Other threads append events
and invalidate. Loads are slow, raise, return too few rows, rows of other users, or records that
cannot be encoded. The Redis server is killed and restarted again and again, and some of its
entries are overwritten with those of other users or with noise. Every answer is compared with the
vectors of the user's history at that time, and of no other user. A thread whose call does not
return counts as stuck. Fails if an answer is wrong or a thread is stuck.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib.util import find_spec

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, UserVectorCache  # noqa: E402

N_USERS, N_DIMS = 60, 16
# The items of a user repeat after 97 events; a history is the newest 30 events.
N_ITEMS, LENGTH = 97, 30
# A load of one of these fails for the user alone, or for its whole call.
FAULTS = ("slow", "raises", "short", "others", "bad record", "hangs")


class World:
    """Users with a growing history, of which each vector tells the user and the newest event."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((N_USERS * N_ITEMS, N_DIMS), dtype=np.float32)
        self.encoder = DecayAverageUserEncoder(ItemEmbeddings(vectors), decay=0.5)
        self.encoder.fit([[0], [1]])
        self.n_events = np.full(N_USERS, LENGTH)
        # How many there were when the last invalidation of the user had returned.
        self.n_announced = self.n_events.copy()
        self.expected = np.stack(
            [
                self.encoder.transform([self.history(user, n) for n in range(N_ITEMS)])
                for user in range(N_USERS)
            ]
        )

    def history(self, user, n_events):
        return [user * N_ITEMS + (n_events + n) % N_ITEMS for n in range(-LENGTH, 0)]

    def load(self, rng, ids, share, faults):
        """Return the histories of users, or do something else."""
        rows = [self.history(user, int(self.n_events[user])) for user in ids.tolist()]
        fault = FAULTS[int(rng.integers(len(FAULTS)))] if rng.random() < share else None
        faults[fault] += 1
        if fault == "slow":
            time.sleep(0.03)
        elif fault == "hangs":
            time.sleep(0.5)
        elif fault == "raises":
            raise OSError("the log is away")
        elif fault == "short":
            return rows[1:]
        elif fault == "others":
            other = (ids + 1) % N_USERS
            return Histories.from_lists(rows, user_ids=other)
        elif fault == "bad record":
            return [[None], *rows[1:]]
        if rng.random() < 0.5:
            return rows
        order = rng.permutation(len(rows))
        return Histories.from_lists([rows[row] for row in order], user_ids=ids[order])

    def is_right(self, user, vector, status, at_least, at_most):
        """Whether a vector is one that the user may get."""
        if status == "fallback":
            return np.array_equal(vector, self.encoder.fallback_vector_)
        first = at_most - N_ITEMS + 1 if status == "stale" else at_least
        expected = self.expected[user, np.arange(first, at_most + 1) % N_ITEMS]
        return bool((np.abs(expected - vector).max(axis=1) < 1e-5).any())

    def described(self, which, user, vector, status, at_least, at_most):
        """Return what a wrong vector is instead."""
        near = np.argwhere(np.abs(self.expected - vector).max(axis=2) < 1e-5).tolist()
        return (
            f"cache {which}, user {user}, {status}, after {at_least % N_ITEMS} to "
            f"{at_most % N_ITEMS} events: [user, events] of the vector are {near}"
        )


class Redis:
    """A server that is killed and started again."""

    def __init__(self, folder):
        from serving import Redis as Server

        self.server, self.running = Server(folder), True
        self.server.start()

    def torment(self, rng, stop, n_kills):
        """Kill the server, start it, and mix up entries."""
        import redis

        while not stop.wait(0.3):
            client = redis.Redis.from_url(self.server.url)
            try:
                keys = client.keys("skue:*")
                for _ in range(3 if len(keys) > 1 else 0):
                    one, other = rng.choice(len(keys), 2, replace=False)
                    client.set(keys[one], client.get(keys[other]) or b"noise")
            except redis.RedisError:
                pass
            if rng.random() < 0.3:
                self.server.stop()
                n_kills[0] += 1
                if stop.wait(0.2):
                    return
                self.server.start()

    def close(self):
        self.server.stop()


def run(n_answers, *, n_threads=8, share=0.2, deadline=0.02, seed=0, patience=60.0):
    """Return the figures of a run; ``wrong`` and ``stuck`` should be 0."""
    world, stop, lock = World(seed), threading.Event(), threading.Lock()
    statuses, faults, wrong, n_kills, n_done = Counter(), Counter(), [], [0], [0]
    folder, redis, store = tempfile.mkdtemp(), None, {}
    if shutil.which("redis-server") is not None and find_spec("redis") is not None:
        from skue import RedisStore

        redis = Redis(folder)
        store = RedisStore(redis.server.url, timeout=0.5)
    caches = [
        UserVectorCache(world.encoder, store, deadline=deadline, max_age=5.0),
        UserVectorCache(world.encoder, None, deadline=deadline),
        UserVectorCache(world.encoder, {}, max_entries=20),
    ]

    def ask(number):
        rng = np.random.default_rng([seed, number])
        while True:
            with lock:
                if n_done[0] >= n_answers:
                    return
            which = int(rng.integers(len(caches)))
            cache = caches[which]
            users = rng.choice(N_USERS, int(rng.integers(1, 6)), replace=False)
            at_least = world.n_announced[users].copy()
            vectors, status = cache.get(users, lambda ids: world.load(rng, ids, share, faults))
            at_most = world.n_events[users].copy()
            answers = zip(users, vectors, status, at_least, at_most, strict=True)
            mistakes = [(which, *answer) for answer in answers if not world.is_right(*answer)]
            with lock:
                n_done[0] += len(users)
                statuses.update(status.tolist())
                wrong.extend(mistakes)

    def write(number):
        rng = np.random.default_rng([seed, 100 + number])
        while not stop.wait(rng.exponential(0.01)):
            # Each user has one writer.
            user = int(rng.integers(N_USERS // 2)) * 2 + number
            world.n_events[user] += 1
            for cache in caches:
                cache.invalidate([user])
            world.n_announced[user] = world.n_events[user]

    askers = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(n_threads)]
    others = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(2)]
    if redis is not None:
        torment = (np.random.default_rng(seed), stop, n_kills)
        others.append(threading.Thread(target=redis.torment, args=torment, daemon=True))
    started = time.monotonic()
    for thread in askers + others:
        thread.start()
    last, since = -1, time.monotonic()
    while any(thread.is_alive() for thread in askers) and time.monotonic() - since < patience:
        if n_done[0] != last:
            last, since = n_done[0], time.monotonic()
        time.sleep(0.05)
    stop.set()
    stuck = sum(thread.is_alive() for thread in askers)
    for thread in others:
        thread.join(patience)
        stuck += thread.is_alive()
    # After all faults, every user is computed.
    for which, cache in enumerate(caches):
        cache.deadline = None
        vectors, status = cache.get(
            np.arange(N_USERS),
            lambda ids: [world.history(u, world.n_events[u]) for u in ids.tolist()],
        )
        n_events = world.n_events.copy()
        for answer in zip(range(N_USERS), vectors, status, n_events, n_events, strict=True):
            if answer[2] not in ("cached", "fresh") or not world.is_right(*answer):
                wrong.append((which, *answer))
        cache.close()
    if redis is not None:
        redis.close()
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "answers": n_done[0],
        "events": int(world.n_events.sum()) - N_USERS * LENGTH,
        "seconds": round(time.monotonic() - started, 1),
        "wrong": len(wrong),
        "stuck": stuck,
        "status": dict(statuses),
        "loads": {str(name): count for name, count in faults.items()},
        "redis_kills": n_kills[0] if redis is not None else None,
        "counters": [cache.counters for cache in caches],
        "first_wrong": [world.described(*answer) for answer in wrong[:5]],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("skue.serving").setLevel(logging.CRITICAL)
    results = run(arguments.answers, seed=arguments.seed)
    print(json.dumps(results, indent=1))
    sys.exit(1 if results["wrong"] or results["stuck"] else 0)


if __name__ == "__main__":
    main()
