"""The folder of an index: prune, rollback, damaged or altered folders, and old folders."""

import json
import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
from other_processes import cut_off_and_search, exit_code_of, export_and_die

from skue import ItemEmbeddings, export_index, open_index, prune, rollback
from skue.serving import _index as _export
from skue.serving import _versions as _arrays
from skue.serving import _versions as _folder
from skue.serving import _versions as _manifest

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(RNG.normal(size=(30, 5)), [f"item-{i}" for i in range(30)], space_id="shop")
NUMBERED = ItemEmbeddings(RNG.normal(size=(30, 5)), space_id="shop")
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "index"


def left(folder):
    return sorted(path.name for path in (folder / "versions").iterdir())


def current(folder):
    return folder / "versions" / (folder / "CURRENT").read_text().strip()


def fail(monkeypatch, name):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_export, name, full)


def killed_at(folder, step):
    """Export in a process that is killed where it calls this function."""
    assert exit_code_of(export_and_die, folder, step) == -signal.SIGKILL


def test_an_export_that_cannot_write_current_leaves_no_files(folder, monkeypatch):
    good = [export_index(ITEMS, folder) for _ in range(2)]
    with monkeypatch.context() as patch:
        fail(patch, "write_current")
        with pytest.raises(OSError, match="No space left"):
            export_index(ITEMS, folder)
    assert left(folder) == good
    assert prune(folder, keep=2) == []
    assert rollback(folder) == good[0]


def test_an_export_that_fails_after_writing_current_keeps_its_version(folder, monkeypatch):
    export_index(ITEMS, folder)
    real = _export.write_current

    def late(*arguments):
        real(*arguments)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(_export, "write_current", late)
        with pytest.raises(OSError, match="Input/output error"):
            export_index(NUMBERED, folder)
    assert open_index(folder).catalog_id == NUMBERED.catalog_id


@posix
def test_rollback_skips_a_version_that_was_never_current(folder):
    good = [export_index(ITEMS, folder) for _ in range(2)]
    killed_at(folder, "write_current")
    unused = left(folder)[-1]
    assert left(folder) == [*good, unused]
    assert open_index(folder).version == good[1]
    newest = export_index(ITEMS, folder)
    assert prune(folder, keep=2) == [good[0], unused]
    assert rollback(folder) == good[1]
    assert rollback(folder, newest) == newest


def test_prune_removes_a_version_that_was_never_current(folder):
    good = [export_index(ITEMS, folder) for _ in range(2)]
    # The state after a process was killed before it wrote CURRENT.
    before = (folder / "CURRENT").read_bytes()
    unused = export_index(ITEMS, folder)
    (folder / "versions" / unused / ".unused").touch()
    (folder / "CURRENT").write_bytes(before)
    assert prune(folder, keep=2) == [unused]
    assert left(folder) == good


def test_rollback_by_name_accepts_a_version_that_was_never_current(folder, monkeypatch):
    export_index(ITEMS, folder)
    second = export_index(NUMBERED, folder)
    (folder / "versions" / second / ".unused").touch()
    rollback(folder)
    assert rollback(folder, second) == second
    assert open_index(folder).catalog_id == NUMBERED.catalog_id


def test_prune_keeps_the_current_version_and_the_newest_older_ones(folder):
    versions = [export_index(ITEMS, folder) for _ in range(5)]
    rollback(folder, versions[3])
    assert prune(folder, keep=3) == [versions[0], versions[4]]
    assert open_index(folder).version == versions[3]
    assert rollback(folder) == versions[2]


def test_prune_keeps_a_newer_version_if_none_is_older(folder):
    versions = [export_index(ITEMS, folder) for _ in range(4)]
    rollback(folder, versions[0])
    prune(folder, keep=2)
    assert left(folder) == [versions[0], versions[3]]


def test_prune_keeps_an_intact_version_in_place_of_a_damaged_one(folder):
    first, second, third = (export_index(ITEMS, folder) for _ in range(3))
    path = folder / "versions" / second / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert prune(folder, keep=2) == [second]
    assert left(folder) == [first, third]


def test_rollback_skips_a_damaged_version_with_a_warning(folder):
    first, second, _ = (export_index(ITEMS, folder) for _ in range(3))
    (folder / "versions" / second / "vectors.npy").write_bytes(b"")
    with pytest.warns(UserWarning, match=rf"{second}.*has 0 bytes.*Rolled back to '{first}'"):
        assert rollback(folder) == first


