"""ItemEmbeddings: construction, errors, saving and lookup."""

import os
import pickle
from types import SimpleNamespace

import joblib
import numpy as np
import pytest

from skue import ItemEmbeddings
from skue._files import write_arrays

ITEMS = ItemEmbeddings([[3, 4], [0, 2]], ids=["tea", "cup"], space_id="shop")


def test_rows_are_scaled_to_length_one():
    np.testing.assert_allclose(ITEMS.vectors, [[0.6, 0.8], [0, 1]], atol=1e-7)


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        ([1.0, 2.0], None, "must have shape .n_items, n_dims., got shape .2,."),
        ([[1.0, np.nan]], None, r"hold NaN or infinity: rows \[0\]"),
        ([[1.0], [0.0]], None, r"hold only zeros: rows \[1\]"),
        ([[1.0], [2.0]], ["a", "a"], "these appear again: 'a' .row 1."),
        ([[1.0], [2.0]], ["a"], "ids and vectors must have the same length, got 1 and 2"),
        ([[1.0]], [-1], "must not be negative or empty, got .*-1"),
        ([[1.0], [2.0]], ["a", 2], "mix types"),
        ([["x"]], None, "vectors must be numbers"),
    ],
)
def test_invalid_vectors_or_ids_raise(vectors, ids, message):
    with pytest.raises(ValueError, match=message):
        ItemEmbeddings(vectors, ids)


def test_the_space_id_is_a_hash_of_the_content_by_default():
    first, second = ItemEmbeddings(np.eye(2)), ItemEmbeddings(np.eye(2))
    assert first.space_id == second.space_id == first.catalog_id
    assert ItemEmbeddings(np.eye(3)).space_id != first.space_id
    assert ITEMS.space_id == "shop"


def test_extend_keeps_the_space_id_and_changes_the_catalog_id():
    larger = ITEMS.extend([[1, 0]], ["pot"])
    assert larger.space_id == ITEMS.space_id
    assert larger.catalog_id != ITEMS.catalog_id
    assert larger.lookup(["pot", "tea"]).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        ([[1, 0]], ["tea"], "appear again: 'tea'"),
        ([[1, 0, 0]], ["pot"], "must have the 2 dimensions of the space, got 3"),
        ([[1, 0]], [5], "ids must be of one type, got 5, but the catalogue has 'tea'"),
    ],
)
def test_extend_raises_for_items_that_do_not_fit(vectors, ids, message):
    with pytest.raises(ValueError, match=message):
        ITEMS.extend(vectors, ids)


@pytest.mark.parametrize("mmap", [False, True])
def test_saved_items_are_loaded_unchanged(tmp_path, mmap):
    ITEMS.save(tmp_path / "items.npz")
    loaded = ItemEmbeddings.load(tmp_path / "items.npz", mmap=mmap)
    np.testing.assert_array_equal(loaded.vectors, ITEMS.vectors)
    assert loaded.ids.tolist() == ["tea", "cup"]
    assert (loaded.space_id, loaded.catalog_id) == (ITEMS.space_id, ITEMS.catalog_id)


def test_a_failed_save_leaves_only_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "items.npz"
    ITEMS.save(path)
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"disk full"):
        ITEMS.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["items.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut"])
def test_a_damaged_file_raises(tmp_path, content):
    path = tmp_path / "items.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a readable \.npz file"):
        ItemEmbeddings.load(path)


def test_keyed_vectors_are_converted():
    words = SimpleNamespace(vectors=np.eye(2), index_to_key=["tea", "cup"])
    assert ItemEmbeddings.from_keyed_vectors(words).ids.tolist() == ["tea", "cup"]


def test_a_model_instead_of_its_vectors_raises():
    with pytest.raises(ValueError, match=r"Pass model\.wv, not model"):
        ItemEmbeddings.from_keyed_vectors(SimpleNamespace(wv=None))


def test_read_only_unit_rows_are_not_copied(tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    joblib.dump(vectors, tmp_path / "v.joblib")
    mapped = joblib.load(tmp_path / "v.joblib", mmap_mode="r")
    assert np.shares_memory(ItemEmbeddings(mapped).vectors, mapped)


ALIGNED = ItemEmbeddings(np.eye(3), aligned_with="monday", agreement=0.75)


def reloaded(items, tmp_path):
    items.save(tmp_path / "items.npz")
    return ItemEmbeddings.load(tmp_path / "items.npz")


@pytest.mark.parametrize(
    "again",
    [
        lambda items, _: pickle.loads(pickle.dumps(items)),
        reloaded,
        lambda items, _: items.extend([[1, 1, 1]], [7]),
    ],
    ids=["pickle", "file", "extend"],
)
def test_the_alignment_is_kept(again, tmp_path):
    items = again(ALIGNED, tmp_path)
    assert (items.aligned_with, items.agreement) == ("monday", 0.75)
    assert items.space_id == ALIGNED.space_id


@pytest.mark.parametrize(
    ("alignment", "message"),
    [
        ({"aligned_with": 3}, "aligned_with must be a string or None, got 3"),
        ({"aligned_with": "a", "agreement": 1.5}, "agreement must be a number from 0 to 1"),
        ({"agreement": 0.5}, "agreement=0.5 needs aligned_with"),
    ],
)
def test_an_invalid_alignment_raises(alignment, message):
    with pytest.raises(ValueError, match=message):
        ItemEmbeddings(np.eye(3), **alignment)


def test_the_index_of_a_frame_gives_the_ids():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.eye(2), index=["tea", "cup"])
    assert ItemEmbeddings(frame).ids.tolist() == ["tea", "cup"]
    assert ItemEmbeddings(frame, ids=["a", "b"]).ids.tolist() == ["a", "b"]


def test_a_frame_of_nullable_numbers_is_read():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [3, 0], "y": [4, 1]}, index=["a", "b"]).astype("Float64")
    np.testing.assert_allclose(ItemEmbeddings(frame).vectors, [[0.6, 0.8], [0, 1]])


@pytest.mark.parametrize(
    "crafted",
    [
        {"space_id": np.array([1, 2])},
        {"vectors": np.zeros((2, 3), np.float32)},
        {"vectors": np.ones(2)},
        {"ids": np.array([4, 4])},
        {"aligned_with": np.array("monday"), "agreement": np.array("high")},
        {"_learned_events": np.array([0.5])},
    ],
    ids=str,
)
def test_a_file_that_was_changed_is_named_as_damaged(tmp_path, crafted):
    path = tmp_path / "items.npz"
    held = {"vectors": np.eye(2), "ids": np.arange(2), "space_id": np.array("x")}
    write_arrays(path, "ItemEmbeddings", held)
    assert len(ItemEmbeddings.load(path)) == 2
    write_arrays(path, "ItemEmbeddings", held | crafted)
    with pytest.raises(ValueError, match=r"items\.npz is damaged"):
        ItemEmbeddings.load(path)
