"""Encoders pickled by other versions: they load, or say what to do."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, ItemEmbeddings
from skue.encoders import _base as _versions

FOLDER = Path(__file__).parent / "pickles"
PICKLES = sorted(FOLDER.glob("sklearn-*/*.pickle"))
ITEMS = ItemEmbeddings(np.eye(3), ["a", "b", "c"])


def test_there_are_pickles_of_two_versions_of_scikit_learn():
    assert len({path.parent for path in PICKLES}) >= 2
    assert len(PICKLES) >= 6


@pytest.mark.parametrize("path", PICKLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_encoder_pickled_with_another_scikit_learn_gives_the_same_vectors(path):
    lists = [
        [f"item-{i}" for i in row] for row in np.random.default_rng(1).integers(12, size=(40, 6))
    ]
    encoder = pickle.loads(path.read_bytes())
    np.testing.assert_allclose(
        encoder.transform(lists), np.load(path.with_suffix(".npy")), atol=1e-5
    )
    assert encoder.recommend(lists, 3)[0].shape == (40, 3)
    assert encoder.encoder_id_ == pickle.loads(pickle.dumps(encoder)).encoder_id_


def test_a_pickle_with_a_newer_layout_raises_with_the_way_out(monkeypatch):
    encoder = DecayAverageUserEncoder(ITEMS).fit([["a", "b"]])
    monkeypatch.setattr(_versions, "_LAYOUT", 3)
    monkeypatch.setattr(_versions, "__version__", "3.1.0")
    data = pickle.dumps(encoder)
    monkeypatch.undo()
    with pytest.raises(
        ValueError,
        match=r"DecayAverageUserEncoder was pickled by skue 3\.1\.0 .*layout 3; this is skue .*"
        r"up to layout 2\. Install skue 3\.1\.0 or newer, or fit the encoder again",
    ):
        pickle.loads(data)


def test_a_parameter_missing_from_an_older_pickle_gets_its_default(monkeypatch):
    encoder = DecayAverageUserEncoder(ITEMS, decay=0.5).fit([["a", "b"]])
    expected = encoder.transform([["a", "b"]])
    del encoder.__dict__["n_jobs"], encoder.__dict__["max_history"]
    restored = pickle.loads(pickle.dumps(encoder))
    assert restored.get_params()["n_jobs"] is None
    np.testing.assert_array_equal(restored.transform([["a", "b"]]), expected)


def test_a_pickle_without_a_stamp_loads():
    encoder = DecayAverageUserEncoder(ITEMS).fit([["a", "b"]])
    restored = DecayAverageUserEncoder.__new__(DecayAverageUserEncoder)
    restored.__setstate__(dict(vars(encoder)))
    np.testing.assert_array_equal(restored.transform([["a"]]), encoder.transform([["a"]]))


def test_the_stamp_does_not_become_an_attribute():
    encoder = DecayAverageUserEncoder(ITEMS).fit([["a", "b"]])
    assert vars(copy.copy(encoder)).keys() == vars(encoder).keys()
    assert vars(pickle.loads(pickle.dumps(encoder))).keys() == vars(encoder).keys()
