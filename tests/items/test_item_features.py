"""ItemFeatures: what it accepts and refuses, and that it survives files and clones."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from skue import ItemFeatures

IDS = ["tea", "cup", "saw"]
DENSE = np.array([[1, 0], [0, 2], [0.5, 0]])


@pytest.fixture(params=["dense", "sparse"])
def features(request):
    return ItemFeatures(DENSE if request.param == "dense" else sp.csr_array(DENSE), IDS)


def rows_of(features):
    values = features.values
    return values.toarray() if sp.issparse(values) else values


def test_rows_are_kept_with_their_ids(features):
    np.testing.assert_array_equal(rows_of(features), DENSE)
    assert features.values.dtype == np.float32
    assert features.lookup(["saw", "pot"]).tolist() == [2, -1]
    assert (len(features), features.n_features) == (3, 2)


def test_sparse_features_stay_sparse():
    assert sp.issparse(ItemFeatures(sp.coo_matrix(DENSE), IDS).values)


def test_a_frame_gives_its_index_as_ids():
    frame = pd.DataFrame({"price": [1.0, 2.0], "is_new": [True, False]}, index=["tea", "cup"])
    features = ItemFeatures(frame)
    assert features.ids.tolist() == ["tea", "cup"]
    np.testing.assert_array_equal(features.values, [[1, 1], [2, 0]])


def test_a_frame_of_sparse_columns_stays_sparse():
    frame = pd.DataFrame.sparse.from_spmatrix(sp.csr_array(DENSE), index=IDS)
    assert sp.issparse(ItemFeatures(frame).values)


def test_files_and_pickles_give_back_the_same(features, tmp_path):
    features.save(tmp_path / "features.npz")
    for copy in (
        ItemFeatures.load(tmp_path / "features.npz"),
        pickle.loads(pickle.dumps(features)),
    ):
        np.testing.assert_array_equal(rows_of(copy), rows_of(features))
        assert copy.ids.tolist() == IDS
        assert sp.issparse(copy.values) == sp.issparse(features.values)


def test_a_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"holds another kind of data.*ItemFeatures\.save"):
        ItemFeatures.load(tmp_path / "other.npz")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_extend_adds_items_and_keeps_the_kind(features, kind):
    larger = features.extend(kind([[0.0, 7.0]]), ["pot"])
    np.testing.assert_array_equal(rows_of(larger), [*DENSE, [0, 7]])
    assert larger.lookup(["pot"]).tolist() == [3]
    assert sp.issparse(larger.values) == sp.issparse(features.values)
    assert len(features) == 3


@pytest.mark.parametrize(
    ("values", "ids", "message"),
    [
        (DENSE, ["tea"], "same length, got 1 and 3"),
        (DENSE, ["tea", "cup", "tea"], r"distinct.*'tea' \(row 2\)"),
        (DENSE, ["tea", 3, "cup"], "one type"),
        ([[1.0], [np.nan]], None, r"finite.*rows \[1\].*SimpleImputer"),
        ([[1.0], [1e60]], None, r"finite.*rows \[1\]"),
        (sp.csr_array([[1.0], [np.inf]]), None, r"finite.*rows \[1\]"),
        ([1.0, 2.0], None, "shape"),
        (np.empty((2, 0)), None, "shape"),
        ([["a"], ["b"]], None, "must be numbers.*OneHotEncoder"),
        (pd.DataFrame({"title": ["a"], "n": [1]}), None, "column 'title' .*TfidfVectorizer"),
    ],
)
def test_values_that_cannot_be_features_are_refused(values, ids, message):
    with pytest.raises(ValueError, match=message):
        ItemFeatures(values, ids)


@pytest.mark.parametrize(
    ("values", "ids", "message"),
    [
        ([[1, 2, 3]], ["pot"], "2 columns of these features, got 3"),
        ([[1, 2]], ["tea"], "distinct"),
        ([[1, 2]], [5], "one type.*5.*'tea'"),
    ],
)
def test_extend_refuses_what_does_not_belong(features, values, ids, message):
    with pytest.raises(ValueError, match=message):
        features.extend(values, ids)
