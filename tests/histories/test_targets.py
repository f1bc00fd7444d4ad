"""Held-out items y: padding, user ids, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, NDCGAtK, RecallAtK
from skue.histories._targets import append_targets, flat_targets

ENCODER = DecayAverageUserEncoder(ItemEmbeddings(np.eye(6))).fit([[0], [1]])
X = Histories.from_lists([[1], [3]], user_ids=["ann", "bob"])
LISTS = [[1, 2], [3]]


@pytest.mark.parametrize(
    "y",
    [
        np.array([[1, 2], [3, -1]]),
        np.array([[1.0, 2.0], [3.0, -1.0]]),
        np.ma.masked_equal([[1, 2], [3, 4]], 4),
        pd.Series(LISTS[::-1], index=["bob", "ann"]),
        pd.DataFrame({"next": LISTS[::-1]}, index=["bob", "ann"]),
        dict(zip(["bob", "ann"], LISTS[::-1], strict=True)),
        Histories.from_lists(LISTS[::-1], user_ids=["bob", "ann"]),
        Histories.from_lists(LISTS),
        pd.Series(LISTS),
        pytest.param("arrow", id="arrow"),
    ],
)
def test_every_form_of_y_gives_the_scores_of_lists(y):
    if isinstance(y, str):
        y = pytest.importorskip("pyarrow").array(LISTS)
    for score in (RecallAtK(2), NDCGAtK(2), DecayAverageUserEncoder.score):
        assert score(ENCODER, X, y) == score(ENCODER, X, LISTS)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([[1, 2], [-1, -1]]), "1 rows have none, the first of them row 1"),
        ([[1], []], "1 rows have none, the first of them row 1"),
        ([[1], [-1]], "y must not be negative or empty, got -1 at row 1, event 0"),
        ([1, -1], "y must not be negative or empty, got -1 at position 1"),
        (["a", "b"], "The item ids of y must be of one type"),
        (pd.Series([1, 2], index=["ann", "eve"]), "y has no row for 1 of the 2 users.*'bob'"),
        (pd.Series([1, 2, 3], index=["ann", "bob", "bob"]), "must be distinct.*'bob'"),
        ([[1], [2], [3]], "2 rows in X and 3 in y"),
    ],
)
def test_a_y_that_does_not_fit_is_refused(y, message):
    for score in (RecallAtK(2), DecayAverageUserEncoder.score):
        with pytest.raises(ValueError, match=message):
            score(ENCODER, X, y)


def test_targets_are_appended_to_their_own_users():
    extended, appended = append_targets(X, pd.Series([4, 5], index=["bob", "ann"]))
    assert [row.tolist() for row in extended] == [[1, 5], [3, 4]]
    assert appended.tolist() == [False, True, False, True]


def test_what_a_user_disliked_is_no_held_out_item():
    y = Histories.from_lists([[1, 2], [3]], weights=[[-1, 1], [2]])
    ids, offsets = flat_targets(y)
    assert (ids.tolist(), offsets.tolist()) == ([2, 3], [0, 1, 2])
    with pytest.raises(ValueError, match="y must have at least one item per user"):
        ENCODER.score([[1]], Histories.from_lists([[2]], weights=[[-1]]))
