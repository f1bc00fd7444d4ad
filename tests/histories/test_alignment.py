"""Rows that carry user ids are brought into the order of the users of X."""

import numpy as np
import pandas as pd
import pytest

from skue import Histories
from skue.histories._alignment import in_order_of_users

USERS = np.array(["ann", "bob", "eve"], dtype=object)
NUMBERS = np.array([5, 3, 9])


@pytest.mark.parametrize("users", [USERS, NUMBERS], ids=["text", "integers"])
def test_rows_with_user_ids_are_put_in_the_order_of_x(users):
    order = [2, 0, 1]
    series = pd.Series([12, 10, 11], index=users[order])
    assert in_order_of_users(users, series, "y").tolist() == [10, 11, 12]
    frame = series.to_frame("y")
    assert in_order_of_users(users, frame, "y")["y"].tolist() == [10, 11, 12]
    by_user = dict(zip(users[order].tolist(), [12, 10, 11], strict=True))
    assert in_order_of_users(users, by_user, "y") == [10, 11, 12]
    batch = Histories.from_lists([[12], [10], [11]], user_ids=users[order])
    assert [row[0] for row in in_order_of_users(users, batch, "y")] == [10, 11, 12]


@pytest.mark.parametrize(
    "rows",
    [
        [1, 2, 3],
        np.array([1, 2, 3]),
        pd.Series([1, 2, 3]),
        pd.Series([1, 2, 3], index=USERS),
        pd.Series([1, 2, 3], index=[70, 40, 21]),
        Histories.from_lists([[1], [2], [3]]),
    ],
    ids=["list", "array", "default index", "same users", "row numbers", "no user ids"],
)
def test_rows_without_user_ids_or_in_order_stay_as_they_are(rows):
    assert in_order_of_users(USERS, rows, "y") is rows
    assert in_order_of_users(None, rows, "y") is rows


@pytest.mark.parametrize("users", [np.array([1, 2, 3]), np.array([7, 8, 9])])
def test_the_default_index_is_no_label(users):
    series = pd.Series([1, 2, 3])
    assert in_order_of_users(users, series, "y") is series


@pytest.mark.parametrize(
    ("users", "rows", "message"),
    [
        (USERS, pd.Series([1, 2], index=["eve", "ann"]), "no row for 1 of the 3 users, .*'bob'"),
        (USERS, {"eve": 1, "kim": 2}, "no row for 2 of the 3 users, such as 'ann', 'bob'"),
        (USERS, pd.Series([1] * 4, index=[*USERS, "ann"]), r"must be distinct.*'ann' \(row 3\)"),
        (USERS, pd.Series([1] * 3, index=["x", "y", "z"]), "no row for 3 of the 3 users"),
        (USERS, {1: 1}, "user ids of the same type as X, such as 'ann', got 1"),
        (USERS[[0]], pd.Series([1], index=[pd.Timestamp("2026")]), "the user ids of y must be"),
        (np.array([2, 0, 1]), pd.Series([1, 2, 3]), "may be row numbers or user ids"),
        (np.array([4, 5]), pd.Series([1, 2], index=[4, 6]), "no row for 1 of the 2 users.*5"),
        (np.array(["1", "2"], object), pd.Series([1, 2], index=[2, 1]), "of the same type as X"),
        (None, {"ann": 1}, "y is given by user, but X has no user_ids"),
    ],
)
def test_rows_that_cannot_be_aligned_are_refused(users, rows, message):
    with pytest.raises(ValueError, match=message):
        in_order_of_users(users, rows, "y")
