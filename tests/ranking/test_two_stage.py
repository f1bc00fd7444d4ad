"""The second stage: no leak, exact updates, the whole catalogue, odd input."""

import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    RobustScaler,
    StandardScaler,
)

from skue import (
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    NDCGAtK,
    RecallAtK,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    as_histories,
    leave_last_out,
)
from skue.histories._splits import newest_instants
from skue.ranking import _training, _two_stage
from skue.ranking._counted_log import counted_log
from skue.ranking._counts import LogCounts
from skue.ranking._features import FEATURES
from skue.ranking._rankers import default_rankers, ranker_scores
from skue.ranking._training import _not_learned

N_ITEMS = 40


def shop(n_users=150, seed=0, n_events=12):
    """Users who come back to two items of their own, among items at random."""
    rng = np.random.default_rng(seed)
    lists, times = [], []
    for _ in range(n_users):
        own = rng.integers(N_ITEMS, size=2)
        n = int(rng.integers(3, n_events))
        lists.append(
            [
                int(rng.choice(own) if rng.random() < 0.6 else rng.integers(N_ITEMS))
                for _ in range(n)
            ]
        )
        times.append(sorted(float(t) * 86400 for t in rng.integers(0, 30, size=n)))
    ids = [f"u{i:03}" for i in range(n_users)]
    return Histories.from_lists(lists, timestamps=times, user_ids=ids)


ITEMS = ItemEmbeddings(np.random.default_rng(5).normal(size=(N_ITEMS, 6)))
ENCODER = DecayAverageUserEncoder(ITEMS)
LOG = shop()


def recommender(**parameters):
    parameters = {"n_candidates": 10, "random_state": 0} | parameters
    return TwoStageRecommender(ENCODER, **parameters)


@pytest.fixture(scope="module")
def fitted():
    return recommender(ranker=LogisticRegression()).fit(LOG)


def training_table_of(log, monkeypatch):
    """The table that the ranker is fitted on."""
    tables = []
    learn = _two_stage.training_table

    def keep(*arguments):
        tables.append(learn(*arguments))
        return tables[-1]

    monkeypatch.setattr(_two_stage, "training_table", keep)
    recommender(ranker=LogisticRegression()).fit(log)
    return tables[0]


def test_features_in_training_do_not_change_if_what_comes_after_the_queries_is_shuffled(
    monkeypatch,
):
    rows, held_out = newest_instants(LOG, 0.25, np.random.RandomState(0))
    assert len(rows) > 30
    assert held_out.sum() >= len(rows)
    codes = LOG.codes.copy()
    codes[held_out] = np.random.default_rng(0).permutation(codes[held_out])
    shuffled = Histories(
        codes, LOG.offsets, LOG.item_ids, timestamps=LOG.timestamps, user_ids=LOG.user_ids
    )
    before, after = training_table_of(LOG, monkeypatch), training_table_of(shuffled, monkeypatch)
    np.testing.assert_array_equal(before.users, after.users)
    np.testing.assert_array_equal(before.features, after.features)
    assert (before.chosen != after.chosen).any()


def test_a_log_without_any_pattern_cannot_be_predicted_in_validation():
    """Only a feature that knows the future could find the next of these random items."""
    rng = np.random.default_rng(3)
    lists = [rng.permutation(N_ITEMS)[: rng.integers(2, 6)].tolist() for _ in range(400)]
    model = recommender(n_candidates=N_ITEMS).fit(lists)
    # Of 40 items, the 10 best at random: the mean of 1 / log2(rank + 1), computed exactly.
    # Items of the history, at most 5 of 40, never come again, which is a pattern.
    most = np.sum(1 / np.log2(np.arange(2, 12))) / (N_ITEMS - 5)
    assert set(model.validation_scores_) == {"encoder", "additive", "voting"}
    n_tested = 100
    for score in model.validation_scores_.values():
        assert score < most + 3 * 0.25 / np.sqrt(n_tested)


def test_a_log_where_users_come_back_is_found_by_the_second_stage():
    model = recommender().fit(LOG)
    scores = model.validation_scores_
    assert model.second_stage_ == "additive"
    assert scores["additive"] > 1.1 * scores["encoder"]
    assert repr(model).endswith(f"with second stage {model.second_stage_!r}")


