"""A day of the shop in ``examples/server``: two nights, a server under load, a switch, a roll-back.

    python benchmarks/shop_day.py --users 2000 --items 1000 --seconds 5  # as in the documentation
    python benchmarks/shop_day.py --users 400 --items 150 --seconds 1 --vectors 1000  # a short run

Clients ask a server on this machine. Meanwhile, the second night runs, the server switches to its
version, and back again after ``rollback``. Then the vectors of a million users are written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

SERVER = Path(__file__).parents[1] / "examples" / "server"
sys.path[:0] = [str(SERVER), str(Path(__file__).parent)]

import _result_file  # noqa: E402
import httpx  # noqa: E402
import joblib  # noqa: E402
import load_test  # noqa: E402
import make_shop  # noqa: E402
import night_job  # noqa: E402
import numpy as np  # noqa: E402

from skue import Histories, open_index, rollback  # noqa: E402


def run_night(shop, day):
    """Run the night job in a process of its own; return its seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, SERVER / "night_job.py", shop, day], check=True)
    return time.perf_counter() - start


@contextlib.contextmanager
def running_server(shop):
    """Start the server on a free port, wait until it answers, and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", SERVER]
    command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(command, env={**os.environ, "SHOP": str(shop)})
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or version_of(url))
        yield url
    finally:
        process.terminate()
        process.wait()


def version_of(url):
    """Return the version that the server is serving, or None if it does not answer."""
    try:
        return httpx.get(f"{url}/health").json()["version"]
    except httpx.TransportError:
        return None


def wait_until(is_done, seconds=120):
    end = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} seconds")
        time.sleep(0.05)


def day_under_load(shop, url, n_users, seconds):
    """Ask while the second night is published, taken back, and published again."""
    is_over = threading.Event()
    users = [f"u{user}" for user in range(n_users)]
    answers = []
    clients = threading.Thread(
        target=lambda: answers.extend(load_test.run(url, users, is_over.is_set))
    )
    clients.start()
    try:
        time.sleep(seconds)
        night = run_night(shop, make_shop.DAYS[1])
        versions = [open_index(shop / "index").version]
        wait_until(lambda: version_of(url) == versions[-1])
        time.sleep(seconds)
        versions.append(rollback(shop / "index"))
        wait_until(lambda: version_of(url) == versions[-1])
        time.sleep(seconds)
    finally:
        is_over.set()
        clients.join()
    return {"second_night_seconds": night, **load_test.summary(answers)}


def write_many_vectors(shop, n_users, n_events=20):
    """Write the vectors of many users with random histories; return what it takes."""
    encoder = joblib.load(next((shop / "encoders").glob("*.joblib")))
    rng = np.random.default_rng(0)
    ids = encoder.item_embeddings_.ids
    codes = rng.integers(len(ids), size=n_users * n_events, dtype=np.int32)
    offsets = np.arange(n_users + 1) * n_events
    times = np.datetime64(make_shop.DAYS[0]) + np.arange(n_events) * np.timedelta64(60, "s")
    log = Histories(
        codes, offsets, ids, timestamps=np.tile(times, n_users), user_ids=np.arange(n_users)
    )
    start = time.perf_counter()
    night_job.write_vectors(encoder, log, shop / "many.parquet")
    return {
        "users": n_users,
        "seconds": time.perf_counter() - start,
        "file_mb": (shop / "many.parquet").stat().st_size / 2**20,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=10, help="before and after each switch")
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        make_shop.main(shop, options.users, options.items)
        first = run_night(shop, make_shop.DAYS[0])
        with running_server(shop) as url:
            day = day_under_load(shop, url, options.users, options.seconds)
        print(json.dumps(day, indent=1), flush=True)
        vectors = write_many_vectors(shop, options.vectors)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "users": options.users,
        "items": options.items,
        "first_night_seconds": first,
        **day,
        "vectors": vectors,
    }
    print(json.dumps(vectors, indent=1))
    if options.out:
        _result_file.write(options.out, result)


if __name__ == "__main__":
    main()
