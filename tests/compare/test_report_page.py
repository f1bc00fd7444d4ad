"""What the page of a report says about users: recall by activity, and lists of a few."""

from types import SimpleNamespace

import numpy as np
import pytest

from skue import Histories
from skue.compare._report import _activity, _people


def test_the_recall_by_activity_is_the_mean_of_the_users_with_so_many_events():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, size=200)
    queries = Histories.from_lists([[1] * length for length in lengths])
    recall = rng.random(200)
    comparison = SimpleNamespace(
        rows=[SimpleNamespace(name="mix")],
        split=SimpleNamespace(queries=queries),
        per_user={"mix": recall},
    )
    content, n_users = _activity(comparison), 0
    assert len(content["header"]) == 4
    [(_, cells)] = content["lines"]
    for header, (cell, _) in zip(content["header"], cells, strict=True):
        low, high = (int(word) for word in header.split() if word.isdigit())
        of_them = [recall[user] for user in range(200) if low <= lengths[user] <= high]
        assert float(cell) == pytest.approx(np.mean(of_them), abs=6e-4)
        n_users += len(of_them)
    assert n_users == 200


def test_users_with_equally_many_events_are_one_column(small):
    assert _activity(small)["header"] == ["users with 6 to 6 events (100%)"]


def test_a_user_on_the_page_has_what_the_best_contender_recommends_and_what_came_next(small):
    people = _people(small)
    best = next(each for each in small.contenders if each.name == people["name"])
    assert len(people["shown"]) == 5
    for user, shown in zip(small.examples, people["shown"], strict=True):
        query = small.split.queries[user : user + 1]
        ids, _ = best.estimator.recommend(query, len(shown["best"]))
        assert [item for item, _ in shown["best"]] == [str(item) for item in ids[0]]
        held_out = set(np.atleast_1d(small.split.held_out[user]).tolist())
        assert [is_next for _, is_next in shown["best"]] == [item in held_out for item in ids[0]]
        assert shown["newest"] == [str(item) for item in query[0][::-1][:6]]
