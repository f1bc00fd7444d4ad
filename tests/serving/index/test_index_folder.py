"""The folder of an index: versions, prune, rollback, damaged folders and interrupted exports."""

import json
import os
import re
import shutil
import signal
import threading
import time
import zipfile

import numpy as np
import pytest
from other_processes import exit_code_of, export_and_die

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    ItemEmbeddings,
    export_index,
    open_index,
    prune,
    rollback,
)
from skue.serving import _versions

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(30, 5)), [f"item-{i}" for i in range(30)], space_id="shop")
NUMBERED = ItemEmbeddings(RNG.normal(size=(30, 5)), space_id="shop")
OTHERS = ItemEmbeddings(np.eye(5), space_id="other")
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "index"


def left(folder):
    return sorted(path.name for path in (folder / "versions").iterdir())


def current(folder):
    return folder / "versions" / (folder / "CURRENT").read_text().strip()


def flipped(data):
    """Return the data of a file with another bit in a vector."""
    data = bytearray(data)
    data[data.index(ITEMS.vectors.tobytes()[:64]) + 9] ^= 1
    return bytes(data)


def alter(path):
    path.write_bytes(flipped(path.read_bytes()))


def forge(folder, **changes):
    """Change the manifest and its checksum."""
    path = current(folder) / "manifest.json"
    facts = json.loads(path.read_bytes()) | changes
    del facts["checksum"]
    path.write_text(json.dumps(facts | {"checksum": _versions._checksum(facts)}))


def test_a_version_is_a_file_of_items_and_a_manifest(folder):
    encoder = DecayAverageUserEncoder(ITEMS).fit([["item-1"]])
    version = export_index(encoder, folder)
    assert sorted(os.listdir(folder)) == [".lock", "CURRENT", "versions"]
    assert sorted(os.listdir(current(folder))) == ["items.npz", "manifest.json"]
    loaded = ItemEmbeddings.load(current(folder) / "items.npz")
    assert loaded.catalog_id == ITEMS.catalog_id
    manifest = json.loads((current(folder) / "manifest.json").read_text())
    assert (manifest["space_id"], manifest["catalog_id"]) == ("shop", ITEMS.catalog_id)
    assert (manifest["n_items"], manifest["n_dims"]) == (30, 5)
    assert manifest["encoder_id"] == encoder.encoder_id_
    assert set(manifest["versions"]) == {"skue", "scikit-learn", "numpy"}
    index = open_index(folder)
    assert (index.encoder_id, index.catalog_id) == (encoder.encoder_id_, ITEMS.catalog_id)
    assert index.version == version


def test_a_reader_keeps_the_version_it_opened(folder):
    export_index(ITEMS, folder)
    index = open_index(folder)
    before = index.search(ITEMS.vectors, space_id="shop")
    export_index(OTHERS, folder)
    prune(folder, keep=1)
    np.testing.assert_array_equal(before[0], index.search(ITEMS.vectors, space_id="shop")[0])
    assert open_index(folder).space_id == "other"


def test_rollback_returns_to_the_version_before(folder):
    first = export_index(ITEMS, folder)
    second = export_index(OTHERS, folder)
    assert rollback(folder) == first
    assert open_index(folder).space_id == "shop"
    with pytest.raises(ValueError, match="no version before"):
        rollback(folder)
    with pytest.raises(ValueError, match="has no version 'never'"):
        rollback(folder, "never")
    assert rollback(folder, second) == second


def test_rollback_skips_a_damaged_version_with_a_warning(folder):
    first, second, _ = (export_index(ITEMS, folder) for _ in range(3))
    (folder / "versions" / second / "items.npz").write_bytes(b"")
    with pytest.warns(UserWarning, match=rf"{second} is damaged.*Rolled back to '{first}'"):
        assert rollback(folder) == first


def test_prune_keeps_the_current_version_and_the_newest_older_ones(folder):
    versions = [export_index(ITEMS, folder) for _ in range(5)]
    rollback(folder, versions[3])
    assert prune(folder, keep=np.int64(3)) == [versions[0], versions[4]]
    assert open_index(folder).version == versions[3]
    assert rollback(folder) == versions[2]


def test_prune_keeps_an_intact_version_in_place_of_a_damaged_one(folder):
    first, second, third = (export_index(ITEMS, folder) for _ in range(3))
    alter(folder / "versions" / second / "items.npz")
    assert prune(folder, keep=2) == [second]
    assert left(folder) == [first, third]


def test_prune_keeps_files_that_no_export_wrote(folder):
    first, _, _ = (export_index(ITEMS, folder) for _ in range(3))
    versions = folder / "versions"
    mine = [
        versions / first / "notes.txt",
        versions / "00000000-0123abcd" / "items.npz",
        versions / ".partial-mine" / "items.npz",
        versions / "2024-backup" / "items.npz",
        folder / ".CURRENT-by-me",
    ]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    removed = prune(folder, keep=1)
    assert first not in removed and len(removed) == 1
    assert [path.read_text() for path in mine] == ["mine"] * len(mine)


def test_prune_removes_nothing_if_the_current_version_is_missing(folder):
    first, newest = (export_index(ITEMS, folder) for _ in range(2))
    shutil.rmtree(folder / "versions" / newest)
    with pytest.raises(ValueError, match=rf"'{newest}', which is not among .*nothing is removed"):
        prune(folder, keep=1)
    assert left(folder) == [first]
    rollback(folder)
    assert open_index(folder).space_id == "shop"


