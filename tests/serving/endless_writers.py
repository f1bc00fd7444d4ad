"""Processes that write until they are killed."""

import itertools
from functools import lru_cache

import numpy as np

from skue import ItemEmbeddings, LMDBStore, export_index, prune
from skue.serving.cache._entries import Entry, key_of, pack_entry

CATALOGUES = [
    ItemEmbeddings(
        np.random.default_rng(s).normal(size=(3000 + s, 32)),
        ids=[f"{s}-{i}" for i in range(3000 + s)],
        space_id=f"space-{s}",
    )
    for s in range(2)
]


def export_forever(folder, seed, inside):
    """Export one of two catalogues, over and over, and prune; tell when inside an export."""
    rng = np.random.default_rng(seed)
    while True:
        inside.value = True
        export_index(CATALOGUES[int(rng.integers(2))], folder)
        inside.value = False
        prune(folder, keep=2)


KEYS = [key_of("0123456789abcdef", user) for user in range(1000)]
N_DIMS = 64


@lru_cache
def vector_of(number):
    """A vector of length 1 that says which number it was made of."""
    pair = np.array([np.cos(number), np.sin(number)], dtype=np.float32)
    return np.repeat(pair, N_DIMS // 2) / np.float32(np.sqrt(N_DIMS // 2))


def write_forever(folder, seed, inside):
    """Write all users' vectors, of one number each time, over and over; tell when inside."""
    store, batches = LMDBStore(folder, max_bytes=2**26), []
    # Made beforehand, so that nearly all of the time is spent in writing.
    for number in np.random.default_rng(seed).random(4, dtype=np.float32):
        entry = Entry(vector_of(float(number)), float(number))
        batches.append({key: pack_entry(key, "0123456789abcdef", entry) for key in KEYS})
    for batch in itertools.cycle(batches):
        inside.value = True
        store.set_many(batch)
        inside.value = False
