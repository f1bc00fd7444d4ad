"""The index: what it finds, in which space, and what happens to altered or interrupted folders."""

import json
import os
import pickle
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_processes import CATALOGUES, export_forever, forkserver
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.pipeline import Pipeline

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    SpaceMismatchError,
    export_index,
    open_index,
    prune,
    rollback,
)
from skue.kernels._topk import top_k

RNG = np.random.default_rng(0)
ITEMS = ItemEmbeddings(
    RNG.normal(size=(40, 5)), ids=[f"item-{i}" for i in range(40)], space_id="shop-1"
)
LISTS = [[f"item-{i}" for i in RNG.integers(40, size=6)] for _ in range(20)]
BACKENDS = ["exact", "faiss", "hnswlib"]


@pytest.fixture
def encoder():
    return DecayAverageUserEncoder(ITEMS).fit(LISTS)


@pytest.fixture
def folder(tmp_path, encoder):
    export_index(encoder, tmp_path / "index")
    return tmp_path / "index"


def opened(folder, backend="exact"):
    if backend != "exact":
        pytest.importorskip(backend)
    return open_index(folder, backend=backend)


def slow_search(users, k, exclude=(), allow=None):
    """Return ids sorted by their cosines in float64."""
    found = []
    for row, user in enumerate(np.asarray(users, dtype=float)):
        cosines = ITEMS.vectors.astype(float) @ user / np.linalg.norm(user)
        out = exclude[row] if exclude and isinstance(exclude[0], list) else exclude
        only = allow[row] if allow and isinstance(allow[0], list) else allow
        ranked = [str(ITEMS.ids[i]) for i in np.argsort(-cosines, kind="stable")]
        ranked = [i for i in ranked if i not in out and (only is None or i in only)]
        found.append((ranked + [""] * k)[:k])
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_index_finds_what_the_encoder_recommends(folder, encoder, backend):
    index = opened(folder, backend)
    ids, scores = index.search(encoder.transform(LISTS), 7, space_id=encoder.space_id_)
    expected_ids, expected_scores = encoder.recommend(LISTS, 7)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("exclude", "allow"),
    [
        (["item-3", "item-4"], None),
        (LISTS, None),
        ((), ["item-1", "item-8", "item-9"]),
        (LISTS, [f"item-{i}" for i in range(0, 40, 2)]),
        (["item-0"], LISTS),
        (LISTS, []),
    ],
    ids=["flat", "a-list-a-user", "allow", "both", "allow-a-list-a-user", "nothing-allowed"],
)
def test_exclude_and_allow_limit_what_is_found(folder, encoder, backend, exclude, allow):
    users = encoder.transform(LISTS)
    ids, scores = opened(folder, backend).search(
        users, 5, space_id="shop-1", exclude=exclude, allow=allow
    )
    assert ids.tolist() == slow_search(users, 5, exclude, allow)
    assert (np.isneginf(scores) == (ids == "")).all()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_limit_agrees_with_a_slow_loop(data):
    index = IN_MEMORY[data.draw(st.sampled_from(list(IN_MEMORY)))]
    n_users = data.draw(st.integers(1, 4))
    users = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(n_users, 5))
    some = st.lists(st.sampled_from(ITEMS.ids.tolist()), max_size=45, unique=True)
    each = st.lists(some, min_size=n_users, max_size=n_users)
    exclude = data.draw(st.one_of(st.none(), some, each))
    allow = data.draw(st.one_of(st.none(), some, each))
    k = data.draw(st.integers(1, 50))
    ids, _ = index.search(users, k, space_id=None, exclude=exclude, allow=allow)
    assert ids.tolist() == slow_search(users, k, exclude or (), allow)


def in_memory():
    from skue.serving import VectorIndex

    indexes = {}
    for backend in BACKENDS:
        try:
            indexes[backend] = VectorIndex(ITEMS, backend=backend)
        except ImportError:
            continue
    return indexes


IN_MEMORY = in_memory()


