"""User features of histories: how they are given, matched, kept and refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import Histories, leave_last_out

briefly = settings(max_examples=30)

LISTS = [["tea", "cup"], [], ["cup", "pot", "tea"]]
FEATURES = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32)


@pytest.fixture
def histories():
    return Histories.from_lists(LISTS, user_ids=["a", "b", "c"]).with_user_features(FEATURES)


def test_a_frame_is_matched_by_its_index():
    frame = pd.DataFrame(FEATURES[[2, 0, 1]], index=["c", "a", "b"]).assign(z=[9, 7, 8])
    histories = Histories.from_lists(LISTS, user_ids=["a", "b", "c"]).with_user_features(frame)
    assert histories.user_features.tolist() == [[1, 2, 7], [3, 4, 8], [5, 6, 9]]


def test_users_that_a_frame_lacks_are_counted_and_unknown():
    frame = pd.DataFrame({"x": [1.0, 9.0]}, index=["c", "other"])
    with pytest.warns(UserWarning, match=r"2 of the 3 users have no row of features, such as 'a'"):
        found = Histories.from_lists(LISTS, user_ids=["a", "b", "c"]).with_user_features(frame)
    assert np.isnan(found.user_features[:2]).all() and found.user_features[2] == 1


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (FEATURES[:2], r"one row per user, got 2 rows for 3 users"),
        (FEATURES[:, 0], r"shape \(n_users, n_features\), got \(3,\).*reshape\(-1, 1\)"),
        (FEATURES[:, :0], r"shape \(n_users, n_features\), got \(3, 0\)"),
        ([[1, 2], [3, np.nan], [5, 6]], r"finite, got \[3.0, nan\] in row 1.*SimpleImputer"),
        ([[1, 2], [3, 4], [np.inf, 6]], r"finite, got \[inf, 6.0\] in row 2"),
        ([["x", 2], [3, 4], [5, 6]], r"must be numbers, got dtype <U"),
        ([[1], [3, 4], [5, 6]], r"must be numbers in rows of one length"),
        (pd.DataFrame({"city": list("xyz")}), r"must be numbers.*'city'.*OneHotEncoder"),
    ],
)
def test_unusable_features_are_refused_with_the_way_out(features, message):
    with pytest.raises(ValueError, match=message):
        Histories.from_lists(LISTS).with_user_features(features)


@briefly
@given(st.lists(st.integers(0, 2), max_size=6))
def test_features_follow_their_users_through_indexing(rows):
    histories = Histories.from_lists(LISTS).with_user_features(FEATURES)
    chosen = histories[rows]
    assert np.array_equal(chosen.user_features, FEATURES[rows])
    assert histories[1:].user_features.tolist() == FEATURES[1:].tolist()


def test_features_follow_their_users_through_splits(histories):
    with pytest.warns(UserWarning, match="left out"):
        X, _ = leave_last_out(histories)
    assert X.user_features.tolist() == [[1, 2], [5, 6]]


@pytest.mark.parametrize("mmap", [False, True])
def test_features_are_saved_and_loaded(histories, tmp_path, mmap):
    histories[:2].save(tmp_path / "h.npz")
    assert np.array_equal(Histories.load(tmp_path / "h.npz", mmap=mmap).user_features, FEATURES[:2])
