"""A retriever with a second stage: the index and the own history give the candidates."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    Retriever,
    SpaceMismatchError,
    TwoStageRecommender,
    UserVectorCache,
    export_index,
    open_index,
)
from skue.kernels._topk import top_k

RNG = np.random.default_rng(0)
IDS = [f"item-{i}" for i in range(60)]
ITEMS = ItemEmbeddings(RNG.normal(size=(60, 6)), IDS)
USERS = [f"user-{i}" for i in range(80)]
LISTS = {user: [IDS[i] for i in RNG.integers(0, 30, size=RNG.integers(2, 9))] for user in USERS}
LOG = Histories.from_lists(list(LISTS.values()), user_ids=USERS)


@pytest.fixture(scope="module")
def recommender():
    encoder = DecayAverageUserEncoder(ITEMS)
    return TwoStageRecommender(encoder, LogisticRegression(), n_candidates=8, random_state=0).fit(
        LOG
    )


@pytest.fixture
def serving(recommender, tmp_path):
    export_index(recommender, tmp_path)
    return Retriever(UserVectorCache(recommender.encoder_), open_index(tmp_path), recommender)


def load(ids):
    return [LISTS[user] for user in ids.tolist()]


@pytest.mark.parametrize("k", [3, 20])
def test_it_returns_what_the_recommender_recommends(serving, recommender, k):
    ids, scores, status = serving.recommend(USERS[:20], load, k=k)
    expected = recommender.recommend([LISTS[user] for user in USERS[:20]], k)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)
    assert set(status) == {"fresh"}


def test_cached_vectors_are_used_and_the_features_come_from_the_loaded_history(
    serving, recommender
):
    serving.recommend(USERS[:1], load, k=3)
    newer = [*LISTS[USERS[0]], "item-55", "item-55"]
    ids, _, status = serving.recommend(USERS[:1], lambda ids: [newer], k=60)
    assert status.tolist() == ["cached"]
    old = serving.cache.get(USERS[:1], load)[0]
    nearest = top_k(old, ITEMS.vectors, 60)
    rows, _ = recommender._ranked(recommender._read([newer]), old, nearest, nearest, 60)
    np.testing.assert_array_equal(ids[0], np.array(IDS, dtype=object)[rows[0]])


def test_load_is_called_once_with_every_user_once(serving):
    calls = []

    def counting(ids):
        calls.append(ids.tolist())
        return load(ids)

    asked = [USERS[3], USERS[1], USERS[3]]
    ids, _, _ = serving.recommend(asked, counting, k=4)
    assert calls == [[USERS[3], USERS[1]]]
    np.testing.assert_array_equal(ids[0], ids[2])


def test_items_are_excluded_and_allowed(serving, recommender):
    asked, allowed = USERS[:5], IDS[:40]
    excluded = [LISTS[user] for user in asked]
    ids, _, _ = serving.recommend(asked, load, k=6, exclude=excluded, allow=allowed)
    expected, _ = recommender.recommend(excluded, 6, exclude=excluded, allow=allowed)
    np.testing.assert_array_equal(ids, expected)


def test_items_that_the_index_does_not_have_are_left_out(recommender, tmp_path):
    kept = ItemEmbeddings(ITEMS.vectors[:20], IDS[:20], space_id=ITEMS.space_id)
    export_index(kept, tmp_path)
    serving = Retriever(UserVectorCache(recommender.encoder_), open_index(tmp_path), recommender)
    ids, _, _ = serving.recommend(USERS, load, k=10)
    assert any(set(LISTS[user]) - set(IDS[:20]) for user in USERS)
    assert set(ids.ravel().tolist()) <= set(IDS[:20])


def nearest_items(serving, users, k, **limits):
    """Return the answer of the first stage, from the vectors in the cache."""
    vectors, _ = serving.cache.get(users, load)
    return serving.index.search(vectors, k, space_id=None, **limits)


def test_if_load_fails_cached_users_get_the_nearest_items(serving, caplog):
    serving.cache.get(USERS[:2], load)

    def failing(ids):
        raise OSError("the log is down")

    ids, scores, status = serving.recommend([*USERS[:2], "nobody"], failing, k=4)
    assert status.tolist() == ["cached", "cached", "fallback"]
    expected = nearest_items(serving, USERS[:2], 4)
    np.testing.assert_array_equal(ids[:2], expected[0])
    np.testing.assert_array_equal(scores[:2], expected[1])
    assert "did not rank for 3 users: OSError('the log is down')" in caplog.text


def test_one_bad_history_affects_only_its_user(serving, caplog):
    asked = USERS[:9]
    lists = [LISTS[user] for user in asked]
    excluded = [[IDS[row]] for row in range(9)]
    expected, _, _ = serving.recommend(asked, load, k=4, exclude=excluded)
    lists[5] = [None]
    ids, _, status = serving.recommend(asked, lambda ids: lists, k=4, exclude=excluded)
    others = np.arange(9) != 5
    np.testing.assert_array_equal(ids[others], expected[others])
    np.testing.assert_array_equal(ids[5], nearest_items(serving, asked, 4, exclude=excluded)[0][5])
    assert set(status) == {"cached"}
    assert "did not rank for 1 of 9 users. User 'user-5'" in caplog.text


def with_deadline(serving, recommender, deadline):
    cache = UserVectorCache(recommender.encoder_, deadline=deadline)
    return Retriever(cache, serving.index, recommender)


def test_within_the_deadline_the_second_stage_ranks(serving, recommender):
    quick = with_deadline(serving, recommender, 30.0)
    ids, scores, status = quick.recommend(USERS[:5], load, k=4)
    expected = serving.recommend(USERS[:5], load, k=4)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)
    assert set(status) == {"fresh"}


def test_late_histories_are_not_waited_for(serving, recommender):
    quick = with_deadline(serving, recommender, 0.05)
    quick.cache.warm(USERS[:1], load)
    goes_on = threading.Event()

    def hanging(ids):
        goes_on.wait(30)
        return load(ids)

    started = time.monotonic()
    ids, _, status = quick.recommend([USERS[0], USERS[1]], hanging, k=4)
    waited = time.monotonic() - started
    goes_on.set()
    assert waited < 10
    assert status.tolist() == ["cached", "fallback"]
    np.testing.assert_array_equal(ids[0], nearest_items(serving, USERS[:1], 4)[0][0])


def test_items_that_only_the_index_has_take_the_place_that_their_cosine_has(recommender, tmp_path):
    vectors = recommender.transform([LISTS[user] for user in USERS])
    new_ids = [f"new-{i}" for i in range(20)]
    grown = ITEMS.extend(vectors[:20] + 0.3 * RNG.normal(size=(20, 6)), new_ids)
    export_index(grown, tmp_path)
    index = open_index(tmp_path)
    serving = Retriever(UserVectorCache(recommender.encoder_), index, recommender)
    ids, scores, _ = serving.recommend(USERS, load, k=80)
    assert (np.diff(scores) <= 0).all()
    nearest, _ = index.search(vectors, 8, space_id=ITEMS.space_id)
    n_new = 0
    for user in range(len(USERS)):
        order = ids[user].tolist()
        assert sorted(order) == sorted([*IDS, *new_ids])
        near = nearest[user].tolist()
        for place, item in enumerate(near):
            if item in new_ids:
                nearer = sum(other in IDS for other in near[:place])
                above = [other for other in order[: order.index(item)] if other in IDS]
                assert len(above) == nearer
                n_new += 1
    assert n_new > 20
    # Limits leave out items, and do not move the others.
    allowed, _, _ = serving.recommend(USERS, load, k=5, allow=new_ids)
    out, _, _ = serving.recommend(USERS, load, k=40, exclude=[*IDS[:30], "new-3"])
    for user in range(len(USERS)):
        order = ids[user].tolist()
        assert allowed[user].tolist() == [item for item in order if item in new_ids][:5]
        left = [item for item in order if item not in {*IDS[:30], "new-3"}]
        assert out[user].tolist() == left[:40]


def test_neither_fit_nor_update_of_the_recommender_changes_a_retriever(tmp_path):
    encoder = DecayAverageUserEncoder(ITEMS)
    original = TwoStageRecommender(encoder, LogisticRegression(), n_candidates=8, random_state=0)
    original.fit(LOG)
    export_index(original, tmp_path)
    serving = Retriever(UserVectorCache(original.encoder_), open_index(tmp_path), original)
    before = serving.recommend(USERS, load, k=5)
    newer = Histories.from_lists([[IDS[50]] * 20] * len(USERS), user_ids=USERS)
    original.update(newer)
    np.testing.assert_array_equal(serving.recommend(USERS, load, k=5)[0], before[0])
    updated = Retriever(serving.cache, serving.index, original)
    assert (updated.recommend(USERS, load, k=5)[1] != before[1]).any()
    other_items = ItemEmbeddings(RNG.normal(size=(60, 6)), IDS[::-1])
    original.set_params(encoder=DecayAverageUserEncoder(other_items), n_candidates=3).fit(LOG)
    ids, scores, status = serving.recommend(USERS, load, k=5)
    np.testing.assert_array_equal(ids, before[0])
    np.testing.assert_array_equal(scores, before[1])
    assert set(status) == {"cached"}
    with pytest.raises(SpaceMismatchError):
        Retriever(serving.cache, serving.index, original)


def test_a_recommender_with_another_encoder_than_the_cache_is_refused(recommender, tmp_path):
    export_index(recommender, tmp_path)
    other = UserVectorCache(DecayAverageUserEncoder(ITEMS, decay=2.0).fit(LOG))
    with pytest.raises(ValueError, match=r"encoder.*Use UserVectorCache\(recommender.encoder_\)"):
        Retriever(other, open_index(tmp_path), recommender)


class SlowRanker(LogisticRegression):
    """A ranker that takes a while, whatever the number of candidates."""

    def decision_function(self, X):
        time.sleep(0.05)
        return super().decision_function(X)


def test_users_who_cannot_be_ranked_within_the_deadline_get_the_nearest_items(tmp_path, caplog):
    slow = TwoStageRecommender(
        DecayAverageUserEncoder(ITEMS), SlowRanker(), n_candidates=8, random_state=0
    ).fit(LOG)
    export_index(slow, tmp_path)
    patient = Retriever(UserVectorCache(slow.encoder_), open_index(tmp_path), slow)
    expected = patient.recommend(USERS, load, k=4)
    quick = with_deadline(patient, slow, 0.2)
    quick.cache.warm(USERS, load)
    started = time.monotonic()
    ids, scores, status = quick.recommend(USERS, load, k=4)
    # Users are ranked in parts, each a call of the ranker; one for each user would take seconds.
    assert time.monotonic() - started < 2
    assert set(status) == {"cached"}
    nearest = nearest_items(patient, USERS, 4)
    n_ranked = int((scores == expected[1]).all(axis=1).sum())
    assert 0 < n_ranked < len(USERS)
    np.testing.assert_array_equal(ids[:n_ranked], expected[0][:n_ranked])
    np.testing.assert_array_equal(ids[n_ranked:], nearest[0][n_ranked:])
    assert f"ranked for {n_ranked} of {len(USERS)} users by the deadline" in caplog.text


@pytest.mark.parametrize("has_recommender", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        lambda users, lists: Histories.from_lists(lists, user_ids=users),
        lambda users, lists: dict(zip(users, lists, strict=True)),
    ],
    ids=["histories", "dict"],
)
def test_limits_with_user_ids_reach_their_users(recommender, tmp_path, form, has_recommender):
    export_index(recommender, tmp_path)
    cache, index = UserVectorCache(recommender.encoder_), open_index(tmp_path)
    serving = Retriever(cache, index, recommender if has_recommender else None)
    asked = [USERS[5], USERS[2], USERS[9]]
    lists = [[IDS[row], IDS[row + 1], IDS[row + 2]] for row in (3, 30, 50)]
    for limit in ("exclude", "allow"):
        expected = serving.recommend(asked, load, k=3, **{limit: lists})
        labelled = form(asked[::-1], lists[::-1])
        found = serving.recommend(asked, load, k=3, **{limit: labelled})
        np.testing.assert_array_equal(found[0], expected[0])
    vectors = pd.DataFrame(recommender.transform(LOG[:3]), index=USERS[:3])
    lists = [[IDS[0]], [IDS[1]], [IDS[2]]]
    found, _ = index.search(vectors, 1, space_id=None, allow=form(USERS[2::-1], lists[::-1]))
    assert found[:, 0].tolist() == IDS[:3]
    found, _ = index.recommend(recommender, LOG[:3], 1, allow=form(USERS[2::-1], lists[::-1]))
    assert found[:, 0].tolist() == IDS[:3]