def test_scores_cover_the_catalogue_and_candidates_are_above_all_others(fitted):
    X = LOG[:20]
    table = fitted._scores(fitted._read(X))(0, 20)
    vectors = fitted.transform(X)
    cosines = vectors @ fitted.item_embeddings_.vectors.T
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    _, _, candidates = next(fitted._blocks(X, vectors, nearest))
    scores = ranker_scores(fitted.ranker_, fitted._scored(candidates)[0])
    others = 0
    for user in range(20):
        own = candidates.users == user
        rows = candidates.rows[own]
        np.testing.assert_array_equal(table[user, rows], scores[own])
        rest = np.setdiff1d(np.arange(N_ITEMS), rows)
        others += len(rest)
        assert table[user, rest].max(initial=-np.inf) < scores[own].min()
        np.testing.assert_array_equal(
            np.argsort(table[user, rest]), np.argsort(cosines[user, rest])
        )
    assert others > 100


@pytest.mark.parametrize("k", [3, N_ITEMS])
def test_recommend_sorts_the_scores_of_the_whole_catalogue(fitted, k):
    ids, scores = fitted.recommend(LOG[:10], k=k)
    table = fitted._scores(LOG[:10])(0, 10)
    np.testing.assert_array_equal(ids, np.argsort(-table, axis=1, kind="stable")[:, :k])
    np.testing.assert_allclose(scores, -np.sort(-table, axis=1)[:, :k], rtol=1e-5)


def test_one_user_alone_gets_the_same_as_in_a_batch(fitted):
    ids, scores = fitted.recommend(LOG[:30], k=8)
    for row in range(30):
        alone, own_scores = fitted.recommend(LOG[row : row + 1], k=8)
        np.testing.assert_array_equal(alone[0], ids[row])
        np.testing.assert_allclose(own_scores[0], scores[row], rtol=1e-4, atol=1e-5)


def test_limits_leave_the_order_of_the_other_items_as_it_is(fitted):
    rng = np.random.default_rng(0)
    X = LOG[:30]
    ranking, scores = fitted.recommend(X, k=N_ITEMS)
    own = [rng.integers(N_ITEMS, size=n) for n in rng.integers(0, 25, size=30)]
    limits = {
        "exclude": rng.integers(N_ITEMS, size=4),
        "allow": rng.choice(N_ITEMS, size=20, replace=False),
    }
    for name, items in (*limits.items(), *((name, own) for name in limits)):
        found, found_scores = fitted.recommend(X, k=9, **{name: items})
        for row in range(30):
            listed = np.isin(ranking[row], items[row] if items is own else items)
            left = ranking[row][listed == (name == "allow")][:9]
            n_left = len(left)
            np.testing.assert_array_equal(found[row, :n_left], left)
            assert (found[row, n_left:] == -1).all()
            expected = scores[row][np.isin(ranking[row], left)]
            np.testing.assert_allclose(found_scores[row, :n_left], expected, rtol=1e-5)


def test_metrics_agree_with_recommend(fitted):
    X, y = leave_last_out(LOG)
    for exclude_seen in (False, True):
        ids, _ = fitted.recommend(X, k=5, exclude_seen=exclude_seen)
        hits = np.mean([target in row for target, row in zip(y, ids, strict=True)])
        assert 0 < hits < 1
        assert RecallAtK(5, exclude_seen=exclude_seen)(fitted, X, y) == pytest.approx(hits)
    assert fitted.score(X, y) == RecallAtK(20)(fitted, X, y)
    assert 0 < NDCGAtK(5)(fitted, X, y) < 1


def test_it_stands_in_a_pipeline(fitted):
    steps = FunctionTransformer(as_histories), recommender(ranker=LogisticRegression())
    pipeline = make_pipeline(*steps).fit(LOG)
    X, y = leave_last_out(LOG)
    assert RecallAtK(5)(pipeline, X, y) == RecallAtK(5)(fitted, X, y)
    np.testing.assert_array_equal(pipeline.transform(X), fitted.transform(X))