def test_limits_can_be_sets_and_histories(folder, encoder):
    users, histories = encoder.transform(LISTS), Histories.from_lists(LISTS)
    index = open_index(folder)
    ids, _ = index.search(users, 5, space_id="shop-1", exclude=histories, allow=set(LISTS[0]))
    assert ids.tolist() == slow_search(users, 5, LISTS, LISTS[0])


def test_limits_ignore_ids_that_are_not_in_the_index(folder, encoder):
    users = encoder.transform(LISTS)
    ids, _ = open_index(folder).search(users, 5, space_id="shop-1", exclude=["item-999"])
    assert ids.tolist() == slow_search(users, 5)


def test_limits_of_another_type_raise(folder, encoder):
    with pytest.raises(ValueError, match="ids of exclude must be of one type, got 3"):
        open_index(folder).search(encoder.transform(LISTS), space_id="shop-1", exclude=[3])


@pytest.mark.parametrize("limit", ["exclude", "allow"])
def test_a_single_id_in_place_of_a_list_raises(folder, encoder, limit):
    with pytest.raises(ValueError, match=rf"{limit} must be a list of ids.*as \['item-1'\]"):
        open_index(folder).search(encoder.transform(LISTS), space_id=None, **{limit: "item-1"})


def test_limits_for_another_number_of_users_raise(folder, encoder):
    with pytest.raises(ValueError, match="exclude has lists for 1 users, but there are 20"):
        open_index(folder).search(encoder.transform(LISTS), space_id="shop-1", exclude=[["item-1"]])


def test_vectors_of_another_space_raise_an_error_that_names_both(folder, encoder):
    other = DecayAverageUserEncoder(ItemEmbeddings(ITEMS.vectors, ITEMS.ids)).fit(LISTS)
    index = open_index(folder)
    with pytest.raises(SpaceMismatchError, match=f"'{other.space_id_}'.*'shop-1'"):
        index.search(other.transform(LISTS), space_id=other.space_id_)
    with pytest.raises(SpaceMismatchError, match="'shop-1'"):
        index.recommend(other, LISTS)


def test_none_skips_the_check_of_the_space(folder, encoder):
    users = encoder.transform(LISTS)
    index = open_index(folder)
    np.testing.assert_array_equal(
        index.search(users, space_id=None)[0], index.search(users, space_id="shop-1")[0]
    )


def test_the_space_is_a_required_argument(folder, encoder):
    with pytest.raises(TypeError, match="space_id"):
        open_index(folder).search(encoder.transform(LISTS))


def test_scores_are_cosines_whatever_the_length_of_the_vectors(folder, encoder):
    users = encoder.transform(LISTS)
    index = open_index(folder)
    ids, scores = index.search(users * 7.5, space_id="shop-1")
    np.testing.assert_array_equal(ids, index.search(users, space_id="shop-1")[0])
    assert scores.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 4)), "have 4 dimensions, but the items of this index have 5"),
        (np.full((2, 5), np.nan), "row 0 holds NaN"),
        (np.ones(5), r"shape \(5,\). Pass a single user as \[vector\]"),
        ([["a"] * 5], "must be numbers"),
    ],
)
def test_invalid_user_vectors_raise(folder, vectors, message):
    with pytest.raises(ValueError, match=message):
        open_index(folder).search(vectors, space_id="shop-1")


def test_recommend_encodes_and_searches(folder, encoder):
    ids, scores = open_index(folder).recommend(encoder, LISTS, 4, exclude=LISTS)
    expected = encoder.recommend(LISTS, 4, exclude_seen=True)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)


def test_the_items_of_a_pipeline_pass_through_its_later_steps(tmp_path, encoder):
    pipeline = Pipeline([("encode", encoder), ("turn", PCA(3))]).fit(LISTS)
    export_index(pipeline, tmp_path)
    index = open_index(tmp_path)
    users = pipeline.transform(LISTS)
    items = pipeline["turn"].transform(ITEMS.vectors)
    cosines = (users / np.linalg.norm(users, axis=1, keepdims=True)) @ (
        items / np.linalg.norm(items, axis=1, keepdims=True)
    ).T
    ids, _ = index.recommend(pipeline, LISTS, 3)
    assert ids.tolist() == ITEMS.ids[np.argsort(-cosines, axis=1)[:, :3]].tolist()
    with pytest.raises(SpaceMismatchError):
        index.recommend(encoder, LISTS)


