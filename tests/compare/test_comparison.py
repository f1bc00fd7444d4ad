"""Splits, intervals and the verdict."""

from types import SimpleNamespace

import joblib
import numpy as np
import pytest

from skue import Histories, UserVectorCache
from skue.compare._command import _about
from skue.compare._comparison import Comparison, Row, half_life, paired_interval
from skue.compare._contenders import LastItem
from skue.compare._split import split_log, with_at_most


def test_last_item_ranks_all_items_of_the_last_instant_first():
    train = [["a", "a", "a", "b", "b", "c", "d"]]
    query = Histories.from_lists([["a", "c", "d"]], timestamps=[[1, 2, 2]])
    ids, _ = LastItem().fit(train).recommend(query, k=4)
    assert set(ids[0, :2]) == {"c", "d"}
    assert ids[0, 2:].tolist() == ["a", "b"]


def test_the_interval_agrees_with_a_plain_bootstrap():
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 2, 500) * 1.0, rng.integers(0, 2, 500) * 1.0
    difference, low, high = paired_interval(ours, theirs)
    assert difference == pytest.approx(np.mean(ours - theirs))
    means = [np.mean((ours - theirs)[rng.integers(0, 500, 500)]) for _ in range(4000)]
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=0.006)


def test_the_last_instant_is_held_out_where_there_are_times():
    split = split_log(Histories.from_lists([[1, 2, 3]], timestamps=[[1, 5, 5]]), "last")
    assert split.held_out[0].tolist() == [2, 3]
    assert split.simultaneous_share == 1.0


def test_a_large_log_is_scored_on_some_users_and_learned_from_all():
    histories = Histories.from_lists([[u, u + 1, u + 2] for u in range(50)], user_ids=range(50))
    split = with_at_most(20, split_log(histories, "last"))
    assert len(split.queries) == len(split.held_out) == 20
    assert split.n_not_scored == 30
    assert len(split.train) == 50
    # Each drawn user keeps their own held-out item.
    assert split.held_out.tolist() == (split.queries.user_ids + 2).tolist()
    assert with_at_most(50, split) is split


def comparison(explores=(0.0, 0.2, 0.2), n_users=400, **recalls):
    rng = np.random.default_rng(0)
    per_user = {
        name: (rng.permutation(n_users) < n_users * recall).astype(float)
        for name, recall in recalls.items()
    }
    rows = [
        Row(name, name != "ranker", {10: values.mean()}, {}, 0, explore, 0, 0, {}, 0, 0, 2500.0)
        for (name, values), explore in zip(per_user.items(), explores, strict=False)
    ]
    made = Comparison.__new__(Comparison)
    made.names, made.ks, made.items = [], [10], range(1000)
    made.rows, made.per_user = rows, per_user
    made.row("ranker").recommend_microseconds = 10.0
    made.split = SimpleNamespace(queries=range(n_users), held_out=np.arange(n_users))
    return made


def test_an_encoder_clearly_above_the_ranker_is_shipped():
    assert comparison(ranker=0.1, average=0.5).verdict().startswith("Ship 'average'")


def test_the_simplest_of_equal_encoders_is_shipped():
    assert comparison(ranker=0.1, average=0.5, tower=0.5).verdict().startswith("Ship 'average'")


def test_the_sentence_names_the_best_encoder_if_a_simpler_one_is_shipped():
    sentence = comparison(ranker=0.1, average=0.5, tower=0.51).verdict()
    assert "Ship 'average': recall@10 0.500, not significantly below 'tower' 0.510" in sentence


@pytest.mark.parametrize(("ranker", "average"), [(0.0, 1.0), (1.0, 0.0)])
def test_a_few_users_do_not_decide(ranker, average):
    for n_users in (1, 19):
        sentence = comparison(n_users=n_users, ranker=ranker, average=average).verdict()
        assert sentence.startswith(f"There is no best contender: {n_users} user")
    sentence = comparison(n_users=20, ranker=ranker, average=average).verdict()
    assert sentence.startswith("Ship ")


