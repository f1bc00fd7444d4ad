"""From Parquet parts to vectors in Parquet parts on a dask cluster, while a worker is killed.

    python benchmarks/cluster.py                     # a million events, two worker processes
    python benchmarks/cluster.py --events 20_000     # one chunk, which the client counts

Pairs of items are counted by the workers, the two-tower encoder is trained on the client, and the
workers encode and write one part at a time. When the first part is written, one worker is killed
with SIGKILL. The item vectors and the parts are compared with those of one process. Needs
``python -m pip install -e ".[dask,io]"``, run in the clone.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from scale import generated_log

from skue import CooccurrenceItemEmbedder, Histories, TwoTowerUserEncoder, share_items

N_PARTS = 32


def write_parts(histories: Histories, folder: Path) -> None:
    """Write a log in parts, all events of a user in one part."""
    folder.mkdir()
    frame = histories.to_frame()
    for part in range(N_PARTS):
        own = frame[frame["user"] % N_PARTS == part]
        own.to_parquet(folder / f"part-{part:02}.parquet", index=False)


def encoded(part: pd.DataFrame, encoder: TwoTowerUserEncoder) -> pd.DataFrame:
    """Return the vectors of the users of a part."""
    log = Histories.from_frame(part, user="user", item="item")
    vectors = pd.DataFrame(encoder.transform(log), index=log.user_ids)
    return vectors.rename(columns=str)


def kill_midway(client: Client, folder: Path) -> tuple[threading.Thread, dict]:
    """Kill a worker as soon as one part is written; tell how many were written then."""
    victim = next(iter(client.run(os.getpid).values()))
    killed: dict = {}

    def wait_and_kill() -> None:
        while not (n_written := len(list(folder.glob("*.parquet")))):
            time.sleep(0.002)
        os.kill(victim, signal.SIGKILL)
        killed.update(pid=victim, n_written=n_written)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread, killed


def run(n_events: int, folder: Path, max_iter: int = 3) -> dict:
    """Go from parts to parts on a cluster; return what happened, beside one process."""
    write_parts(generated_log(n_events), folder / "log")
    seconds = {}
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=str(folder / "dask"),
        ) as cluster,
        Client(cluster) as client,
    ):
        log = Histories.from_frame(pd.read_parquet(folder / "log"), user="user", item="item")
        embedder = CooccurrenceItemEmbedder(64, n_jobs=-1)
        started = time.perf_counter()
        with joblib.parallel_config(backend="dask"):
            items = embedder.fit(log).item_embeddings_
        seconds["item vectors"] = time.perf_counter() - started

        started = time.perf_counter()
        with joblib.parallel_config(backend="dask"):
            encoder = TwoTowerUserEncoder(embedder, max_iter=max_iter, random_state=0).fit(log)
        seconds["two-tower"] = time.perf_counter() - started

        started = time.perf_counter()
        first = pd.read_parquet(folder / "log" / "part-00.parquet")
        meta = encoded(first[:1], encoder).iloc[:0]
        (folder / "vectors").mkdir()
        with share_items(client, encoder.item_embeddings_):
            parts = dd.read_parquet(folder / "log", split_row_groups=False, aggregate_files=False)
            vectors = parts.map_partitions(encoded, encoder, meta=meta)
            thread, killed = kill_midway(client, folder / "vectors")
            vectors.to_parquet(folder / "vectors")
            thread.join(timeout=10)
        seconds["encoding"] = time.perf_counter() - started
        client.wait_for_workers(2, timeout=60)
        pids = set(client.run(os.getpid).values())

    alone = CooccurrenceItemEmbedder(64).fit(log).item_embeddings_
    expected = pd.concat(
        encoded(pd.read_parquet(path), encoder) for path in sorted((folder / "log").iterdir())
    ).sort_index()
    found = pd.read_parquet(folder / "vectors").sort_index()
    return {
        "n_events": len(log.codes),
        "n_users": len(log),
        "n_parts": vectors.npartitions,
        "parts_written_before_the_kill": killed.get("n_written"),
        "killed_worker_is_gone": bool(killed) and killed["pid"] not in pids,
        "same_item_vectors": items.catalog_id == alone.catalog_id,
        "same_users": found.index.equals(expected.index),
        "largest_difference": float(np.abs(found.to_numpy() - expected.to_numpy()).max()),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def main() -> None:
    """Run it in a temporary folder, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(options.events, Path(folder)), indent=1))


if __name__ == "__main__":
    main()