def test_an_encoder_in_a_column_transformer_can_be_exported(tmp_path, encoder):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"history": LISTS, "age": 1})
    columns = ColumnTransformer([("h", encoder, "history")]).fit(frame)
    columns.set_output(transform="pandas")
    pipeline = Pipeline([("columns", columns), ("turn", PCA(3))]).fit(frame)
    export_index(pipeline, tmp_path)
    assert open_index(tmp_path).recommend(pipeline, frame, 3)[0].shape == (20, 3)


def test_exporting_anything_but_an_encoder_raises(tmp_path):
    with pytest.raises(ValueError, match="PCA has no user encoder"):
        export_index(PCA(), tmp_path)


def test_an_index_with_more_items_of_the_same_space_works_with_the_old_encoder(tmp_path, encoder):
    larger = ITEMS.extend(RNG.normal(size=(3, 5)), ["new-1", "new-2", "new-3"])
    export_index(larger, tmp_path)
    index = open_index(tmp_path)
    ids, _ = index.recommend(encoder, LISTS, 43)
    assert sorted(ids[0]) == sorted(larger.ids.tolist())


def test_the_manifest_describes_the_folder(folder, encoder):
    version = (folder / "CURRENT").read_text().strip()
    manifest = json.loads((folder / "versions" / version / "manifest.json").read_text())
    assert manifest["space_id"] == "shop-1"
    assert manifest["encoder_id"] == encoder.encoder_id_
    assert manifest["catalog_id"] == ITEMS.catalog_id
    assert (manifest["n_items"], manifest["n_dims"], manifest["schema"]) == (40, 5, 2)
    assert set(manifest["files"]) == {"vectors.npy", "ids_utf8.npy", "ids_offsets.npy"}
    assert set(manifest["versions"]) == {"skue", "scikit-learn", "numpy"}
    index = open_index(folder)
    assert (index.encoder_id, index.catalog_id) == (encoder.encoder_id_, ITEMS.catalog_id)


def altered(folder, name, change):
    version = (folder / "CURRENT").read_text().strip()
    path = folder / "versions" / version / name
    path.write_bytes(change(path.read_bytes()))


def flipped(data):
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def of_newer_schema(data):
    return data.replace(b'"schema": 2', b'"schema": 3')


def of_another_space(data):
    return data.replace(b"shop-1", b"shop-2")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("vectors.npy", lambda data: data[:-8], r"has 920 bytes, but its manifest says 928"),
        ("vectors.npy", flipped, "was altered or is damaged: its checksum is .*manifest says"),
        ("ids_utf8.npy", flipped, "was altered or is damaged"),
        ("manifest.json", of_another_space, "was altered after it was written"),
        ("manifest.json", of_newer_schema, "has schema 3, but .* reads schemas 1 to 2. Upgrade"),
        ("manifest.json", lambda data: data[:20], "is damaged"),
        ("manifest.json", lambda data: b"[]", "is damaged"),
    ],
    ids=["truncated", "altered", "ids", "edited", "newer", "half-written", "other-json"],
)
def test_a_damaged_version_raises(folder, name, change, message):
    altered(folder, name, change)
    with pytest.raises(ValueError, match=message):
        open_index(folder)


@pytest.mark.parametrize("name", ["vectors.npy", "ids_offsets.npy", "manifest.json"])
def test_a_missing_file_raises(folder, name):
    version = (folder / "CURRENT").read_text().strip()
    (folder / "versions" / version / name).unlink()
    with pytest.raises(ValueError, match=f"CURRENT names version '{version}', but .*{name}"):
        open_index(folder)


@pytest.mark.parametrize(
    "nonsense",
    [b"../../elsewhere", b"", b"\xff\xfe", b"1abc"],
    ids=["path", "empty", "bytes", "number"],
)
def test_an_invalid_current_file_raises_and_names_the_versions(folder, nonsense):
    version = open_index(folder).version
    (folder / "CURRENT").write_bytes(nonsense)
    for use in (open_index, rollback, prune):
        with pytest.raises(
            ValueError, match=rf"is not the name of a version\. Call rollback.*'{version}'"
        ):
            use(folder)
    rollback(folder, version)
    assert open_index(folder).version == version


