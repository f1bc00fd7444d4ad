"""The ablation of quality.py changes the parts of the two-tower encoder that it names."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from skue import Histories

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("_quality_parts")


def log():
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 2], p=[0.8, 0.2], size=(60, 6)).cumsum(axis=1)
    return Histories.from_lists(list((rng.integers(20, size=(60, 1)) + steps) % 20))


def fitted(parts, name):
    encoder = parts.Ablated(early_stopping=False, max_iter=2, random_state=0)
    return encoder.changed(parts.VARIANTS[name]).fit(log())


def test_every_variant_of_the_ablation_learns(parts):
    whole = fitted(parts, "all parts").item_embeddings_.vectors
    for name in parts.VARIANTS:
        vectors = fitted(parts, name).item_embeddings_.vectors
        same = vectors.shape == whole.shape and np.array_equal(vectors, whole)
        assert same == (name == "all parts"), name