def test_prune_keeps_files_that_no_export_wrote(folder):
    first, _, _ = (export_index(ITEMS, folder) for _ in range(3))
    notes = folder / "versions" / first / "notes.txt"
    notes.write_text("mine")
    strange = folder / "versions" / "00000000-0123abcd"
    strange.mkdir()
    (strange / "vectors.npy").write_text("mine")
    partial = folder / "versions" / (".partial-" + 32 * "a")
    partial.mkdir()
    (partial / "thesis.txt").write_text("mine")
    for name in (".partial-mine", "backup"):
        (folder / "versions" / name).mkdir()
    (folder / ".CURRENT-by-me").write_text("mine")
    removed = prune(folder, keep=1)
    assert first not in removed and strange.name not in removed and len(removed) == 1
    assert notes.read_text() == "mine"
    assert (strange / "vectors.npy").exists() and (partial / "thesis.txt").exists()
    assert (folder / "versions" / ".partial-mine").is_dir()
    assert (folder / "versions" / "backup").is_dir()
    assert (folder / ".CURRENT-by-me").exists()


@posix
def test_an_export_removes_the_leftovers_of_a_killed_one(folder):
    killed_at(folder, "sync_folder")
    (folder / ".CURRENT-abc_0123").write_text("")
    assert left(folder)[0].startswith(".partial-")
    version = export_index(ITEMS, folder)
    assert left(folder) == [version]
    assert not (folder / ".CURRENT-abc_0123").exists()


@posix
def test_the_files_of_a_running_export_are_not_removed(folder, monkeypatch):
    export_index(ITEMS, folder)
    inside, go_on = threading.Event(), threading.Event()
    real = _export.write_array

    def slow(path, array):
        inside.set()
        assert threading.current_thread() is not slow_export or go_on.wait(30)
        return real(path, array)

    monkeypatch.setattr(_export, "write_array", slow)
    slow_export = threading.Thread(target=export_index, args=(NUMBERED, folder))
    slow_export.start()
    assert inside.wait(30)
    export_index(ITEMS, folder)
    prune(folder, keep=1)
    assert any(name.startswith(".partial-") for name in left(folder))
    go_on.set()
    slow_export.join()
    assert open_index(folder).catalog_id == NUMBERED.catalog_id


def test_rollback_never_chooses_a_version_that_prune_removes(folder):
    export_index(ITEMS, folder)
    problems, rolled_back, done = [], [], threading.Event()

    def export_and_prune():
        for n_rounds in range(400):
            if n_rounds >= 40 and rolled_back:
                break
            try:
                export_index(ITEMS, folder)
                time.sleep(0.001)  # so that the other thread gets the lock, too
                prune(folder, keep=1 + len(left(folder)) % 2)
            except Exception as error:
                problems.append(repr(error))
        done.set()

    exporter = threading.Thread(target=export_and_prune)
    exporter.start()
    while not done.is_set():
        try:
            rolled_back.append(rollback(folder))
        except ValueError as error:
            assert "has no version before" in str(error)
    exporter.join()
    assert problems == [] and len(rolled_back) > 0
    open_index(folder)


def forge(folder, **changes):
    """Change the manifest and its checksum."""
    path = current(folder) / "manifest.json"
    manifest = json.loads(path.read_bytes()) | changes
    manifest["checksum"] = _manifest.manifest_checksum(manifest)
    path.write_text(json.dumps(manifest))


def replaced(folder, name, array):
    """Replace an array, with a manifest that matches."""
    facts = _arrays.write_array(current(folder) / name, array)
    files = json.loads((current(folder) / "manifest.json").read_bytes())["files"]
    forge(folder, files=files | {name: facts})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_items": 29}, r"holds float32 of shape \(30, 5\), but its manifest says .*\(29, 5\)"),
        ({"n_dims": "5"}, "its manifest says float32 of shape"),
        ({"space_id": None}, "space_id in its manifest is None, not a string"),
        ({"catalog_id": "0123"}, "its vectors and ids hash to"),
        ({"encoder_id": 3}, "encoder_id in its manifest is 3"),
        ({"files": {}}, "does not list the files of an index"),
        ({"files": {"../../vectors.npy": {}, "ids.npy": {}}}, "does not list the files"),
        ({"files": {"vectors.npy": {}, "ids.npy": {}}}, "is damaged: 'bytes'"),
        ({"schema": 0}, "has schema 0"),
        ({"schema": True}, "has schema True"),
        ({"schema": "2"}, "has schema '2'"),
    ],
)
def test_a_forged_manifest_raises(folder, changes, message):
    export_index(NUMBERED, folder)
    forge(folder, **changes)
    with pytest.raises(ValueError, match=message):
        open_index(folder)


