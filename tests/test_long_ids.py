"""One very long id needs only the memory of its own length."""

import tracemalloc

import numpy as np
import pytest

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    UserVectorCache,
    load_interactions,
)
from skue.serving import VectorIndex

LONG = "z" * 1_000_000
SHORT = [f"id-{number}" for number in range(4999)]
ITEMS = ItemEmbeddings(np.eye(2), ["a", "b"])
MOST_BYTES = 200e6


@pytest.fixture
def encoder():
    return DecayAverageUserEncoder(ITEMS).fit([["a"], ["b"]])


def peak_bytes(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_transform_with_one_long_id_needs_little_memory(encoder):
    batch = [["a", name] for name in SHORT] + [["b", LONG]]
    assert peak_bytes(lambda: encoder.transform(batch)) < MOST_BYTES


def test_cache_get_with_one_long_id_needs_little_memory(encoder):
    cache, users = UserVectorCache(encoder), [*SHORT, LONG]
    assert peak_bytes(lambda: cache.get(users, lambda ids: [["a"]] * len(ids))) < MOST_BYTES
    assert (cache.get(users, lambda ids: [["a"]] * len(ids))[1] == "cached").all()
    cache.close()


def test_index_search_with_one_long_id_needs_little_memory():
    index = VectorIndex(ITEMS)
    lists = {"exclude": [["a", *SHORT, LONG]]}
    found = []
    peak = peak_bytes(lambda: found.extend(index.search([[1, 0]], 1, space_id=None, **lists)))
    assert peak < MOST_BYTES
    assert found[0].tolist() == [["b"]]


@pytest.mark.parametrize("ending", ["csv", "parquet", "txt"])
def test_load_interactions_with_one_long_id_needs_little_memory(tmp_path, ending):
    path = tmp_path / f"log.{ending}"
    users, items = [*SHORT, LONG], [*SHORT[1:], LONG, "a"]
    if ending == "parquet":
        pytest.importorskip("pandas").DataFrame({"user_id": users, "item_id": items}).to_parquet(
            path
        )
    elif ending == "txt":
        path.write_text("".join(f"{u} {i}\n" for u, i in zip(users, items, strict=True)))
    else:
        lines = ["user_id,item_id", *map(",".join, zip(users, items, strict=True))]
        path.write_text("\n".join(lines) + "\n")
    loaded = []
    assert peak_bytes(lambda: loaded.append(load_interactions(path))) < MOST_BYTES
    assert sorted(map(len, loaded[0].user_ids.tolist()))[-1] == len(LONG)


def test_loading_histories_with_one_long_id_needs_little_memory(tmp_path):
    batch = Histories.from_lists([[*SHORT, LONG]])
    batch.save(tmp_path / "batch.npz")
    loaded = []
    assert peak_bytes(lambda: loaded.append(Histories.load(tmp_path / "batch.npz"))) < MOST_BYTES
    assert loaded[0][0].tolist() == [*SHORT, LONG]