def test_rollback_restores_a_missing_current_file(folder):
    version = open_index(folder).version
    (folder / "CURRENT").unlink()
    with pytest.raises(FileNotFoundError, match=f"no file CURRENT. Call rollback.*'{version}'"):
        open_index(folder)
    rollback(folder, version)
    assert open_index(folder).version == version


def test_other_folders_among_the_versions_are_kept(folder):
    for name in ("1abc", "2024-backup"):
        (folder / "versions" / name).mkdir()
    export_index(ITEMS, folder)
    prune(folder, keep=1)
    left = sorted(path.name for path in (folder / "versions").iterdir())
    assert left == [open_index(folder).version, "1abc", "2024-backup"]


def test_a_folder_that_is_not_an_index_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not an index"):
        open_index(tmp_path)


def test_an_object_array_in_the_folder_is_not_unpickled(folder):
    """A pickle smuggled in with a fitting manifest raises and runs nothing."""
    import hashlib
    import io

    from skue.serving import _versions as _manifest

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(folder / "exploded"),))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    data = buffer.getvalue()
    altered(folder, "ids_offsets.npy", lambda _: data)

    def with_checksums(text):
        manifest = json.loads(text)
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        manifest["files"]["ids_offsets.npy"] = {"bytes": len(data), "blake2b": digest}
        manifest["checksum"] = _manifest.manifest_checksum(manifest)
        return json.dumps(manifest).encode()

    altered(folder, "manifest.json", with_checksums)
    with pytest.raises(ValueError, match="it holds Python objects, which are never unpickled"):
        open_index(folder)
    assert not (folder / "exploded").exists()


def test_a_reader_keeps_the_version_it_opened(folder, encoder):
    index = open_index(folder)
    before = index.search(encoder.transform(LISTS), space_id="shop-1")
    export_index(ItemEmbeddings(np.eye(5)), folder)
    prune(folder, keep=1)
    after = index.search(encoder.transform(LISTS), space_id="shop-1")
    np.testing.assert_array_equal(before[0], after[0])
    assert open_index(folder).space_id != "shop-1"


def test_prune_removes_nothing_if_the_current_version_is_missing(folder):
    newest = export_index(ITEMS, folder)
    shutil.rmtree(folder / "versions" / newest)
    before = sorted((folder / "versions").iterdir())
    with pytest.raises(ValueError, match=rf"'{newest}', which is not among .*nothing is removed"):
        prune(folder, keep=1)
    assert sorted((folder / "versions").iterdir()) == before
    rollback(folder)
    assert open_index(folder).space_id == "shop-1"


def test_prune_never_removes_a_version_during_its_export(folder):
    problems, done = [], threading.Event()

    def noting(use, *arguments, **options):
        try:
            use(folder, *arguments, **options)
        except Exception as error:
            problems.append(repr(error))

    def busily(use, **options):
        while not done.is_set():
            noting(use, **options)

    others = [
        threading.Thread(target=busily, args=(use,), kwargs=options)
        for use, options in ((open_index, {}), (prune, {"keep": 1}), (prune, {"keep": 2}))
    ]
    exporters = [
        threading.Thread(
            target=lambda: [noting(lambda f: export_index(ITEMS, f)) for _ in range(40)]
        )
        for _ in range(2)
    ]
    for thread in others + exporters:
        thread.start()
    for thread in exporters:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert problems == []
    assert int(open_index(folder).version.partition("-")[0]) == 81


def test_a_pickled_pipeline_keeps_its_space(tmp_path, encoder):
    # The arrays of this step are not laid out in memory as those of its pickle.
    pipeline = Pipeline([("encode", encoder), ("turn", TruncatedSVD(3))]).fit(LISTS)
    export_index(pipeline, tmp_path)
    loaded = pickle.loads(pickle.dumps(pipeline))
    ids, _ = open_index(tmp_path).recommend(loaded, LISTS, 3)
    assert ids.tolist() == open_index(tmp_path).recommend(pipeline, LISTS, 3)[0].tolist()


