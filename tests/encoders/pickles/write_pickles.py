"""Writes fitted encoders, and the vectors they gave, with the installed scikit-learn.

Run it in an environment of the version to be added: python tests/serving/pickles/write_pickles.py
"""

import pickle
from pathlib import Path

import numpy as np
import sklearn

from skue import (
    DecayAverageUserEncoder,
    ItemEmbeddings,
    MixedUserEncoder,
    TwoTowerUserEncoder,
)

ITEMS = ItemEmbeddings(
    np.random.default_rng(0).normal(size=(12, 4)), [f"item-{i}" for i in range(12)], space_id="toys"
)
LISTS = [[f"item-{i}" for i in row] for row in np.random.default_rng(1).integers(12, size=(40, 6))]
ENCODERS = [
    DecayAverageUserEncoder(ITEMS, decay=0.2),
    MixedUserEncoder(ITEMS),
    TwoTowerUserEncoder(ITEMS, hidden_layer_sizes=(4,), max_iter=1, random_state=0),
]

if __name__ == "__main__":
    folder = Path(__file__).parent / f"sklearn-{sklearn.__version__}"
    folder.mkdir(exist_ok=True)
    for encoder in ENCODERS:
        name = type(encoder).__name__
        vectors = encoder.fit(LISTS).transform(LISTS)
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(encoder, protocol=4))
        np.save(folder / f"{name}.npy", vectors)
