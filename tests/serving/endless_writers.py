"""Processes that write until they are killed."""

import numpy as np

from skue import ItemEmbeddings, LMDBStore, export_index, prune
from skue.serving._entries import Entry, key_of, pack_entry

CATALOGUES = [
    ItemEmbeddings(
        np.random.default_rng(s).normal(size=(3000 + s, 32)),
        ids=[f"{s}-{i}" for i in range(3000 + s)],
        space_id=f"space-{s}",
    )
    for s in range(2)
]


def export_forever(folder, seed):
    """Export one of two catalogues, over and over, and prune."""
    rng = np.random.default_rng(seed)
    while True:
        export_index(CATALOGUES[int(rng.integers(2))], folder)
        prune(folder, keep=2)


KEYS = [key_of("0123456789abcdef", user) for user in range(300)]
N_DIMS = 64


def write_forever(folder, seed):
    """Write all users' vectors, of one number each time, over and over."""
    store, rng = LMDBStore(folder, max_bytes=2**26), np.random.default_rng(seed)
    while True:
        vector = np.full(N_DIMS, rng.random(), dtype=np.float32)
        entry = Entry(vector, float(vector[0]))
        store.set_many({key: pack_entry(key, "0123456789abcdef", entry) for key in KEYS})
