"""What ``load`` may return: the order of histories, labels, and bad records."""

import logging
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, UserVectorCache

ITEMS = ItemEmbeddings(np.random.default_rng(1).normal(size=(4, 3)), ["a", "b", "c", "d"])
ENCODER = DecayAverageUserEncoder(ITEMS).fit([["a", "b"], ["c"]])
STRICT = DecayAverageUserEncoder(ITEMS, unknown_item="raise").fit([["a", "b"], ["c"]])
LOG = {"ann": ["a"], "bob": ["b", "c"], "cat": ["c", "c", "a"], "dan": ["d"]}
USERS = ["cat", "ann", "dan", "bob"]


def truth(users, log=LOG, encoder=ENCODER):
    return np.concatenate([encoder.transform([log[user]]) for user in users])


def test_load_cannot_change_the_ids_that_it_is_given(caplog):
    def load(ids):
        ids.sort()
        return [LOG[user] for user in ids]

    users = np.array(USERS, dtype=object)
    cache = UserVectorCache(ENCODER)
    assert cache.get(users, load)[1].tolist() == ["fallback"] * 4
    assert cache.counters["load_errors"] == 1
    assert "read-only" in caplog.text
    assert users.tolist() == USERS


@pytest.mark.parametrize(
    "form",
    [
        lambda users, rows: pd.Series(rows, index=users),
        lambda users, rows: pd.DataFrame({"items": rows}, index=users),
        lambda users, rows: Histories.from_lists(rows, user_ids=users),
    ],
    ids=["series", "frame", "histories"],
)
def test_labelled_rows_may_come_in_any_order(form):
    def load(ids):
        users = sorted(ids)
        return form(users, [LOG[user] for user in users])

    vectors, status = UserVectorCache(ENCODER).get(USERS, load)
    np.testing.assert_allclose(vectors, truth(USERS), atol=1e-6)
    assert status.tolist() == ["fresh"] * 4


@pytest.mark.parametrize(
    "form",
    [
        list,
        lambda rows: np.array([*rows, None], dtype=object)[:-1],
        pd.Series,
        lambda rows: pl.DataFrame({"items": rows}),
        Histories.from_lists,
    ],
    ids=["list", "array", "pandas", "polars-frame", "histories"],
)
def test_rows_without_labels_are_in_the_order_of_the_ids(form):
    load = lambda ids: form([LOG[user] for user in ids])  # noqa: E731
    vectors, status = UserVectorCache(ENCODER).get(USERS, load)
    np.testing.assert_allclose(vectors, truth(USERS), atol=1e-6)
    assert status.tolist() == ["fresh"] * 4


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["ann", "bob", "ann"], r"what load returned must be distinct.*'ann'"),
        (["ann", "bob", "zoe"], r"not asked for, such as \['zoe'\].*asked for \['bob', 'ann'\]"),
        (["ann"], "what load returned has no row for 1 of the 2 users, such as 'bob'"),
    ],
    ids=["twice", "others", "missing"],
)
def test_a_series_with_other_labels_is_refused(labels, message, caplog):
    cache = UserVectorCache(ENCODER)
    series = pd.Series([["a"]] * len(labels), index=labels)
    assert cache.get(["bob", "ann"], lambda ids: series)[1].tolist() == ["fallback"] * 2
    assert re.search(message, caplog.text)
    assert cache.counters["load_errors"] == 1


def test_users_left_out_by_labelled_histories_have_no_events_and_are_counted():
    cache = UserVectorCache(ENCODER)
    loaded = Histories.from_lists([LOG["ann"]], user_ids=["ann"])
    vectors, status = cache.get(["new", "ann"], lambda ids: loaded)
    np.testing.assert_allclose(vectors, [ENCODER.fallback_vector_, truth(["ann"])[0]], atol=1e-6)
    assert status.tolist() == ["fresh", "fresh"]
    assert cache.counters["absent"] == 1


