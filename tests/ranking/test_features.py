"""Features of candidates, each against a slow loop over the events."""

import numpy as np
import pytest

from skue import Histories, ItemEmbeddings
from skue.ranking._candidates import candidates_of
from skue.ranking._counts import LogCounts, liked_events
from skue.ranking._features import FEATURES, feature_table, ranks_of_user

RNG = np.random.default_rng(0)
N_ITEMS = 9
DAY = 86400.0
LISTS = [[int(i) for i in RNG.integers(N_ITEMS, size=n)] for n in (0, 1, 2, 5, 9, 14, 14)]
TIMES = [sorted(float(t) * DAY for t in RNG.integers(0, 7, size=len(row))) for row in LISTS]
ITEMS = ItemEmbeddings(RNG.normal(size=(N_ITEMS, 4)))
COSINES = RNG.uniform(-1, 1, size=(len(LISTS), N_ITEMS)).astype(np.float32)
HISTORIES = Histories.from_lists(LISTS, timestamps=TIMES)
COUNTS = LogCounts(ITEMS, HISTORIES)
EVENTS = liked_events(ITEMS, HISTORIES)
TRANSITIONS = COUNTS.transition_scores(EVENTS).toarray()


def candidates(n_nearest=2, n_more=1, histories=HISTORIES):
    nearest = np.argsort(-COSINES, axis=1)[:, :n_nearest]
    # With unit vectors as items, the user vectors are the cosines.
    vectors = COSINES, np.eye(N_ITEMS, dtype=np.float32)
    return candidates_of(nearest, *vectors, liked_events(ITEMS, histories), COUNTS, n_more)


def test_candidates_are_the_nearest_the_likeliest_the_most_popular_and_the_own_items():
    found = candidates()
    popularity = [sum(item in row for row in LISTS) for item in range(N_ITEMS)]
    for user, row in enumerate(LISTS):
        expected = set(np.argsort(-COSINES[user])[:2])
        if TRANSITIONS[user].any():
            expected |= {int(np.argmax(TRANSITIONS[user]))}
        expected |= {int(np.argmax(popularity))} | set(row)
        assert set(found.rows[found.users == user]) == expected