@pytest.mark.parametrize("explore", [0.1, 0.4, float("nan")])
def test_a_ranker_clearly_above_all_encoders_is_the_one_thing_to_ship(explore):
    sentence = comparison((0.1, explore), ranker=0.6, average=0.2).verdict()
    assert sentence.startswith("Ship 'ranker': no encoder is as good")


def test_the_ranker_is_shipped_if_the_difference_is_not_significant():
    assert "do not differ significantly" in comparison(ranker=0.3, average=0.3).verdict()


@pytest.mark.parametrize(("recall", "found"), [(1.0, "all find the same"), (0.0, "none finds any")])
def test_nothing_is_shipped_if_all_contenders_find_the_same(recall, found):
    sentence = comparison(ranker=recall, average=recall).verdict()
    assert sentence.startswith(f"There is no best contender: {found} held-out item")
    assert f"(recall@10 {recall:.3f}). Give a longer log, or try another k with -k" in sentence


def test_an_encoder_that_may_equal_the_ranker_is_preferred_to_a_simpler_one_below_it():
    # Of 400 users 12, 2 and 7: the encoders may be equal, and so may the tower and the ranker.
    sentence = comparison(ranker=0.03, average=0.005, tower=0.0175).verdict()
    assert sentence.startswith("'tower' and 'ranker' do not differ significantly")


def test_an_encoder_above_the_ranker_is_preferred_to_a_simpler_one_that_may_equal_it():
    # 40, 52 and 64: the average may be equal to either, the tower is above the ranker.
    sentence = comparison(ranker=0.1, average=0.13, tower=0.16).verdict()
    assert sentence.startswith("Ship 'tower'")


def test_the_gain_is_told_in_people_with_its_interval_and_its_cost():
    made = comparison(ranker=0.1, average=0.5)
    _, low, high = paired_interval(made.per_user["average"], made.per_user["ranker"])
    assert made.plain_words() == (
        "With 'average', 400 more of 1,000 people find what they chose next among 10 "
        f"recommendations than with 'ranker' ({1000 * low:.0f} to {1000 * high:.0f} more). "
        "Recommending takes 2.5 ms a person in place of 0.01."
    )
    assert made.shipped == "average"


def test_the_gain_of_a_ranker_is_told_in_people():
    made = comparison(ranker=0.6, average=0.2)
    assert made.plain_words().startswith("With 'ranker', 400 more of 1,000 people find")
    assert made.plain_words().endswith("Recommending takes 0.01 ms a person in place of 2.5.")
    assert made.shipped == "ranker"


def test_a_gain_that_may_be_chance_is_told_as_such():
    made = comparison(ranker=0.3, average=0.31)
    _, low, high = paired_interval(made.per_user["average"], made.per_user["ranker"])
    assert low < 0 < high
    likely = f"(between {-1000 * low:.0f} fewer and {1000 * high:.0f} more, so it may be chance)"
    assert likely in made.plain_words()
    assert made.shipped == "ranker"


def test_what_a_better_encoder_that_is_not_shipped_would_add_is_told():
    said = comparison(ranker=0.1, average=0.5, tower=0.51).plain_words()
    assert said.endswith(
        "'tower' finds 10 more of 1,000 than 'average', which may be chance, and takes 2.5 ms."
    )


def test_a_small_gain_is_not_told_as_0():
    made = comparison(n_users=10_000, ranker=0.0, average=0.0008)
    assert made.plain_words().startswith("With 'average', 80 more of 100,000 people find")


def test_with_several_held_out_items_the_gain_is_told_in_items():
    made = comparison(ranker=0.1, average=0.5)
    made.split.held_out = np.array([np.arange(2 + n % 2) for n in range(400)], dtype=object)
    said = made.plain_words()
    assert "400 more of 1,000 items that people chose next are among their 10 recommenda" in said
    assert "more, as a mean over people)" in said


@pytest.mark.parametrize("given", [{"n_users": 19, "average": 1.0}, {"average": 0.0}])
def test_nothing_is_told_in_people_if_there_is_no_best_contender(given):
    assert comparison(ranker=0.0, **given).plain_words() == ""


