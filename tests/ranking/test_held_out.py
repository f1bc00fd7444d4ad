"""The queries that the second stage learns from."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from skue import (
    CooccurrenceItemEmbedder,
    Histories,
    TwoStageRecommender,
    TwoTowerUserEncoder,
)
from skue.histories._splits import newest_instants
from skue.ranking import _training
from skue.ranking._training import TrainingTable, cross_validated, queries_before


def random_log(seed, *, with_times):
    """Return a log with equal times and empty histories, and newest events to hold out."""
    rng = np.random.default_rng(seed)
    lists = [rng.integers(9, size=rng.integers(0, 8)).tolist() for _ in range(20)]
    times = [np.sort(rng.integers(4, size=len(row))).tolist() for row in lists]
    features = rng.normal(size=(20, 2))
    log = Histories.from_lists(
        lists, timestamps=times if with_times else None, user_ids=np.arange(20) + 100
    ).with_user_features(features)
    held_out = np.zeros(len(log.codes), dtype=bool)
    for user in rng.permutation(20)[:12]:
        start, stop = log.offsets[user : user + 2]
        if stop - start > 1:
            first = int(rng.integers(start + 1, stop))
            if with_times:  # the whole instant
                first = start + np.searchsorted(times[user], times[user][first - start])
            if first > start:
                held_out[first:stop] = True
    return log, held_out


def slow_queries(log, held_out):
    """Return the user, the items before, and the items of each held-out instant, one by one."""
    found = []
    for user in range(len(log)):
        events = range(log.offsets[user], log.offsets[user + 1])
        instants = {}
        for event in events:
            key = event if log.timestamps is None else log.timestamps[event]
            instants.setdefault(key, []).append(event)
        for own in instants.values():
            if held_out[own[0]]:
                before = [log.item_ids[log.codes[event]] for event in events if event < own[0]]
                found.append(
                    (100 + user, before, [log.item_ids[log.codes[event]] for event in own])
                )
    return found


@pytest.mark.parametrize("with_times", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_held_out_instant_is_predicted_from_all_events_before_it(seed, with_times):
    log, held_out = random_log(seed, with_times=with_times)
    users, queries, answers = queries_before(log, held_out, np.random.RandomState(0))
    expected = slow_queries(log, held_out)
    found = [
        (user, query.tolist(), answer.tolist())
        for user, query, answer in zip(queries.user_ids, queries, answers, strict=True)
    ]
    assert found == expected
    assert len(expected) > 3
    np.testing.assert_array_equal(answers.user_ids, queries.user_ids)
    _, numbers = np.unique([user for user, _, _ in expected], return_inverse=True)
    np.testing.assert_array_equal(users, numbers)
    np.testing.assert_array_equal(queries.user_features, log.user_features[queries.user_ids - 100])


def test_of_very_many_queries_some_are_drawn(monkeypatch):
    monkeypatch.setattr(_training, "MOST_USERS", 4)
    log, held_out = random_log(0, with_times=False)
    users, queries, answers = queries_before(log, held_out, np.random.RandomState(0))
    assert len(users) == len(queries) == len(answers) == 4
    whole = slow_queries(log, held_out)
    for user, query, answer in zip(queries.user_ids, queries, answers, strict=True):
        assert (user, query.tolist(), answer.tolist()) in whole


class Recording(GaussianNB):
    """Keeps the users that each copy was fitted on and asked about."""

    pairs: ClassVar[list] = []

    def fit(self, X, y):
        self.known = set(X[:, 0].tolist())
        return super().fit(X, y)

    def predict_proba(self, X):
        self.pairs.append((self.known, set(X[:, 0].tolist())))
        return super().predict_proba(X)


def test_cross_validation_keeps_all_queries_of_a_user_in_one_fold():
    users = np.repeat(np.arange(30), 4)
    queries = np.repeat(np.arange(120), 3)
    features = np.column_stack([users[queries], np.random.default_rng(0).normal(size=360)])
    chosen = np.tile([True, False, False], 120)
    counts = np.ones(120, dtype=int)
    table = TrainingTable(queries, features, features[:, 1], chosen, users, counts)
    Recording.pairs.clear()
    cross_validated(table, {"given": Recording()}, np.random.RandomState(0))
    assert len(Recording.pairs) == 3
    for known, asked in Recording.pairs:
        assert known and asked and not known & asked
    assert set().union(*(asked for _, asked in Recording.pairs)) == set(range(30))


def test_where_tastes_move_the_second_stage_does_not_learn_from_outdated_queries():
    """Users change their group before the last five events, which a small log holds out.

    A query without them points to the old group, and the cosine looks useless.
    """
    rng = np.random.default_rng(0)
    groups = rng.integers(8, size=(300, 2))
    lists = [(20 * np.repeat(own, [6, 6]) + rng.integers(20, size=12)).tolist() for own in groups]
    log = Histories.from_lists(lists)
    X = log._keep_events(np.tile(np.arange(12) < 11, 300))
    towers = TwoTowerUserEncoder(CooccurrenceItemEmbedder(32), random_state=0, max_iter=2)
    model = TwoStageRecommender(towers, LogisticRegression(max_iter=1000), random_state=0).fit(X)
    ids, _ = model.recommend(X, k=5, exclude_seen=True)
    assert (ids // 20 == groups[:, 1:]).mean() > 0.8


def random_weights(log, seed):
    """Return the log with weights, half of which are zero or less."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1.0, 0.0, 1.0, 2.0], size=len(log.codes))
    columns = log.codes, log.offsets, log.item_ids
    return Histories(*columns, timestamps=log.timestamps, weights=weights, user_ids=log.user_ids)


@pytest.mark.parametrize("with_times", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_disliked_items_are_no_answers(seed, with_times):
    log, held_out = random_log(seed, with_times=with_times)
    log = random_weights(log, seed)
    _, queries, answers = queries_before(log, held_out, np.random.RandomState(0))
    found = [
        (user, before.tolist(), after.tolist())
        for user, before, after in zip(queries.user_ids, queries, answers, strict=True)
    ]
    expected = []
    for user in range(len(log)):
        own = range(log.offsets[user], log.offsets[user + 1])
        instants = own if log.timestamps is None else np.unique(log.timestamps[own]).tolist()
        for instant in instants:
            when = own if log.timestamps is None else log.timestamps[own].tolist()
            events = [event for event, time in zip(own, when, strict=True) if time == instant]
            likes = [event for event in events if log.weights[event] > 0]
            if held_out[events[0]] and likes:
                before = [log.item_ids[log.codes[event]] for event in own if event < events[0]]
                after = [log.item_ids[log.codes[event]] for event in likes]
                expected.append((100 + user, before, after))
    assert found == expected


@pytest.mark.parametrize("with_times", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_newest_instant_with_a_liked_event_is_held_out(seed, with_times):
    log, _ = random_log(seed, with_times=with_times)
    log = random_weights(log, seed)
    rows, held_out = newest_instants(log, 1.0, np.random.RandomState(0))
    expected_rows, expected = [], np.zeros(len(log.codes), dtype=bool)
    for user in range(len(log)):
        own = np.arange(log.offsets[user], log.offsets[user + 1])
        times = own if log.timestamps is None else log.timestamps[own]
        likes = times[log.weights[own] > 0]
        if len(likes) and (times < likes[-1]).any():
            expected_rows.append(user)
            expected[own[times >= likes[-1]]] = True
    assert rows.tolist() == expected_rows
    np.testing.assert_array_equal(held_out, expected)
