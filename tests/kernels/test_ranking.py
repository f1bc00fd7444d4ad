"""Counts in tiles and threads, compared with counts over the whole matrix of scores."""

import numpy as np
import pytest

from skue.kernels import _ranking
from skue.kernels._arrays import is_among, offsets_of, owners
from skue.kernels._ranking import Products, rank_positives


@pytest.fixture(params=["numpy", "numba"])
def counter(request, monkeypatch):
    """Count with one of the backends."""
    if request.param == "numba":
        pytest.importorskip("numba")
    monkeypatch.setattr(
        _ranking, "pooling_backend", lambda: "numba" if request.param == "numba" else "scipy"
    )
    return request.param


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    users = rng.normal(size=(70, 6)).astype(np.float32)
    items = rng.normal(size=(45, 6)).astype(np.float32)
    for vectors in (users, items):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items[30:33] = items[3]
    targets = [np.unique(rng.integers(-1, 45, rng.integers(1, 4))) for _ in range(70)]
    seen = [np.unique(rng.integers(0, 45, rng.integers(0, 9))) for _ in range(70)]
    flat = [
        (np.concatenate(rows), offsets_of(np.array(list(map(len, rows)))))
        for rows in (targets, seen)
    ]
    return users, items, *flat


def expected_counts(users, items, targets, excluded):
    scores = users.astype(np.float64) @ items.astype(np.float64).T
    if excluded is not None:
        scores[owners(excluded[1]), excluded[0]] = -np.inf
    found = []
    for position, (user, row) in enumerate(zip(owners(targets[1]), targets[0], strict=True)):
        if row >= 0 and scores[user, row] > -np.inf:
            above = int((scores[user] > scores[user, row] + 1e-6).sum())
            reached = int((scores[user] >= scores[user, row] - 1e-6).sum())
            found.append((position, user, above, reached))
    return found


@pytest.mark.parametrize("tile", [7, 8192])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("block_bytes", [1, 10**6])
def test_counts_equal_those_over_the_whole_matrix(
    counter, problem, monkeypatch, tile, exclude, block_bytes
):
    users, items, targets, seen = problem
    monkeypatch.setattr(_ranking, "_TILES", dict.fromkeys(_ranking._TILES, (256, tile)))
    excluded = seen if exclude else None
    positives, listed = rank_positives(
        Products(users, items),
        len(items),
        *targets,
        excluded=excluded,
        block_bytes=block_bytes,
    )
    expected = expected_counts(users, items, targets, excluded)
    assert len(expected) > 60
    found = zip(listed, positives.users, positives.above, positives.reached, strict=True)
    assert [tuple(map(int, row)) for row in found] == expected
    assert max(row[3] - row[2] for row in expected) >= 3  # some are tied


def test_scores_from_a_function_are_ranked(counter, problem):
    users, items, targets, seen = problem
    positives, listed = rank_positives(
        lambda start, stop: users[start:stop] @ items.T, len(items), *targets, excluded=seen
    )
    expected = expected_counts(users, items, targets, seen)
    found = zip(listed, positives.users, positives.above, positives.reached, strict=True)
    assert [tuple(map(int, row)) for row in found] == expected


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scores_of_both_precisions_are_ranked(kind):
    scores = np.array([[3, 1, 2], [1, 1, 1]], dtype=kind)
    positives, _ = rank_positives(
        lambda start, stop: scores[start:stop].copy(), 3, np.array([2, 0]), np.array([0, 1, 2])
    )
    np.testing.assert_array_equal(positives.above, [1, 0])
    np.testing.assert_array_equal(positives.reached, [2, 3])


def test_rounding_that_differs_between_products_does_not_change_the_counts(
    counter, problem, monkeypatch
):
    """Alone, a score can differ from the same score in a tile by more than the tolerance."""
    users, items, targets, _ = problem
    monkeypatch.setattr(_ranking, "_TILES", dict.fromkeys(_ranking._TILES, (256, 7)))
    pairs, n_calls = Products.pairs, []

    def rounded(self, users, rows):
        n_calls.append(1)
        return pairs(self, users, rows) + np.float32(3e-6)

    monkeypatch.setattr(Products, "pairs", rounded)
    positives, listed = rank_positives(Products(users, items), len(items), *targets)
    assert n_calls
    expected = expected_counts(users, items, targets, None)
    found = zip(listed, positives.users, positives.above, positives.reached, strict=True)
    assert [tuple(map(int, row)) for row in found] == expected


def test_nan_scores_raise(problem):
    users, items, targets, _ = problem
    with pytest.raises(ValueError, match="Scores are NaN"):
        Products(np.where(users == users.max(), np.nan, users), items)
    with pytest.raises(ValueError, match="Scores are NaN"):
        rank_positives(
            lambda start, stop: np.full((stop - start, len(items)), np.nan), len(items), *targets
        )


@pytest.mark.parametrize("n_others", [0, 1, 40])
def test_membership_agrees_with_numpy(n_others):
    rng = np.random.default_rng(0)
    values, others = rng.integers(-9, 30, size=60), rng.integers(-9, 30, size=n_others)
    assert is_among(values, others).tolist() == np.isin(values, others).tolist()
