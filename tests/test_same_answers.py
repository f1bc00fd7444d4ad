"""Any two ways to hand in the same users give the same answers."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skue import (
    MRR,
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    MixedUserEncoder,
    NDCGAtK,
    OwnFrequencyRanker,
    PopularityRanker,
    RecallAtK,
    RetrievalScores,
    SimilarUsersRanker,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    load_interactions,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:No two items appear together"),
    pytest.mark.filterwarnings("ignore:X has no (timestamps|weights)"),
    pytest.mark.filterwarnings("ignore:.*No newest instant could be held out"),
]
# A long search is one that the command line asks for.
N_EXAMPLES = settings().max_examples if settings().max_examples > 100 else 20
N_ITEMS = 6


class Log:
    """Users in the order of their ids: their items, oldest first, with times and weights or None.

    Parameters
    ----------
    users : dict of user id to list of items
    seed : int
    with_times, with_weights : bool
    """

    def __init__(self, users, seed, *, with_times=False, with_weights=False):
        self.users = dict(sorted(users.items()))
        self.rng = np.random.default_rng(seed)
        self.ids, self.lists = list(self.users), list(self.users.values())
        sizes = [len(items) for items in self.lists]
        self.times = self.weights = None
        if with_times:
            self.times = [
                sorted(self.rng.permutation(99)[:n].astype(float).tolist()) for n in sizes
            ]
        if with_weights:
            self.weights = [self.rng.choice([1.0, 2.0, 0.5, -1.0], n).tolist() for n in sizes]
        self.is_plain = not (with_times or with_weights)

    def rows(self):
        """One line per event, in random order. Without times, the lines of a user stay in order."""
        table = pd.DataFrame(
            {
                "user": np.repeat(np.array(self.ids, dtype=object), [len(x) for x in self.lists]),
                "item": [item for items in self.lists for item in items],
            }
        )
        for name, columns in (("time", self.times), ("weight", self.weights)):
            if columns is not None:
                table[name] = [value for own in columns for value in own]
        order = self.rng.permutation(len(table))
        if self.times is None:
            of_user = {
                user: iter(np.flatnonzero((table["user"] == user).to_numpy())) for user in self.ids
            }
            order = [next(of_user[user]) for user in table["user"].to_numpy()[order]]
        return table.iloc[order].infer_objects()

    def names(self):
        return {
            "time": None if self.times is None else "time",
            "weight": None if self.weights is None else "weight",
        }

    def columns(self):
        given = {"items": self.lists, "timestamps": self.times, "weights": self.weights}
        return {name: column for name, column in given.items() if column is not None}


def batch(log, order=slice(None)):
    at = np.arange(len(log.ids))[order]
    pick = lambda column: None if column is None else [column[row] for row in at]  # noqa: E731
    return Histories.from_lists(
        pick(log.lists),
        timestamps=pick(log.times),
        weights=pick(log.weights),
        user_ids=pick(log.ids),
    )


def of_a_larger_log(log):
    """Rows of a batch that has other users and other items, too."""
    others = [log.lists[0], [max(log.lists[0]) * 2]]
    more = lambda column: None if column is None else [[1.0] * len(x) for x in others] + column  # noqa: E731
    larger = Histories.from_lists(
        others + log.lists, timestamps=more(log.times), weights=more(log.weights)
    )
    chosen = larger[2:]
    return Histories(
        chosen.codes,
        chosen.offsets,
        chosen.item_ids,
        timestamps=chosen.timestamps,
        weights=chosen.weights,
        user_ids=log.ids,
    )


def saved_and_mapped(log):
    path = Path(tempfile.mkdtemp()) / "log.npz"
    batch(log).save(path)
    return Histories.load(path, mmap=True)


def text_file(log):
    path = Path(tempfile.mkdtemp()) / "log.csv"
    log.rows().to_csv(path, index=False)
    return load_interactions(path, user="user", item="item", **log.names())


def arrow(log):
    return pytest.importorskip("pyarrow").table(log.columns())


WAYS = {
    "lists": batch,
    "frame": lambda log: Histories.from_frame(log.rows(), user="user", item="item", **log.names()),
    "list columns": lambda log: pd.DataFrame(log.columns()),
    "arrow": arrow,
    "file of text": text_file,
    "saved": saved_and_mapped,
    "slice": of_a_larger_log,
    "shuffled": lambda log: batch(log, log.rng.permutation(len(log.ids))),
}
PLAIN_WAYS = {
    "bare lists": lambda log: log.lists,
    "series": lambda log: pd.Series(log.lists, index=log.ids),
}


def users_of(X, log):
    return log.ids if getattr(X, "user_ids", None) is None else list(X.user_ids)


def by_user(X, log, rows):
    """Rows in the order of X, in the order of the log."""
    order = np.argsort(np.array(users_of(X, log)))
    return rows[order]


def answers(estimator, X, log, y):
    """Vectors, scores of all items and metrics of a fitted estimator, in the order of the log."""
    found = {}
    if hasattr(estimator, "transform"):
        found["vectors"] = by_user(X, log, np.asarray(estimator.transform(X)))
    names = estimator.item_embeddings_.ids
    ids, scores = estimator.recommend(X, len(names))
    table = np.take_along_axis(np.asarray(scores), np.argsort(ids, axis=1), axis=1)
    found["scores"] = by_user(X, log, table)
    exclude = {user: items[:1] for user, items in log.users.items()}
    if getattr(X, "user_ids", None) is None:
        exclude = list(exclude.values())
    _, rest = estimator.recommend(X, 2, exclude=exclude)
    found["without the first"] = by_user(X, log, np.asarray(rest))
    held_out = [y[user] for user in users_of(X, log)]
    for metric in (RecallAtK(2), NDCGAtK(2), MRR()):
        found[type(metric).__name__] = metric(estimator, X, held_out)
    found |= RetrievalScores(k=(1, 3))(estimator, X, held_out)
    found["score"] = estimator.score(X, held_out)
    return names.tolist(), found


def assert_same(first, second):
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    for name, expected in first[1].items():
        np.testing.assert_allclose(second[1][name], expected, atol=2e-5, err_msg=name)


def given_items(log):
    names = sorted({item for items in log.lists for item in items})
    vectors = np.random.default_rng(0).normal(size=(len(names), 4))
    return ItemEmbeddings(vectors[: max(len(names) - 1, 1)], names[: max(len(names) - 1, 1)])


ESTIMATORS = {
    "given items": lambda log: DecayAverageUserEncoder(
        given_items(log), decay=0.3, cold_start=np.eye(4)[0]
    ),
    "damped": lambda log: DecayAverageUserEncoder(
        given_items(log), repeat_exponent=0.5, max_history=3, cold_start="zero"
    ),
    "mixed": lambda log: MixedUserEncoder(given_items(log), cold_start="zero"),
    "learned items": lambda log: DecayAverageUserEncoder(
        CooccurrenceItemEmbedder(n_dims=3, random_state=0), cold_start="zero"
    ),
    "popularity": lambda log: PopularityRanker(),
    "own frequency": lambda log: OwnFrequencyRanker(),
    "similar users": lambda log: SimilarUsersRanker(),
    "transitions": lambda log: TransitionItemRanker(),
}


@st.composite
def logs(draw):
    text = draw(st.booleans())
    item = st.integers(10, 10 + N_ITEMS - 1).map(lambda n: f"i{n}" if text else n)
    users = draw(
        st.dictionaries(
            st.integers(0, 30).map(lambda n: f"u{n:02d}" if text else n + 100),
            st.lists(item, min_size=1, max_size=6),
            min_size=2,
            max_size=6,
        )
    )
    log = Log(
        users,
        draw(st.integers(0, 2**16)),
        with_times=draw(st.booleans()),
        with_weights=draw(st.booleans()),
    )
    targets = {user: draw(st.lists(item, min_size=1, max_size=3)) for user in log.ids}
    return log, targets


@settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    logs(),
    st.sampled_from(sorted(ESTIMATORS)),
    st.tuples(*[st.sampled_from(sorted(WAYS | PLAIN_WAYS))] * 2),
)
def test_two_ways_give_the_same_answers(log_and_targets, name, ways):
    log, targets = log_and_targets
    known = WAYS | PLAIN_WAYS if log.is_plain else WAYS
    first, second = (known.get(way, batch)(log) for way in ways)
    nothing_liked = log.weights is not None and max(map(max, log.weights)) <= 0
    if nothing_liked and name not in ("given items", "damped", "mixed"):
        return
    estimators = [ESTIMATORS[name](log).fit(X) for X in (first, second)]
    found = answers(estimators[0], first, log, targets)
    assert_same(found, answers(estimators[1], second, log, targets))
    assert_same(found, answers(estimators[0], second, log, targets))


LEARNERS = {
    "two-tower": TwoTowerUserEncoder(
        CooccurrenceItemEmbedder(n_dims=8), max_iter=1, random_state=0
    ),
    "two-stage": TwoStageRecommender(
        DecayAverageUserEncoder(CooccurrenceItemEmbedder(n_dims=4)),
        LogisticRegression(),
        random_state=0,
    ),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_learned_recommenders_give_the_same_answers(learner):
    rng = np.random.default_rng(0)
    users = {f"u{n:03d}": [f"i{i:02d}" for i in rng.integers(0, 12, 8) + 10] for n in range(80)}
    targets = {user: [items[0]] for user, items in users.items()}
    found = []
    for build in (batch, text_file, of_a_larger_log):
        log = Log(users, 1, with_times=True)
        X = build(log)
        found.append(answers(clone(LEARNERS[learner]).fit(X), X, log, targets))
    assert_same(found[0], found[1])
    assert_same(found[0], found[2])