def test_a_folder_that_is_not_an_index_raises_and_stays_as_it_is(tmp_path):
    for use in (open_index, rollback, prune):
        with pytest.raises(FileNotFoundError, match="is not an index"):
            use(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("nonsense", [b"../../elsewhere", b"\xff\xfe"])
def test_an_invalid_current_file_raises_and_names_the_versions(folder, nonsense):
    version = export_index(ITEMS, folder)
    (folder / "CURRENT").write_bytes(nonsense)
    for use in (open_index, rollback, prune):
        with pytest.raises(
            ValueError, match=rf"is not the name of a version\. Call rollback.*'{version}'"
        ):
            use(folder)
    rollback(folder, version)
    assert open_index(folder).version == version


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("items.npz", lambda data: data[:-8]),
        ("items.npz", lambda data: data.replace(b"item-3", b"item-X")),
        ("items.npz", flipped),
        ("manifest.json", lambda data: data.replace(b"shop", b"shot")),
        ("manifest.json", lambda data: data.replace(b"skue index 1", b"skue index 9")),
        ("manifest.json", lambda data: data[:20]),
    ],
    ids=["cut", "id", "vector", "edited", "newer", "cut-manifest"],
)
@pytest.mark.parametrize("mmap", [False, True])
def test_a_damaged_version_raises_and_names_the_way_out(folder, name, change, mmap):
    export_index(ITEMS, folder)
    path = current(folder) / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"is damaged: .*Call rollback for an older version"):
        open_index(folder, mmap=mmap)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_items", 29),
        ("space_id", None),
        ("aligned_with", 3),
        ("agreement", 0.5),
        ("catalog_id", "0123"),
        ("format", 2),
    ],
)
def test_a_manifest_that_does_not_fit_its_items_raises(folder, name, value):
    export_index(NUMBERED, folder)
    forge(folder, **{name: value})
    with pytest.raises(ValueError, match=f"is damaged: .*{name}"):
        open_index(folder)


@pytest.mark.parametrize("name", ["items.npz", "manifest.json"])
def test_a_missing_file_raises(folder, name):
    version = export_index(ITEMS, folder)
    (current(folder) / name).unlink()
    with pytest.raises(ValueError, match=f"CURRENT names version '{version}', but .*{name}"):
        open_index(folder)


def test_mapped_and_read_vectors_are_the_same(folder):
    export_index(ITEMS, folder)
    read, mapped = open_index(folder), open_index(folder, mmap=True)
    np.testing.assert_array_equal(read.items.vectors, mapped.items.vectors)
    holder = mapped.items.vectors
    while isinstance(holder.base, np.ndarray):
        holder = holder.base
    assert type(holder.base).__name__ == "mmap"
    assert not read.items.vectors.flags.writeable


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["_write_current", "_read"])
def test_an_export_that_fails_changes_nothing(folder, monkeypatch, step):
    good = [export_index(ITEMS, folder) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(_versions, step, full)
        with pytest.raises(OSError, match="No space left"):
            export_index(ITEMS, folder)
    prune(folder, keep=2)
    assert left(folder) == good
    assert open_index(folder).version == good[1]
    assert rollback(folder) == good[0]


@posix
@pytest.mark.parametrize("step", ["_read", "sync_folder"])
def test_an_export_removes_the_leftovers_of_a_killed_one(folder, step):
    first = export_index(ITEMS, folder)
    assert exit_code_of(export_and_die, folder, step) == -signal.SIGKILL
    assert len(left(folder)) == 2
    (folder / ".CURRENT-0123456789ab").write_text("")
    assert open_index(folder).version == first
    version = export_index(ITEMS, folder)
    assert {first, version} <= set(left(folder))
    assert not list((folder / "versions").glob(".*"))
    assert not (folder / ".CURRENT-0123456789ab").exists()


def test_versions_stay_whole_while_threads_export_prune_roll_back_and_open(folder):
    """Nothing fails, no version is removed before it is current, and none that is current."""
    export_index(ITEMS, folder)
    problems, rolled_back, opened, done = [], [], [], threading.Event()

    def repeat(use, note=None):
        while not done.is_set():
            try:
                result = use(folder)
                if note is not None:
                    note.append(result)
            except Exception as error:
                if not re.search("has no version before", str(error)):
                    problems.append(repr(error))
            time.sleep(0.001)  # so that the others get the lock, too

    def export(n_times):
        for _ in range(n_times):
            try:
                export_index(ITEMS, folder)
            except Exception as error:
                problems.append(repr(error))
            time.sleep(0.001)

    others = [
        threading.Thread(target=repeat, args=arguments)
        for arguments in [
            (lambda folder: open_index(folder).version, opened),
            (lambda folder: prune(folder, keep=1),),
            (lambda folder: prune(folder, keep=2),),
            (rollback, rolled_back),
        ]
    ]
    exporters = [threading.Thread(target=export, args=(12,)) for _ in range(2)]
    for thread in others + exporters:
        thread.start()
    for thread in exporters:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert problems == []
    assert len(set(opened)) > 2
    open_index(folder)


def test_an_index_holds_nothing_of_the_events_that_items_were_learned_from(folder, tmp_path):
    log = RNG.integers(20, size=(30, 10)).tolist()
    encoder = DecayAverageUserEncoder(CooccurrenceItemEmbedder(n_dims=4)).fit(log)
    encoder.item_embeddings_.save(tmp_path / "items.npz")
    export_index(encoder, folder)

    def hashes_in(path):
        with zipfile.ZipFile(path) as file:
            return [name for name in file.namelist() if "learned" in name]

    assert hashes_in(tmp_path / "items.npz")
    assert not hashes_in(current(folder) / "items.npz")
    assert encoder.item_embeddings_._learned_events is not None
