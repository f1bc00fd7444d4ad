"""User vectors of an earlier space in an index that is aligned with it."""

import pickle

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skue import (
    DecayAverageUserEncoder,
    ItemEmbeddings,
    Retriever,
    SpaceMismatchError,
    UserVectorCache,
    export_index,
    open_index,
)
from skue.serving import VectorIndex

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(30, 6))
MONDAY = ItemEmbeddings(VECTORS, space_id="monday")
TUESDAY = ItemEmbeddings(
    VECTORS + 0.05 * RNG.normal(size=(30, 6)),
    space_id="tuesday",
    aligned_with="monday",
    agreement=0.95,
)
LISTS = [RNG.integers(30, size=5).tolist() for _ in range(20)]
OF_MONDAY, OF_TUESDAY = (DecayAverageUserEncoder(items).fit(LISTS) for items in (MONDAY, TUESDAY))
VALUES = OF_MONDAY.transform(LISTS)


def load(ids):
    return [LISTS[user] for user in ids.tolist()]


@pytest.fixture
def folder(tmp_path):
    export_index(OF_TUESDAY, tmp_path)
    return tmp_path


@pytest.mark.parametrize("mmap", [False, True])
def test_an_opened_index_names_the_space_it_is_aligned_with(folder, mmap):
    index = open_index(folder, mmap=mmap)
    assert (index.aligned_with, index.agreement, index.accept) == ("monday", 0.95, "same")
    assert (index.items.aligned_with, index.items.agreement) == ("monday", 0.95)


def test_vectors_of_the_earlier_space_are_taken_only_if_accepted(folder):
    index = open_index(folder)
    with pytest.raises(SpaceMismatchError, match=r"Set accept='aligned' to use them") as caught:
        index.search(VALUES, 3, space_id="monday")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(SpaceMismatchError, match="accept='aligned'"):
        index.recommend(OF_MONDAY, LISTS, 3)
    accepting = open_index(folder, accept="aligned")
    found = accepting.search(VALUES, 3, space_id="monday")
    np.testing.assert_array_equal(found[0], index.search(VALUES, 3, space_id=None)[0])
    np.testing.assert_array_equal(accepting.recommend(OF_MONDAY, LISTS, 3)[0], found[0])
    np.testing.assert_array_equal(
        accepting.recommend(OF_TUESDAY, LISTS, 3)[0], index.recommend(OF_TUESDAY, LISTS, 3)[0]
    )


@pytest.mark.parametrize("accept", ["same", "aligned"])
def test_vectors_of_any_other_space_are_refused(folder, accept):
    with pytest.raises(SpaceMismatchError, match="meaningless") as caught:
        open_index(folder, accept=accept).search(VALUES, 3, space_id="sunday")
    assert "accept" not in str(caught.value)


def test_a_retriever_takes_the_cache_of_the_earlier_encoder_only_if_told(folder):
    cache, index = UserVectorCache(OF_MONDAY), open_index(folder)
    with pytest.raises(SpaceMismatchError, match="accept='aligned'"):
        Retriever(cache, index)
    serving = Retriever(cache, index, accept="aligned")
    ids, _, status = serving.recommend([3, 4], load, k=5)
    expected = index.search(VALUES[3:5], 5, space_id=None)
    np.testing.assert_array_equal(ids, expected[0])
    assert status.tolist() == ["fresh", "fresh"]
    with pytest.raises(SpaceMismatchError, match="meaningless"):
        Retriever(UserVectorCache(OF_TUESDAY), VectorIndex(MONDAY), accept="aligned")


def test_a_step_that_changes_the_vectors_ends_the_alignment(tmp_path):
    columns = ColumnTransformer([("encoder", OF_TUESDAY, [0])])
    X = np.array(LISTS)[:, :1]
    export_index(make_pipeline(columns).fit(X), tmp_path / "kept")
    assert open_index(tmp_path / "kept").aligned_with == "monday"
    changed = make_pipeline(OF_TUESDAY, FunctionTransformer(np.negative)).fit(LISTS)
    export_index(changed, tmp_path / "changed")
    assert open_index(tmp_path / "changed").aligned_with is None