@pytest.mark.parametrize("keep", [0, True, 1.0])
def test_prune_refuses_other_numbers_to_keep(folder, keep):
    with pytest.raises(ValueError, match=f"keep must be an integer of at least 1, got {keep}"):
        prune(folder, keep=keep)


def test_prune_takes_an_integer_of_numpy(folder):
    assert prune(folder, keep=np.int64(2)) == []


def test_rollback_returns_to_the_version_before(folder):
    first = open_index(folder).version
    export_index(ItemEmbeddings(np.eye(5)), folder)
    assert rollback(folder) == first
    assert open_index(folder).space_id == "shop-1"
    with pytest.raises(ValueError, match="no version before"):
        rollback(folder)


def test_rollback_to_a_damaged_version_raises_and_changes_nothing(folder):
    altered(folder, "vectors.npy", flipped)
    newest = export_index(ITEMS, folder)
    with pytest.raises(ValueError, match="was altered or is damaged"):
        rollback(folder)
    assert open_index(folder).version == newest


def test_rollback_to_an_unknown_version_raises(folder):
    with pytest.raises(ValueError, match="has no version 'never'"):
        rollback(folder, "never")


def test_an_unknown_backend_raises(folder):
    with pytest.raises(ValueError, match=r"backend must be one of .*got 'annoy'"):
        open_index(folder, backend="annoy")


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 700), st.integers(1, 40), st.integers(1, 5), st.sampled_from([3, 50, 100_000])
)
def test_top_k_agrees_with_a_stable_sort(n_items, k, n_users, n_values):
    rng = np.random.default_rng(n_items * k)
    items = rng.integers(n_values, size=(n_items, 1)).astype(np.float32)
    users = rng.integers(-2, 3, size=(n_users, 1)).astype(np.float32)
    rows, scores = top_k(users, items, k)
    products = users @ items.T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows[:, :n_items], order)
    np.testing.assert_array_equal(scores[:, :n_items], np.take_along_axis(products, order, axis=1))
    assert (rows[:, n_items:] == -1).all()


def assert_not_mixed(index):
    which = CATALOGUES[int(index.space_id[-1])]
    assert index.catalog_id == which.catalog_id
    np.testing.assert_array_equal(index.items.vectors, which.vectors)
    np.testing.assert_array_equal(index.items.ids, which.ids)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 needs signals")
def test_an_exporter_killed_inside_an_export_leaves_whole_versions(tmp_path):
    context = forkserver()
    export_index(CATALOGUES[0], tmp_path)
    rng = np.random.default_rng(0)
    failures, versions, done = [], set(), threading.Event()

    def read():
        while not done.is_set():
            try:
                index = open_index(tmp_path)
                assert_not_mixed(index)
                versions.add(index.version)
                time.sleep(0.005)
            except BaseException as error:
                failures.append(repr(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    n_struck = n_partial = 0
    for kill in range(200):
        before = (tmp_path / "CURRENT").read_text()
        inside = context.Value("b", False, lock=False)
        exporter = context.Process(
            target=export_forever, args=(tmp_path, kill, inside), daemon=True
        )
        exporter.start()
        patience = time.monotonic() + 20
        while (tmp_path / "CURRENT").read_text() == before and time.monotonic() < patience:
            time.sleep(0.002)
        time.sleep(0.05 * rng.random())
        os.kill(exporter.pid, signal.SIGKILL)
        exporter.join()
        assert exporter.exitcode == -signal.SIGKILL
        assert_not_mixed(open_index(tmp_path))
        n_partial += any((tmp_path / "versions").glob(".partial-*"))
        # Only kills inside an export count.
        n_struck += inside.value
        if n_struck == 20:
            break
    done.set()
    reader.join()
    assert failures == []
    assert n_struck == 20
    # Several kills left half-written files, and the reader saw many versions.
    assert n_partial > 2
    assert len(versions) > 8
    export_index(CATALOGUES[0], tmp_path)
    assert not list((tmp_path / "versions").glob(".partial-*"))
