"""Ask a running server for recommendations, and print how long it takes.

    python examples/server/load_test.py http://127.0.0.1:8000 --seconds 10

Each client asks for one user after the other, whom it draws by Zipf's law. One request in twenty is
of a new user, and one in ten adds an event.
"""

import argparse
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np


def ask(url, users, is_over, seed):
    """Send requests until ``is_over()``; return the seconds and the answer of each."""
    rng = np.random.default_rng(seed)
    answers = []
    with httpx.Client(base_url=url, timeout=10) as client:
        while not is_over():
            user = users[(rng.zipf(1.2) - 1) % len(users)]
            kind, request = "recommend", client.build_request("GET", f"/recommend/{user}")
            draw = rng.random()
            if draw < 0.05:
                new = f"new-{rng.integers(10**9)}"
                kind, request = "new user", client.build_request("GET", f"/recommend/{new}")
            elif draw < 0.15:
                event = {"user": user, "item": f"i{rng.integers(100)}"}
                kind, request = "event", client.build_request("POST", "/events", json=event)
            start = time.perf_counter()
            response = client.send(request)
            seconds = time.perf_counter() - start
            found = response.json() if response.is_success and kind != "event" else {}
            answers.append(
                {"kind": kind, "seconds": seconds, "code": response.status_code, **found}
            )
    return answers


def run(url, users, is_over, n_clients=4):
    """Return the answers of all clients."""
    with ThreadPoolExecutor(n_clients) as threads:
        parts = [threads.submit(ask, url, users, is_over, seed) for seed in range(n_clients)]
        return [answer for part in parts for answer in part.result()]


def summary(answers):
    """Return counts, and times of recommendations in milliseconds."""
    seconds = [answer["seconds"] for answer in answers if answer["kind"] != "event"]
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    return {
        "requests": len(answers),
        "failed": sum(answer["code"] >= 400 for answer in answers),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "versions": dict(Counter(a["version"] for a in answers if "version" in a)),
        "status": dict(Counter(a["status"] for a in answers if "status" in a)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--users", type=int, default=1000)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    users = [f"u{user}" for user in range(options.users)]
    for name, value in summary(run(options.url, users, lambda: time.monotonic() > end)).items():
        print(f"{name}: {value}")
