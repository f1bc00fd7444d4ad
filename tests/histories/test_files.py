"""Histories on disk: saved, loaded, mapped, and refused if damaged."""

import copy
import os
import pickle

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings

COLUMNS = ["codes", "offsets", "item_ids", "timestamps", "weights", "user_ids"]


@pytest.fixture
def batch():
    return Histories.from_lists(
        [["tea", "cup", "tea"], [], ["saw"]],
        timestamps=[[1, 2, 3], [], [2]],
        weights=[[1, -1, 2], [], [0.5]],
        user_ids=["ann", "bob", "eve"],
    )


@pytest.mark.parametrize("mmap", [False, True])
def test_a_loaded_batch_equals_the_saved_one(tmp_path, batch, mmap):
    batch.save(tmp_path / "batch.npz")
    loaded = Histories.load(tmp_path / "batch.npz", mmap=mmap)
    for name in COLUMNS:
        saved = getattr(batch, name)
        np.testing.assert_array_equal(getattr(loaded, name), saved)
        assert getattr(loaded, name).dtype == saved.dtype
        assert not getattr(loaded, name).flags.writeable


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_copies_are_immutable_too(batch, copied):
    again = copied(batch)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(batch, name))
        assert not getattr(again, name).flags.writeable


def test_mapped_columns_stay_on_disk_and_are_aligned(tmp_path, batch):
    batch.save(tmp_path / "batch.npz")
    loaded = Histories.load(tmp_path / "batch.npz", mmap=True)
    for name in ("codes", "timestamps", "weights"):
        column = base = getattr(loaded, name)
        while base.base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
        assert column.ctypes.data % 64 == 0


def test_a_mapped_batch_gives_the_same_vectors(tmp_path):
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(rng.normal(size=(50, 8)))
    batch = Histories(rng.integers(0, 50, 6000), np.arange(601) * 10, np.arange(50))
    batch.save(tmp_path / "batch.npz")
    encoder = DecayAverageUserEncoder(items).fit(batch[:10])
    mapped = Histories.load(tmp_path / "batch.npz", mmap=True)
    out = np.lib.format.open_memmap(
        tmp_path / "users.npy", mode="w+", dtype=np.float32, shape=(600, 8)
    )
    for rows, vectors in encoder.iter_transform(mapped, chunk_size=170):
        out[rows] = vectors
    np.testing.assert_array_equal(out, encoder.transform(batch))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("n_bytes", [-1, 100])
def test_a_truncated_file_is_refused(tmp_path, batch, mmap, n_bytes):
    path = tmp_path / "batch.npz"
    batch.save(path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"not a readable \.npz file"):
        Histories.load(path, mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skue_format": np.array("Histories 99")}, r"Histories 99, not Histories \d+\. Save"),
        ({"skue_format": None}, "holds another kind of data, not Histories"),
        ({"codes": None}, r"holds \[.*\] in place of \['codes', "),
        ({"extra": np.arange(2)}, r"holds \[.*'extra', .* in place of"),
        ({"codes": np.zeros((2, 2), dtype=np.int32)}, r"codes has the shape \(2, 2\)"),
        ({"item_ids.offsets": np.array([0, 10**12])}, "do not fit its bytes"),
        ({"item_ids.offsets": None}, "not a readable"),
        ({"codes": np.array([0, 1, 9, 2], dtype=np.int32)}, "is damaged: codes must be positions"),
        (
            {"offsets": np.array([0, 3, 2, 4])},
            "is damaged: offsets must start at 0 and not decrease",
        ),
        ({"timestamps": np.array([3.0, 2, 1, 2])}, "is damaged: timestamps must not decrease"),
        ({"weights": np.array([1, np.nan, 1, 1])}, "is damaged: weights must be finite"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_with_other_parts_is_refused(tmp_path, batch, mmap, changes, message):
    path = tmp_path / "batch.npz"
    batch.save(path)
    with np.load(path) as archive:
        parts = {**archive, **changes}
    np.savez(path, **{name: part for name, part in parts.items() if part is not None})
    with pytest.raises(ValueError, match=message):
        Histories.load(path, mmap=mmap)


def test_a_flipped_byte_is_found(tmp_path, batch):
    path = tmp_path / "batch.npz"
    batch.save(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(np.float64(0.5).tobytes(), np.float64(0.6).tobytes()))
    with pytest.raises(ValueError, match=r"weights\.npy does not match its checksum"):
        Histories.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, batch, monkeypatch):
    path = tmp_path / "batch.npz"
    batch.save(path)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        batch[:1].save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["batch.npz"]
