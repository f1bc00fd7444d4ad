"""The server of recommendations.

SHOP=shop python -m uvicorn app:app --app-dir examples/server
"""

import gc
import logging
import os
import sqlite3
import threading
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import joblib
from fastapi import FastAPI, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from pydantic import BaseModel

from skue import Histories, Retriever, UserVectorCache, open_index

SHOP = Path(os.environ["SHOP"])
DEADLINE = 0.1  # seconds for loading and encoding; who is late gets an older vector or the fallback
N_WARM = 10_000  # the users with the newest events, whose vectors are computed before a switch
LOG = logging.getLogger("uvicorn.error")

SECONDS = Histogram(
    "recommend_seconds",
    "Time to answer one request",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
VECTORS = Counter("recommend_vectors", "Users by the status of their vector", ["status"])
SWITCHES = Counter("recommend_switches", "Versions that were switched to")
FAILED = Counter("recommend_failed_switches", "Attempts to switch that failed")


# --- The shop's database ---


def query(statement, values=()):
    with closing(sqlite3.connect(SHOP / "shop.db", timeout=1)) as database, database:
        return database.execute(statement, values).fetchall()


def load(user_ids):
    """Return the histories of users. Those of users whom the database does not know are empty."""
    users = user_ids.tolist()
    marks = ",".join("?" * len(users))
    events = query(
        f"SELECT user, item, time FROM events WHERE user IN ({marks}) ORDER BY time", users
    )
    items = {user: [] for user in users}
    times = {user: [] for user in users}
    for user, item, time in events:
        items[user].append(item)
        times[user].append(time)
    return Histories.from_lists(
        list(items.values()), timestamps=list(times.values()), user_ids=users
    )


def active_users():
    """Return the users with the newest events."""
    newest = "SELECT user FROM events GROUP BY user ORDER BY max(time) DESC LIMIT ?"
    return [user for (user,) in query(newest, [N_WARM])]


# --- The version in use ---


class Versions:
    """The version in use, and the caches that new events must reach."""

    serving: Retriever | None = None
    caches: tuple[UserVectorCache, ...] = ()

    def switch(self):
        """Serve the version that the file ``CURRENT`` names, if it is another one."""
        current = (SHOP / "index" / "CURRENT").read_text().strip()
        if self.serving is not None and self.serving.index.version == current:
            return
        index = open_index(SHOP / "index")
        encoder = joblib.load(SHOP / "encoders" / f"{index.encoder_id}.joblib")
        cache = UserVectorCache(encoder, deadline=DEADLINE)
        before, self.caches = self.caches, (*self.caches, cache)
        try:
            cache.warm(active_users(), load)
            self.serving = Retriever(cache, index)
        except BaseException:
            self.caches = before
            raise
        # Requests that have read the version before still use its cache.
        self.caches = (*before[-1:], cache)
        SWITCHES.inc()
        LOG.info("Serving version %s", index.version)

    def watch(self, stop):
        """Look for another version every second. If it cannot be opened, keep the one in use."""
        while not stop.wait(1.0):
            try:
                self.switch()
            except Exception:
                FAILED.inc()
                LOG.exception("No switch; still serving %s", self.serving.index.version)


VERSIONS = Versions()


class CacheCounters:
    """The counters of the cache in use. They start at 0 after a switch, as after a restart."""

    gauges = ("unknown_item_rate", "mean_vector_age", "max_vector_age")

    def collect(self):
        for name, value in VERSIONS.serving.cache.counters.items():
            family = GaugeMetricFamily if name in self.gauges else CounterMetricFamily
            yield family(f"vector_cache_{name}", "See UserVectorCache.counters", value=value)


@asynccontextmanager
async def lifespan(app):
    VERSIONS.switch()
    REGISTRY.register(CacheCounters())
    gc.collect()
    gc.freeze()  # a full collection of all that was imported would stop every thread
    stop = threading.Event()
    threading.Thread(target=VERSIONS.watch, args=[stop], daemon=True).start()
    yield
    stop.set()


# --- The requests ---

app = FastAPI(lifespan=lifespan)


class Recommendation(BaseModel):
    item: str
    score: float


class Recommendations(BaseModel):
    user: str
    version: str
    status: str
    items: list[Recommendation]


class Event(BaseModel):
    user: str
    item: str


@app.get("/recommend/{user}")
def recommend(user: str, k: Annotated[int, Query(ge=1, le=100)] = 10) -> Recommendations:
    serving = VERSIONS.serving  # read once, so that the answer is of one version
    with SECONDS.time():
        ids, scores, status = serving.recommend([user], load, k)
    VECTORS.labels(status[0]).inc()
    # If fewer than k items are left, the rest has a score of -inf, which JSON does not have.
    found = [
        Recommendation(item=item, score=score)
        for item, score in zip(ids[0], scores[0], strict=True)
        if score > float("-inf")
    ]
    return Recommendations(user=user, version=serving.index.version, status=status[0], items=found)


@app.post("/events", status_code=201)
def add_event(event: Event) -> None:
    now = datetime.now().isoformat(timespec="milliseconds")
    query("INSERT INTO events VALUES (?, ?, ?)", [event.user, event.item, now])
    for cache in VERSIONS.caches:
        cache.invalidate([event.user])


@app.get("/health")
def health() -> dict[str, str]:
    index = VERSIONS.serving.index
    return {"version": index.version, "encoder_id": index.encoder_id, "space_id": index.space_id}


@app.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
