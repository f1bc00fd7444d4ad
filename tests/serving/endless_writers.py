"""Processes that write until they are killed."""

import numpy as np

from skue import ItemEmbeddings, export_index, prune

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
