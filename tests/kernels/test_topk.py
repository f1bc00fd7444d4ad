"""The k best items of a table of products."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skue.kernels._topk import top_k


@settings(max_examples=50, deadline=None)
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