def test_the_lists_of_all_contenders_are_measured_by_the_same_item_vectors(small):
    k, queries = small.ks[0], small.split.queries
    for contender in small.encoders:
        encoder, row = contender.estimator, small.row(contender.name)
        ids, _ = encoder.recommend(queries, k=k, exclude_seen=small.exclude_seen)
        vectors = small.items.vectors[small.items.lookup(ids.ravel())].reshape(*ids.shape, -1)
        cosines = np.einsum("uid,ujd->uij", vectors, vectors)[:, ~np.eye(k, dtype=bool)]
        assert row.similarity == pytest.approx(cosines.mean(), abs=1e-5)
        assert row.coverage == len(np.unique(ids)) / len(small.items)
        assert 0 < row.average_precision <= row.recall[k]
        assert row.novelty > 0


LIKES = Histories.from_lists(
    [["a", "b", "c"], ["a", "b", "a", "c"], ["a"], [], ["b", "c", "d"]],
    weights=[[1, 1, -1], [1, 1, -1, 0], [-1], [], [1, -1, 1]],
)


def test_dislikes_are_not_held_out():
    split = split_log(LIKES, "last")
    assert [row.tolist() for row in split.queries] == [["a"], ["a"], ["b", "c"]]
    assert split.held_out.tolist() == ["b", "b", "d"]
    assert split.has_dislikes
    assert split.left_out["have no event with a positive weight"] == 2


def test_dislikes_are_not_held_out_after_a_cutoff():
    log = Histories.from_lists(
        [["a", "b", "c", "d"], ["a", "b", "c", "d"], ["a"] * 30],
        timestamps=[[1, 2, 2, 3], [1, 1, 2, 3], [1] * 30],
        weights=[[1, -1, 1, -1], [1, -1, -1, 1], [1] * 30],
    )
    split = split_log(log, "time")
    assert [row.tolist() for row in split.queries] == [["a"], ["a", "b"]]
    assert [row.tolist() for row in split.held_out] == [["c"], ["d"]]


def test_the_weight_of_an_event_is_told_for_every_kind_of_average():
    found = {"decay": 0.1, "repeat_exponent": 1.0, "age_unit": "step"}
    assert half_life(found) == "an event loses half of its weight in 6.93 events"
    assert half_life(found | {"decay": 0.0}).startswith("all events have the same weight")
    damped = found | {"decay": 0.0, "repeat_exponent": 0.5}
    assert half_life(damped).endswith("repeats of an item are damped")
    assert "however often and whenever chosen" in half_life(found | {"repeat_exponent": 0.0})


def test_a_wrong_clock_is_told_and_does_not_move_the_cut_off():
    times = [[1.7e9 + 86_400 * day for day in range(8)] for _ in range(30)]
    wrong = [*times[:-1], [*times[-1][:-1], 4.07e9]]
    lists = [[day % 5 for day in range(8)] for _ in range(30)]
    right, other = (Histories.from_lists(lists, timestamps=each) for each in (times, wrong))
    assert split_log(right, "time").cutoff == split_log(other, "time").cutoff
    assert _about("log", right, [])["late"] == ""
    assert _about("log", other, [])["late"].startswith("1 event(s) are later than 2023-11-2")


def test_a_recommender_that_shares_the_two_tower_can_be_served(small, tmp_path):
    two_tower, two_stage = small.contenders[-2:]
    assert two_stage.first_stage is two_tower
    joblib.dump(two_stage.estimator, tmp_path / two_stage.file)
    recommender = joblib.load(tmp_path / "two-stage.joblib")
    cache = UserVectorCache(recommender.encoder_)
    vectors, status = cache.get(["u0", "u1"], lambda users: small.split.queries[:2])
    assert status.tolist() == ["fresh", "fresh"]
    np.testing.assert_allclose(
        vectors, two_tower.estimator.transform(small.split.queries[:2]), atol=1e-6
    )