def slow_features(user, item, chosen):
    """All features of a candidate, from the definitions."""
    events = [(i, t / DAY) for i, t in zip(LISTS[user], TIMES[user], strict=True)]
    days = sorted({t for _, t in events}, reverse=True)
    own = [t for i, t in events if i == item]
    newest = days[0] if days else 0.0
    ages = [days.index(t) for t in own]
    instants = sorted(set(ages))
    span = instants[-1] - instants[0] if own else 0
    new = [other for other in chosen if other not in LISTS[user]]
    popular = sum(item in row for row in LISTS)
    end = max(t for row in TIMES for t in row)
    lately = sum(
        0.5 ** ((end - t) / DAY / 30)
        for row, times in zip(LISTS, TIMES, strict=True)
        for i, t in zip(row, times, strict=True)
        if i == item
    )
    pairs = [(u, i) for u, row in enumerate(LISTS) for i in set(row)]

    def comes_back(u, i):
        return len({t for j, t in zip(LISTS[u], TIMES[u], strict=True) if j == i}) > 1

    def ages_of(u, i):
        newer = sorted({*TIMES[u]}, reverse=True)
        return {newer.index(t) for j, t in zip(LISTS[u], TIMES[u], strict=True) if j == i}

    def pace_and_gap(pairs):
        ages = [ages_of(*pair) for pair in pairs]
        returns, first = sum(len(own) - 1 for own in ages), sum(max(own) for own in ages)
        return returns, first, first - sum(min(own) for own in ages)

    returns, first, gaps = pace_and_gap(pairs)
    pace, usual = returns / first, gaps / returns
    returns, first, gaps = pace_and_gap([(u, i) for u, i in pairs if i == item])
    pace, usual = (returns + 50 * pace) / (first + 50), (gaps + 5 * usual) / (returns + 5)
    mean = sum(comes_back(*pair) for pair in pairs) / len(pairs)
    back = sum(comes_back(u, i) for u, i in pairs if i == item)
    returns = len(instants) - 1
    gap = (span + 3 * usual) / (returns + 3)
    best = max((COSINES[user, i] for i in new), default=0.0)
    return {
        "cosine": COSINES[user, item],
        "cosine_rank": np.log1p(sum(COSINES[user, i] > COSINES[user, item] for i in new)),
        "cosine_gap": best - COSINES[user, item],
        "own_count": np.log1p(len(own)),
        "own_share": len(own) / max(len(events), 1),
        "own_decayed_count": np.log1p(sum(np.exp(-age / 5) for age in ages)),
        "own_instants": np.log1p(len(instants)),
        "own_instant_share": len(instants) / (len(days) + 1),
        "own_age": np.log1p(min(ages) if own else len(days)),
        "own_days": np.log1p(newest - max(own) if own else newest - min(days, default=0.0)),
        "own_rate": np.log((returns + 10 * pace) / (max(ages) + 10) + 1e-4) if own else 0.0,
        "own_overdue": np.log((min(ages) + 1) / (gap + 1)) if own else 0.0,
        "is_new": float(not own),
        "return_rate": (back + 5 * mean) / (popular + 5) if own else 0.0,
        "popularity": np.log1p(popular),
        "popularity_lately": np.log1p(lately),
        "trend": np.log((lately + 1) / (popular + 1)),
        "transition": np.log(TRANSITIONS[user, item] + 1e-3),
        "transition_rank": np.log1p(
            sum(TRANSITIONS[user, i] > TRANSITIONS[user, item] for i in new)
        ),
        "history_length": np.log1p(len(events)),
        "history_instants": np.log1p(len(days)),
        "history_breadth": len({i for i, _ in events}) / max(len(events), 1),
    }


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_agrees_with_a_slow_loop(name):
    found = candidates()
    table = FEATURES[name](found)
    assert len(table) > 20
    for at, (user, item) in enumerate(zip(found.users, found.rows, strict=True)):
        chosen = found.rows[found.users == user]
        np.testing.assert_allclose(table[at], slow_features(user, item, chosen)[name], atol=1e-6)


def test_the_slow_loop_knows_all_features_in_order():
    assert list(slow_features(3, 0, [0])) == list(FEATURES)
    assert feature_table(candidates()).shape[1] == len(FEATURES)


def test_without_times_every_event_is_an_instant():
    histories = Histories.from_lists([[4, 4, 1], *([[]] * 6)])
    found = candidates(histories=histories)
    at = np.flatnonzero((found.users == 0) & (found.rows == 4))[0]
    assert FEATURES["own_instants"](found)[at] == np.log1p(2)
    assert FEATURES["own_age"](found)[at] == np.log1p(1)
    assert FEATURES["own_days"](found)[at] == 0


def test_disliked_events_are_not_counted():
    liked = Histories.from_lists([[1, 2]])
    mixed = Histories.from_lists([[1, 3, 2]], weights=[[1.0, -1.0, 0.5]])
    first, second = LogCounts(ITEMS, liked), LogCounts(ITEMS, mixed)
    np.testing.assert_array_equal(first.popularity, second.popularity)
    np.testing.assert_array_equal(first.transitions.toarray(), second.transitions.toarray())


def test_ranks_are_counted_within_each_user():
    ranks = ranks_of_user(np.array([0, 0, 0, 2, 2]), np.array([0.1, 0.9, 0.5, 3.0, 4.0]))
    assert ranks.tolist() == [2, 0, 1, 1, 0]


def test_an_empty_log_has_finite_counts():
    counts = LogCounts(ITEMS, Histories.from_lists([[], []]))
    for values in (
        counts.popularity,
        counts.lately,
        counts.return_rate,
        counts.returns_per_instant,
        counts.return_gap,
    ):
        assert np.isfinite(values).all()