def test_a_search_varies_encoder_ranker_and_candidates():
    X, y = leave_last_out(LOG)
    grid = {"encoder__decay": [0.0, 1.0], "ranker__C": [0.1], "n_candidates": [5, 10]}
    search = GridSearchCV(
        recommender(ranker=LogisticRegression()), grid, scoring=RecallAtK(5), cv=2
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert RecallAtK(5)(search, X, y) == RecallAtK(5)(search.best_estimator_, X, y)


def test_every_item_of_the_log_is_known_afterwards():
    rng = np.random.default_rng(1)
    lists = [(rng.integers(0, 30, 8) + 30 * rng.integers(0, 20)).tolist() for _ in range(60)]
    model = TwoStageRecommender(DecayAverageUserEncoder(), LogisticRegression(), random_state=0)
    assert set(model.fit(lists).item_embeddings_.ids.tolist()) == set(np.concatenate(lists))
    assert (model.counts_.popularity > 0).all()


def test_items_that_nothing_places_do_not_stop_a_fit_that_refuses_unknown_items():
    """The only item of a user has no neighbour in any history."""
    lists = [[3 * user, 3 * user + 1] * 3 for user in range(20)] + [[n] * 3 for n in range(90, 110)]
    encoder = DecayAverageUserEncoder(unknown_item="raise")
    model = TwoStageRecommender(encoder, LogisticRegression(), random_state=0).fit(lists)
    assert (model.item_embeddings_.lookup(np.arange(90, 110)) < 0).all()
    with pytest.raises(ValueError, match="not in item_embeddings_"):
        model.recommend([[90]])


def test_a_frozen_encoder_is_used_as_it_is():
    frozen = FrozenEstimator(ENCODER.fit(LOG[:50]))
    model = TwoStageRecommender(frozen, LogisticRegression(), random_state=0).fit(LOG)
    np.testing.assert_array_equal(model.transform(LOG[:3]), frozen.estimator.transform(LOG[:3]))


def test_the_second_stage_learns_from_the_events_that_a_two_tower_holds_out():
    log = Histories.from_lists([list(LOG[row]) for row in range(len(LOG))])
    encoder = TwoTowerUserEncoder(ITEMS, max_iter=1, random_state=0).fit(log)
    held_out = _not_learned(encoder, log, np.random.RandomState(0), is_frozen=False)
    recognised = _not_learned(encoder, log, np.random.RandomState(0), is_frozen=True)
    assert not (recognised & ~held_out).any()
    assert recognised.sum() > 0.5 * held_out.sum()
    rows = np.flatnonzero(np.add.reduceat(held_out, log.offsets[:-1]))
    assert len(rows) == round(0.1 * len(log))
    assert encoder.n_examples_ == np.maximum(log.lengths - 1, 0).sum() - held_out.sum()
    for row in rows:
        own = held_out[log.offsets[row] : log.offsets[row + 1]]
        assert not own[0]
        assert own[-1]
        assert (np.diff(own.astype(int)) >= 0).all()


def test_a_frozen_two_tower_gives_the_same_as_one_that_is_fitted_inside():
    encoder = TwoTowerUserEncoder(ITEMS, max_iter=1, random_state=0)
    inside = TwoStageRecommender(encoder, LogisticRegression(), random_state=0).fit(LOG)
    frozen = FrozenEstimator(encoder.fit(LOG))
    beside = TwoStageRecommender(frozen, LogisticRegression(), random_state=0).fit(LOG)
    for one, other in zip(inside.recommend(LOG), beside.recommend(LOG), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_frozen_two_tower_that_learned_from_all_events_is_warned_about():
    encoder = TwoTowerUserEncoder(ITEMS, max_iter=1, early_stopping=False, random_state=0)
    frozen = FrozenEstimator(encoder.fit(LOG))
    with pytest.warns(UserWarning, match="has learned from all events"):
        TwoStageRecommender(frozen, LogisticRegression(), random_state=0).fit(LOG)


def test_a_copy_without_the_log_recommends_the_same_and_holds_no_user(fitted):
    served = fitted.without_log()
    assert b"u007" in pickle.dumps(fitted)
    assert b"u007" not in pickle.dumps(served)
    np.testing.assert_array_equal(served.recommend(LOG, k=5)[0], fitted.recommend(LOG, k=5)[0])
    with pytest.raises(ValueError, match="Call update of the recommender that without_log"):
        served.update(LOG)
    assert hasattr(fitted, "log_")


def test_explain_lists_what_recommend_does_for_every_k():
    pytest.importorskip("pandas")
    lists = [[1, 2], [3, 4], [5, 6]]
    with pytest.warns(UserWarning, match="the encoder ranks alone"):
        alone = recommender(n_candidates=5).fit(lists)
    found, _ = alone.recommend([[1, 2]], 12)
    assert alone.explain([[1, 2]], k=12)["item"].tolist() == found[0].tolist()
    model = recommender(n_candidates=3, ranker=LogisticRegression()).fit(LOG)
    listed = model.explain(LOG[:1], k=N_ITEMS)["item"].tolist()
    assert 3 < len(listed) < N_ITEMS
    assert listed == model.recommend(LOG[:1], k=N_ITEMS)[0][0, : len(listed)].tolist()


def test_a_ranker_may_have_probabilities_alone():
    model = recommender(ranker=GaussianNB()).fit(LOG)
    assert model.second_stage_ == "given"
    assert np.isfinite(model.recommend(LOG[:5], k=5)[1]).all()


def test_histories_too_short_to_hold_out_leave_the_encoder_alone_with_a_warning():
    lists = [[item] for item in range(N_ITEMS)]
    with pytest.warns(UserWarning, match="the encoder ranks alone"):
        model = recommender().fit(lists)
    assert model.second_stage_ == "encoder"
    ids, _ = model.recommend(lists, k=3)
    np.testing.assert_array_equal(ids, model.encoder_.recommend(lists, k=3)[0])


def test_users_without_a_known_event_get_finite_scores(fitted):
    unknown = Histories.from_lists([[], [999]], timestamps=[[], [1.0]])
    ids, scores = fitted.recommend(unknown, k=N_ITEMS)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(ids[0], ids[1])


def cut_in_two(log, day):
    early = log.timestamps < day * 86400
    return log._keep_events(early), log._keep_events(~early)


def assert_same_counts(one, other):
    names = "popularity", "lately", "return_rate", "returns_per_instant", "return_gap"
    for name in (*names, "by_popularity"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.transitions.toarray(), other.transitions.toarray())


def test_updates_are_the_same_as_counting_all_events_anew():
    first, rest = cut_in_two(LOG, 15)
    second, third = cut_in_two(rest, 22)
    model = recommender(ranker=LogisticRegression()).fit(first)
    coefficients, vectors = model.ranker_.coef_.copy(), model.transform(LOG[:5])
    order = np.random.default_rng(0).permutation(len(LOG))
    model.update(second[order]).update(third)
    assert len(second.codes) > 100 < len(third.codes)
    assert_same_counts(model.counts_, LogCounts(ITEMS, counted_log(ITEMS, LOG)))
    np.testing.assert_array_equal(model.ranker_.coef_, coefficients)
    np.testing.assert_array_equal(model.transform(LOG[:5]), vectors)


def test_an_update_leaves_out_events_older_than_counted_ones_and_names_one():
    early, _ = cut_in_two(LOG, 15)
    model = recommender(ranker=LogisticRegression()).fit(early)
    newest = {
        user: early.timestamps[stop - 1]
        for user, stop in zip(early.user_ids, early.offsets[1:], strict=True)
    }
    at = np.repeat([newest[user] for user in LOG.user_ids], LOG.lengths)
    again = LOG._keep_events(LOG.timestamps != at)
    n_older = int((LOG.timestamps < at).sum())
    assert 100 < n_older < len(again.codes)
    with pytest.warns(UserWarning, match=rf"{n_older} of {len(again.codes)} are not, .* at"):
        model.update(again)
    assert_same_counts(model.counts_, LogCounts(ITEMS, counted_log(ITEMS, LOG)))


def test_one_wrong_clock_in_fit_is_reported_and_counted_as_of_the_end():
    wrong = Histories.from_lists([[3]], timestamps=[[4.07e9]], user_ids=["phone"])
    frame = LOG.to_frame(), wrong.to_frame()
    log = Histories.from_frame(
        {name: np.concatenate([part[name] for part in frame]) for name in ("user", "item", "time")},
        user="user",
        item="item",
        time="time",
        time_unit="s",
    )
    clean = recommender(ranker=LogisticRegression()).fit(LOG)
    with pytest.warns(UserWarning, match="1 events are later than .* of user 'phone'"):
        model = recommender(ranker=LogisticRegression()).fit(log)
    others = np.arange(N_ITEMS) != 3
    np.testing.assert_allclose(model.counts_.lately[others], clean.counts_.lately[others])
    assert model.counts_.lately[3] == pytest.approx(clean.counts_.lately[3] + 1)


def without_times(log):
    return Histories(log.codes, log.offsets, log.item_ids, user_ids=log.user_ids)


def test_an_update_without_times_takes_repeats_and_warns_if_they_look_like_whole_histories():
    early, late = map(without_times, cut_in_two(LOG, 15))
    model = recommender(ranker=LogisticRegression()).fit(early)
    with pytest.warns(UserWarning, match="Most histories of update start with all events"):
        model.update(early)
    assert len(model.log_.codes) == 2 * len(early.codes)
    model = recommender(ranker=LogisticRegression()).fit(early).update(late)
    assert_same_counts(model.counts_, LogCounts(ITEMS, counted_log(ITEMS, without_times(LOG))))


def test_forgotten_users_leave_the_counts_that_the_others_alone_give():
    model = recommender(ranker=LogisticRegression()).fit(LOG)
    coefficients = model.ranker_.coef_.copy()
    gone = LOG.user_ids[[0, 5, 149]]
    model.forget(gone)
    others = LOG[~np.isin(LOG.user_ids, gone)]
    assert len(others) == len(LOG) - 3
    assert_same_counts(model.counts_, LogCounts(ITEMS, counted_log(ITEMS, others)))
    assert not np.isin(gone, model.log_.user_ids).any()
    np.testing.assert_array_equal(model.ranker_.coef_, coefficients)


def test_a_ranker_learns_from_all_held_out_candidates_and_some_of_the_others(monkeypatch):
    monkeypatch.setattr(_training, "MOST_CANDIDATES", 30)
    chosen = np.arange(100) % 10 == 3
    rows = _training.learned_rows(chosen, np.random.RandomState(0))
    assert len(rows) == 30
    assert (np.diff(rows) > 0).all()
    assert chosen[rows].sum() == 10
    every = _training.learned_rows(chosen[:30], np.random.RandomState(0))
    assert every.tolist() == list(range(30))


def test_two_histories_of_one_user_in_an_update_are_one():
    times = [[29.3 * 86400], [29.2 * 86400, 29.4 * 86400]]
    newer = Histories.from_lists([[1], [2, 5]], timestamps=times, user_ids=["u000", "u000"])
    model = recommender(ranker=LogisticRegression()).fit(LOG).update(newer)
    row = model.log_.user_ids.tolist().index("u000")
    assert model.log_[row].tolist()[-3:] == [2, 1, 5]
    assert len(model.log_) == len(LOG)


def test_an_update_without_user_ids_is_an_error():
    with pytest.raises(ValueError, match="update needs user_ids"):
        newer = Histories.from_lists([[1, 2]], timestamps=[[3e6, 3e6]])
        recommender(ranker=LogisticRegression()).fit(LOG).update(newer)
    lists = [row.tolist() for row in LOG]
    with pytest.raises(ValueError, match=r"histories of fit have none"):
        recommender(ranker=LogisticRegression()).fit(lists).update(LOG)


def test_explain_lists_the_features_of_each_recommendation(fitted):
    pytest.importorskip("pandas")
    table = fitted.explain(LOG[:4], k=3)
    ids, scores = fitted.recommend(LOG[:4], k=3)
    assert list(table.columns[:4]) == ["user", "item", "score", "rank"]
    assert list(table.columns[4 : 4 + len(FEATURES)]) == fitted.feature_names_in_ranker_.tolist()
    np.testing.assert_array_equal(table["item"].to_numpy().reshape(4, 3), ids)
    np.testing.assert_array_equal(table["score"].to_numpy().reshape(4, 3), scores)
    assert table["user"].tolist() == np.repeat(LOG.user_ids[:4], 3).tolist()


def test_an_item_that_was_just_disliked_is_not_learned_as_the_next_one():
    rng = np.random.default_rng(0)
    lists = [rng.choice(N_ITEMS, size=6, replace=False).tolist() for _ in range(200)]
    lists = [[*row, row[0]] for row in lists]
    weights = [[1.0] * 6 + [-1.0]] * 200
    times = [list(range(7))] * 200
    log = Histories.from_lists(lists, timestamps=times, weights=weights)
    ranker = make_pipeline(StandardScaler(), LogisticRegression())
    model = recommender(ranker=ranker).fit(log)
    ids, _ = model.recommend(log, k=1)
    assert np.mean(ids[:, 0] == [row[0] for row in lists]) < 0.5


@pytest.mark.parametrize(
    "steps",
    [
        [SelectKBest(k=5)],
        [StandardScaler(), PCA(5)],
    ],
)
def test_there_are_no_shares_if_a_step_mixes_or_drops_features(steps):
    pytest.importorskip("pandas")
    model = recommender(ranker=make_pipeline(*steps, LogisticRegression())).fit(LOG)
    table = model.explain(LOG[:4], k=3)
    assert list(table.columns[4:]) == model.feature_names_in_ranker_.tolist()


@pytest.mark.parametrize(
    "ranker",
    [
        make_pipeline("passthrough", LogisticRegression()),
        make_pipeline(RobustScaler(), LogisticRegression()),
        default_rankers(np.random.RandomState(0))["additive"],
    ],
    ids=["linear", "scaled", "additive"],
)
def test_the_shares_of_features_add_up_to_the_score(ranker):
    pytest.importorskip("pandas")
    model = recommender(ranker=ranker).fit(LOG)
    table = model.explain(LOG[:4], k=3)
    shares = table[[f"share of {name}" for name in FEATURES]].sum(axis=1)
    np.testing.assert_allclose(
        shares + model.ranker_[-1].intercept_[0], table["score"], rtol=1e-4, atol=1e-5
    )
