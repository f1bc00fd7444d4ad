"""Peak memory of encoding a million users, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = """
import json, sys, tempfile
from pathlib import Path
import numpy as np
from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, pooling_backend

n_users, n_events, n_items, n_dims = json.loads(sys.argv[1])
way = sys.argv[2]


def status(name):
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if name in x)
    return int(line.split()[1]) * 1024


imported = status("VmRSS")
rng = np.random.default_rng(0)
items = ItemEmbeddings(rng.normal(size=(n_items, n_dims)).astype(np.float32))
folder = Path(tempfile.mkdtemp())
codes = rng.integers(0, n_items, n_users * n_events, dtype=np.int32)
codes.flags.writeable = False
histories = Histories(codes, np.arange(n_users + 1) * n_events, np.arange(n_items))
inputs = codes.nbytes + histories.offsets.nbytes + items.vectors.nbytes + items.ids.nbytes
outputs = 4 * n_users * n_dims
encoder = DecayAverageUserEncoder(items).fit(histories[:1000])
if way == "mapped":
    histories.save(folder / "histories.npz")
    del histories, codes
    histories = Histories.load(folder / "histories.npz", mmap=True)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
if way == "mapped":
    out = np.lib.format.open_memmap(
        folder / "users.npy", mode="w+", dtype=np.float32, shape=(n_users, n_dims)
    )
    for rows, vectors in encoder.iter_transform(histories):
        out[rows] = vectors
else:
    out = encoder.transform(histories)
peak = status("VmHWM")
anonymous = status("RssAnon")
assert np.isfinite(out[::1000]).all()
print(json.dumps(dict(backend=pooling_backend(), before=before, imported=imported, inputs=inputs,
    outputs=outputs, peak=peak, anonymous=anonymous)))
"""


def measure(
    way: str,
    *,
    n_users: int = 1_000_000,
    n_events: int = 50,
    n_items: int = 50_000,
    n_dims: int = 64,
) -> dict[str, Any]:
    """Return bytes: imported libraries, inputs, outputs, the peak, and what that is over them.

    ``way`` is ``"memory"`` for ``transform`` on arrays in memory, ``"mapped"`` for
    ``iter_transform`` from a memory-mapped file to a memory-mapped output, whose pages the system
    may take back at any time: there ``anonymous`` is what the process needs.
    """
    sizes = json.dumps([n_users, n_events, n_items, n_dims])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, sizes, way],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    found = json.loads(done.stdout)
    found["process over inputs and outputs"] = found["peak"] - found["inputs"] - found["outputs"]
    found["transform over its output"] = found["peak"] - found["before"] - found["outputs"]
    return found
