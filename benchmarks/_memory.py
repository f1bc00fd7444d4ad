"""Peak memory of encoding a million users, in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = """
import json, sys
from pathlib import Path

plan = json.loads(sys.argv[1])
for package in plan["without"]:
    sys.modules[package] = None


def status(name):
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if name in x)
    return int(line.split()[1]) * 1024


import numpy as np
import scipy.sparse, sklearn.base
found = {"scikit-learn": status("VmRSS")}
from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, pooling_backend

n_users, n_events, n_items, n_dims = plan["sizes"]
rng = np.random.default_rng(0)
DecayAverageUserEncoder(ItemEmbeddings(np.eye(n_dims))).fit([[1]])
found |= {"libraries": status("VmRSS"), "backend": pooling_backend()}

vectors = rng.standard_normal((n_items, n_dims), dtype=np.float32)
vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
# Read-only unit rows are not copied.
vectors.flags.writeable = False
items = ItemEmbeddings(vectors)
codes = rng.integers(0, n_items, n_users * n_events, dtype=np.int32)
codes.flags.writeable = False
offsets = np.arange(0, len(codes) + 1, n_events)
histories = Histories(codes, offsets, np.arange(n_items))
found["inputs"] = codes.nbytes + histories.offsets.nbytes + items.vectors.nbytes + items.ids.nbytes
found["outputs"] = 4 * n_users * n_dims
encoder = DecayAverageUserEncoder(items).fit(histories[:1000])
folder = Path(plan["folder"])
if plan["mapped"]:
    histories.save(folder / "histories.npz")
    del histories, codes
    histories = Histories.load(folder / "histories.npz", mmap=True)
found["before"] = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
if plan["mapped"]:
    out = np.lib.format.open_memmap(
        folder / "users.npy", mode="w+", dtype=np.float32, shape=(n_users, n_dims)
    )
    for rows, vectors in encoder.iter_transform(histories):
        out[rows] = vectors
else:
    out = encoder.transform(histories)
found |= {"peak": status("VmHWM"), "anonymous": status("RssAnon")}
assert np.isfinite(out[::1000]).all()
print(json.dumps(found))
"""


def measure(
    n_users: int = 1_000_000,
    *,
    mapped: bool = False,
    without: tuple[str, ...] = (),
    n_events: int = 50,
    n_items: int = 50_000,
    n_dims: int = 64,
) -> dict[str, Any]:
    """Return the bytes of libraries, inputs, outputs and the peak, and their differences.

    With ``mapped``, it is ``iter_transform`` from a memory-mapped file to a memory-mapped output.
    The system can reclaim their pages at any time, so the process needs only ``anonymous``.
    Otherwise, it is ``transform`` on arrays in memory. ``without`` names packages that are not
    imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = {
            "sizes": [n_users, n_events, n_items, n_dims],
            "mapped": mapped,
            "without": without,
            "folder": folder,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(plan)],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
        )
    found = json.loads(done.stdout)
    found["over inputs and outputs"] = found["peak"] - found["inputs"] - found["outputs"]
    found["over libraries too"] = found["over inputs and outputs"] - found["libraries"]
    return found