def of_rows(change):
    vectors = NUMBERED.vectors.copy()
    vectors[3] = change
    return vectors


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("vectors.npy", of_rows(np.nan), "row 3 of vectors.npy has length nan, not 1"),
        ("vectors.npy", of_rows(0), "row 3 of vectors.npy has length 0, not 1"),
        ("vectors.npy", NUMBERED.vectors * np.float32(1.01), "row 0 .* has length 1.01, not 1"),
        ("vectors.npy", NUMBERED.vectors.astype(np.float64), "holds float64"),
        ("vectors.npy", NUMBERED.vectors[:20], r"of shape \(20, 5\), but its manifest says"),
        ("vectors.npy", NUMBERED.vectors[::-1], "its vectors and ids hash to"),
        ("ids.npy", np.arange(29), "got 29 and 30"),
        ("ids.npy", np.arange(30) // 2, "must be distinct, but these appear again"),
        ("ids.npy", np.arange(30) - 1, "must not be negative"),
        ("ids.npy", np.arange(30)[::-1], "its vectors and ids hash to"),
        ("ids.npy", np.arange(30.0), "ids.npy holds float64, not ids"),
        ("ids.npy", np.arange(30).astype(str), "ids.npy holds <U21, not ids"),
        ("ids.npy", np.arange(30).reshape(5, 6), "one-dimensional"),
    ],
)
def test_a_forged_array_raises(folder, name, array, message):
    export_index(NUMBERED, folder)
    replaced(folder, name, array)
    for mmap in (False, True):
        with pytest.raises(ValueError, match=message):
            open_index(folder, mmap=mmap)


@pytest.mark.parametrize(
    ("utf8", "offsets", "message"),
    [
        (b"ab", [0, 1, 3], "do not fit"),
        (b"ab", [0, 2, 1], "do not fit"),
        (b"ab", [0, 1, 2, 2], "got 3 and 2"),
        (b"a\xff", [0, 1, 2], "utf-8"),
        (b"aa", [0, 1, 2], "must be distinct"),
        (b"a", [0, 1, 1], "must not be negative or empty"),
    ],
)
def test_invalid_text_ids_raise(folder, utf8, offsets, message):
    export_index(ItemEmbeddings(np.eye(2), ["a", "b"]), folder)
    replaced(folder, "ids_utf8.npy", np.frombuffer(utf8, dtype=np.uint8))
    replaced(folder, "ids_offsets.npy", np.array(offsets))
    with pytest.raises(ValueError, match=message):
        open_index(folder)


def header_of(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x07\x00",
        header_of(b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 64), }\n"),
        header_of(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 5), }\n"),
        header_of(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + b"12345678",
        header_of(b"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }\n") + b"12345678",
        header_of(b"__import__('os').abort()\n"),
        b"PK\x03\x04 and so on",
    ],
    ids=["empty", "version", "huge", "negative", "objects", "columns", "code", "zip"],
)
@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_that_is_not_an_array_raises(folder, data, mmap):
    export_index(NUMBERED, folder)
    (current(folder) / "vectors.npy").write_bytes(data)
    digest = _arrays.new_digest()
    digest.update(data)
    files = json.loads((current(folder) / "manifest.json").read_bytes())["files"]
    files["vectors.npy"] = {"bytes": len(data), "blake2b": digest.hexdigest()}
    forge(folder, files=files)
    with pytest.raises(ValueError, match="does not hold a readable array"):
        open_index(folder, mmap=mmap)


@posix
@pytest.mark.parametrize("kind", ["fifo", "socket", "link", "directory", "device"])
@pytest.mark.parametrize("name", ["vectors.npy", "ids.npy", "manifest.json", "CURRENT"])
def test_anything_but_a_regular_file_raises_at_once(folder, name, kind, monkeypatch):
    export_index(NUMBERED, folder)
    path = folder / name if name == "CURRENT" else current(folder) / name
    os.rename(path, folder / "aside")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(path.parent)  # The name of a socket must be short.
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(folder / "aside" if kind == "link" else "/dev/zero")
    with pytest.raises(ValueError, match=f"{name} is .*(regular file|damaged)"):
        open_index(folder)