@settings(max_examples=20, deadline=None)
@given(
    users=st.lists(st.text(max_size=3) | st.integers(-3, 3).map(str), min_size=1, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_labelled_histories_reach_their_users_for_any_ids(users, seed):
    rng = np.random.default_rng(seed)
    log = {user: rng.choice(["a", "b", "c", "d"], rng.integers(0, 4)).tolist() for user in users}

    def load(ids):
        shuffled = rng.permutation(ids).tolist()
        return Histories.from_lists([log[user] for user in shuffled], user_ids=shuffled)

    vectors, _ = UserVectorCache(ENCODER, {}).get(users, load)
    np.testing.assert_allclose(vectors, truth(users, log), atol=1e-6)


BAD = {
    "none": ["a", None],
    "number": 7,
    "negative": ["a", -1],
}


@pytest.mark.parametrize("record", BAD.values(), ids=BAD)
@pytest.mark.parametrize("form", [list, pd.Series], ids=["list", "series"])
def test_one_bad_record_affects_only_its_user(record, form, caplog):
    log = {**{f"u{i}": ["a", "b"][i % 2 :] for i in range(20)}, "bad": record, "zoe": ["c"]}
    cache = UserVectorCache(ENCODER, {})
    vectors, status = cache.get(list(log), lambda ids: form([log[user] for user in ids]))
    good = [user for user in log if user != "bad"]
    assert status.tolist() == ["fallback" if user == "bad" else "fresh" for user in log]
    np.testing.assert_allclose(np.delete(vectors, 20, axis=0), truth(good, log), atol=1e-6)
    np.testing.assert_array_equal(vectors[20], ENCODER.fallback_vector_)
    counters = cache.counters
    assert (counters["errors"], counters["load_errors"], counters["fresh"]) == (1, 0, 21)
    records = [record for record in caplog.records if record.name == "skue.serving"]
    assert len(records) == 1
    assert "The histories of 1 of 22 users cannot be encoded. User 'bad'" in records[0].message


def test_an_unknown_item_that_raises_affects_only_its_user(caplog):
    log = {"ann": ["a"], "bob": ["brand new"], "cat": ["c"]}
    cache = UserVectorCache(STRICT)
    vectors, status = cache.get(list(log), lambda ids: [log[user] for user in ids])
    assert status.tolist() == ["fresh", "fallback", "fresh"]
    np.testing.assert_allclose(vectors[[0, 2]], truth(["ann", "cat"], log), atol=1e-6)
    assert cache.counters["errors"] == 1
    assert "brand new" in caplog.text


def test_a_user_with_a_bad_record_keeps_the_last_good_vector():
    log = {"ann": ["a"], "bob": ["b"]}
    cache = UserVectorCache(ENCODER)
    load = lambda ids: [log[user] for user in ids]  # noqa: E731
    cache.get(["ann", "bob"], load)
    log["ann"] = [None]
    cache.invalidate(["ann", "bob"])
    vectors, status = cache.get(["ann", "bob"], load)
    assert status.tolist() == ["stale", "fresh"]
    np.testing.assert_allclose(vectors, truth(["ann", "bob"], LOG | {"bob": ["b"]}), atol=1e-6)


def test_finding_bad_records_takes_at_most_two_attempts_per_user(monkeypatch):
    attempts, transform = [], DecayAverageUserEncoder.transform

    def counted(self, X):
        attempts.append(len(X))
        return transform(self, X)

    monkeypatch.setattr(DecayAverageUserEncoder, "transform", counted)
    cache, users = UserVectorCache(STRICT), [str(user) for user in range(32)]
    unknown = lambda ids: Histories.from_lists([["new"]] * len(ids))  # noqa: E731
    assert set(cache.get(users, unknown)[1]) == {"fallback"}
    assert len(attempts) == 2 * 32 - 1
    assert sum(attempts) == 32 * 6
    attempts.clear()
    one = lambda ids: Histories.from_lists([["new"], *[["a"]] * (len(ids) - 1)])  # noqa: E731
    cache.get(users, one)
    assert len(attempts) == 2 * 5 + 1


def test_zeros_are_served_if_cold_start_is_zero():
    encoder = DecayAverageUserEncoder(ITEMS, cold_start="zero").fit([["a"]])
    store, load = {}, lambda ids: [[]]
    assert UserVectorCache(encoder, store).get(["new"], load)[1].tolist() == ["fresh"]
    cache = UserVectorCache(encoder, store)
    vectors, status = cache.get(["new"], load)
    assert status.tolist() == ["cached"]
    assert not vectors.any()
    assert cache.counters["damaged"] == 0


def test_a_failed_load_is_logged_once_with_its_traceback(caplog):
    def load(ids):
        raise OSError("the log is away")

    caplog.set_level(logging.WARNING)
    UserVectorCache(ENCODER).get(USERS, load)
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None


def test_histories_without_the_times_of_the_fit_are_errors_of_their_users(caplog):
    lists, times = list(LOG.values()), [[7.0] * len(items) for items in LOG.values()]
    timed = Histories.from_lists(lists, timestamps=times, user_ids=list(LOG))
    encoder = DecayAverageUserEncoder(ITEMS, age_unit="instant").fit(timed)
    with UserVectorCache(encoder) as cache:
        vectors, status = cache.get(USERS, lambda ids: timed)
        np.testing.assert_allclose(vectors, encoder.transform(timed)[[2, 0, 3, 1]], atol=1e-6)
        cache.invalidate(USERS)
        _, status = cache.get([*USERS, "new"], lambda ids: [LOG.get(user, []) for user in ids])
        # A user without events needs no times.
        assert status.tolist() == ["stale"] * 4 + ["fresh"]
        assert cache.counters["errors"] == 4
    (record,) = caplog.records
    assert "4 of 5 users cannot be encoded" in record.message
    assert "timestamps" in record.message
