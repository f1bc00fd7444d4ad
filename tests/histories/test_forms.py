"""The forms of X that are refused, and their errors."""

import datetime

import numpy as np
import pytest

from skue import DecayAverageUserEncoder, ItemEmbeddings, as_histories

pandas = pytest.importorskip("pandas")


@pytest.mark.parametrize(
    "columns",
    [
        {"user_id": [1, 1], "item_id": [2, 3]},
        {"reviewerID": ["a", "b"], "asin": ["x", "y"]},
        {"customer": ["a", "b"], "sku": ["x", "y"], "purchased_at": [1, 2]},
        {"who": ["a", "b"], "what": ["x", "y"]},
        {
            "who": [1, 2],
            "what": [2, 3],
            "when": [datetime.datetime(2026, 1, day) for day in (1, 2)],
        },
        {"who": [None, "b"], "what": [1, 2]},
    ],
    ids=["ids", "review", "shop", "unusual names", "dates", "missing"],
)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_error_for_a_long_log_names_from_frame(columns, library):
    frame = pytest.importorskip(library).DataFrame(columns)
    with pytest.raises(ValueError, match=r"looks like a long log.*Histories\.from_frame"):
        as_histories(frame)


def test_the_error_for_a_long_log_shows_a_value():
    frame = pandas.DataFrame({"n": [1, 2], "name": ["ann", "bob"]})
    with pytest.raises(ValueError, match=r"columns \['n', 'name'\], where 'name' holds 'ann'"):
        as_histories(frame)


def test_a_missing_history_is_named_by_its_row():
    frame = pandas.DataFrame({"items": [None, [1, 2]]})
    with pytest.raises(ValueError, match=r"got None at row 0.*write a user without events as \[\]"):
        as_histories(frame)


def test_a_frame_of_integers_is_read_as_a_matrix_of_ids():
    frame = pandas.DataFrame(np.array([[4, 7], [4, -1]]))
    assert [row.tolist() for row in as_histories(frame)] == [[4, 7], [4]]


@pytest.mark.parametrize("dtype", [str, object])
def test_a_matrix_of_text_is_told_how_to_be_passed(dtype):
    encoder = DecayAverageUserEncoder(ItemEmbeddings(np.eye(2), ids=["a", "b"]))
    with pytest.raises(ValueError, match=r"Pass lists of strings instead: X\.tolist\(\)"):
        encoder.fit(np.array([["a", "b"]], dtype=dtype))