@posix
def test_a_fifo_in_place_of_the_lock_raises_at_once(folder):
    export_index(NUMBERED, folder)
    (folder / ".lock").unlink()
    os.mkfifo(folder / ".lock")
    with pytest.raises(ValueError, match="lock is not a regular file"):
        prune(folder)


@posix
def test_a_lock_that_is_never_released_raises_after_a_while(folder, monkeypatch):
    export_index(NUMBERED, folder)
    monkeypatch.setattr(_folder, "_PATIENCE_SECONDS", 0.05)
    with (
        _folder.one_writer(folder),
        pytest.raises(TimeoutError, match="Another process has held"),
    ):
        export_index(NUMBERED, folder)


@posix
def test_a_symbolic_link_in_place_of_a_version_is_refused(folder, tmp_path):
    export_index(NUMBERED, folder)
    elsewhere = tmp_path / "elsewhere"
    os.rename(current(folder), elsewhere)
    current(folder).symlink_to(elsewhere)
    with pytest.raises(ValueError, match="is a link, not a folder"):
        open_index(folder)
    with pytest.raises(ValueError, match="nothing is removed"):
        prune(folder, keep=1)
    assert len(list(elsewhere.iterdir())) == 3


@posix
def test_truncating_a_file_does_not_affect_an_open_index(folder):
    """Runs in another process, as reading a truncated mapped file would kill it with SIGBUS."""
    export_index(ItemEmbeddings(RNG.normal(size=(20_000, 16)), space_id="shop"), folder)
    assert exit_code_of(cut_off_and_search, folder, current(folder) / "vectors.npy") == 0


def test_mapped_and_read_vectors_are_the_same(folder):
    export_index(ITEMS, folder)
    read, mapped = open_index(folder), open_index(folder, mmap=True)
    np.testing.assert_array_equal(read.items.vectors, mapped.items.vectors)
    assert read.items.vectors.ctypes.data % 64 == 0
    holder = mapped.items.vectors
    while isinstance(holder.base, np.ndarray):
        holder = holder.base
    assert type(holder.base).__name__ == "mmap"
    assert not read.items.vectors.flags.writeable


ODD_IDS = ["a", "a\0", "a\0\0", "\ud800", "ä", "\U0001f375", " a", "a ", "x" * 1_000_000]


def test_every_id_is_unchanged_by_export_and_opening(folder):
    items = ItemEmbeddings(RNG.normal(size=(len(ODD_IDS), 4)), ODD_IDS)
    export_index(items, folder)
    index = open_index(folder)
    assert index.items.ids.tolist() == ODD_IDS
    assert index.items.catalog_id == items.catalog_id
    ids, _ = index.search(items.vectors, 1, space_id=None)
    assert ids[:, 0].tolist() == ODD_IDS
    n_bytes = sum(path.stat().st_size for path in current(folder).iterdir())
    assert n_bytes < 1_010_000


def test_one_long_id_among_many_limits_does_not_multiply_memory(folder):
    import tracemalloc

    export_index(ITEMS, folder)
    index = open_index(folder)
    limits = [["item-1"] * 5000 + ["z" * 1_000_000]]
    tracemalloc.start()
    index.search(ITEMS.vectors[:1], 1, space_id=None, exclude=limits)
    index.search(ITEMS.vectors[:1], 1, space_id=None, allow=limits)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def write_first_schema(folder, items):
    """Write a version as the first release did, with fixed-width text in ids.npy."""
    name = "00000001-0123abcd"
    path = folder / "versions" / name
    path.mkdir(parents=True)
    ids = np.array(items.ids.tolist())
    arrays = {"vectors.npy": items.vectors, "ids.npy": ids}
    manifest = {
        "schema": 1,
        "space_id": items.space_id,
        "catalog_id": "of-another-hash",
        "encoder_id": None,
        "n_items": len(items),
        "n_dims": items.n_dims,
        "versions": {},
        "files": {name: _arrays.write_array(path / name, a) for name, a in arrays.items()},
    }
    manifest["checksum"] = _manifest.manifest_checksum(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    (folder / "CURRENT").write_text(f"{name}\n")
    return name


@pytest.mark.parametrize("items", [ITEMS, NUMBERED], ids=["text", "numbers"])
def test_a_folder_of_schema_1_can_be_opened_and_rolled_back_to(folder, items):
    name = write_first_schema(folder, items)
    index = open_index(folder)
    assert index.items.ids.tolist() == items.ids.tolist()
    assert index.catalog_id == "of-another-hash"
    export_index(items, folder)
    assert prune(folder, keep=2) == []
    assert rollback(folder) == name
