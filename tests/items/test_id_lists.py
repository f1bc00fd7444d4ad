"""Lists of ids to exclude and allow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings
from skue.items._id_lists import limits_of_id_lists, rows_of_id_lists
from skue.kernels._topk import top_k

TEXT = ItemEmbeddings(np.eye(3), ids=["tea", "cup", "pot"])
NUMBERS = ItemEmbeddings(np.eye(3), ids=[7, 8, 9])


def rows_of(items, lists, n_users=2):
    rows, offsets = rows_of_id_lists(items, lists, n_users, "exclude")
    return rows.tolist(), None if offsets is None else offsets.tolist()


FORMS = [list, np.array, dict.fromkeys, iter]


@pytest.mark.parametrize("form", FORMS, ids=["list", "array", "dict", "iterator"])
def test_a_flat_list_applies_to_all_users(form):
    lists = form(["pot", "tea"])
    if isinstance(lists, dict):
        lists = lists.keys()
    assert rows_of(TEXT, lists) == ([2, 0], None)


@pytest.mark.parametrize(
    "lists",
    [
        [["pot", "tea"], ["cup", "mug"]],
        [np.array(["pot", "tea"]), np.array(["cup"])],
        np.array([["pot", "tea"], ["cup", ""]]),
        Histories.from_lists([["pot", "tea"], ["mug", "cup"]]),
    ],
    ids=["lists", "arrays", "2-D", "Histories"],
)
def test_one_list_per_user_gives_the_same_rows_in_every_form(lists):
    assert rows_of(TEXT, lists) == ([2, 0, 1], [0, 2, 3])


def test_negative_numbers_are_padding_in_a_two_dimensional_array():
    assert rows_of(NUMBERS, np.array([[9, -1], [-1, 8]])) == ([2, 1], [0, 1, 2])


@pytest.mark.parametrize(
    ("lists", "place"), [([9, -1], "position 1"), ([[9], [7, -2]], "row 1, event 1")]
)
def test_negative_numbers_in_lists_raise(lists, place):
    with pytest.raises(
        ValueError, match=f"exclude must not be negative or empty, got -[12] at {place}"
    ):
        rows_of(NUMBERS, lists)


@pytest.mark.parametrize(
    ("items", "lists", "message"),
    [
        (TEXT, [3], r"ids of exclude must be of one type, got 3, but the items have .* 'tea'"),
        (TEXT, "tea", r"must be a list of ids, got 'tea'. Write one id as \['tea'\]"),
        (TEXT, {"ann": ["tea"]}, "exclude is given by user, but X has no user_ids"),
        (TEXT, [["tea"]], "exclude has lists for 1 users, but there are 2"),
        (TEXT, [["tea"], "tea"], "exclude must be one sequence per user, got 'tea' at row 1"),
        (TEXT, ["tea", ["tea"]], r"must be integers or strings|mix types"),
    ],
)
def test_unclear_lists_raise(items, lists, message):
    with pytest.raises(ValueError, match=message):
        rows_of(items, lists)


LABELLED = {
    "Histories": lambda lists, users: Histories.from_lists(lists, user_ids=users),
    "Series": lambda lists, users: pytest.importorskip("pandas").Series(lists, index=users),
    "Series of sets": lambda lists, users: pytest.importorskip("pandas").Series(
        list(map(set, lists)), index=users
    ),
    "dict": lambda lists, users: dict(zip(users, lists, strict=True)),
}


@pytest.mark.parametrize("form", LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize("limit", ["exclude", "allow"])
def test_lists_that_carry_user_ids_are_those_of_the_same_users(form, limit):
    X = Histories.from_lists([["tea"], ["cup"], ["pot"]], user_ids=["u1", "u2", "u3"])
    encoder = DecayAverageUserEncoder(TEXT).fit(X)
    lists = [["cup"], ["tea", "pot"], ["tea"], ["pot"]]
    expected = encoder.recommend(X, 3, **{limit: [["tea"], ["tea", "pot"], ["cup"]]})
    found = encoder.recommend(X, 3, **{limit: form(lists, ["u3", "u2", "u1", "u9"])})
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    with pytest.raises(ValueError, match=f"{limit} has no row for 1 of the 3 users, such as 'u1'"):
        encoder.recommend(X, 3, **{limit: form(lists[:2], ["u3", "u2"])})


lists_of_rows = st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.none() | lists_of_rows,
    st.none() | lists_of_rows | st.lists(st.integers(0, 8), max_size=9),
    st.none() | lists_of_rows | st.lists(st.integers(0, 8), max_size=9),
    st.sampled_from([1, 100, 2**26]),
)
def test_top_k_within_limits_equals_a_slow_loop(k, seen, exclude, allow, block_bytes):
    rng = np.random.default_rng(k)
    items = ItemEmbeddings(rng.normal(size=(9, 3)))
    users = rng.normal(size=(4, 3)).astype(np.float32)

    def own(lists, user):
        return lists[user] if lists and isinstance(lists[0], list) else lists

    seen_rows = None
    if seen is not None:
        histories = Histories.from_lists(seen)
        seen_rows = items.rows_of(histories), histories.offsets
    excluded, allowed = limits_of_id_lists(items, 4, exclude=exclude, allow=allow, seen=seen_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skue.kernels._topk._BLOCK_BYTES", block_bytes)
        rows, scores = top_k(users, items.vectors, k, excluded=excluded, allowed=allowed)
    for user in range(4):
        left = set(range(9)) - set(own(seen or [], user)) - set(own(exclude or [], user))
        if allow is not None:
            left &= set(own(allow, user))
        cosines = items.vectors @ users[user]
        expected = sorted(left, key=lambda row: -cosines[row])[:k]
        assert rows[user].tolist() == expected + [-1] * (k - len(expected))
        assert (np.isneginf(scores[user]) == (rows[user] < 0)).all()
