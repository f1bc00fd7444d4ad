"""What the two-tower encoder learns, on planted data whose answer is known."""

import numpy as np
import pytest
from joblib import parallel_config

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    RecallAtK,
    TwoTowerUserEncoder,
    leave_last_out,
)
from skue.datasets import make_user_histories


def averages_of(item_embeddings):
    for decay in (0.0, 0.3, 1.0):
        for exponent in (1.0, 0.0):
            yield DecayAverageUserEncoder(item_embeddings, decay=decay, repeat_exponent=exponent)


def best_average(item_embeddings, X, y, scorer=None):
    scorer = scorer or RecallAtK(20)
    return max(scorer(average.fit(X), X, y) for average in averages_of(item_embeddings))


def planted(rule, n_users, *, n_events=7, n_items=300, n_dims=12, noise=0.2, seed=0):
    """Histories in which the next item is the nearest to a turned mix of those before it."""
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(n_items, n_dims))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    turns = [np.linalg.qr(rng.normal(size=(n_dims, n_dims)))[0] for _ in range(2)]
    sought = {
        "last": lambda v: v[:, -1] @ turns[0],
        "last two": lambda v: v[:, -1] @ turns[0] + v[:, -2] @ turns[1],
    }[rule]
    X = rng.integers(n_items, size=(n_users, 2))
    for _ in range(n_events - 2):
        following = np.argmax(sought(items[X]) @ items.T, axis=1)
        strays = rng.random(n_users) < noise
        following[strays] = rng.integers(n_items, size=strays.sum())
        X = np.column_stack([X, following])
    return ItemEmbeddings(items), X, np.argmax(sought(items[X]) @ items.T, axis=1)


# Few steps that learn fast, for tests of what is learned.
FAST = {"learning_rate_init": 0.01, "batch_size": 256, "max_iter": 4, "random_state": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "negatives", "at_least"), [("last", "sampled", 0.7), ("last two", "all", 0.35)]
)
def test_it_finds_a_planted_rule_where_no_average_does(rule, negatives, at_least):
    n_train = 1000
    items, X, y = planted(rule, n_train + 500, n_items=150)
    encoder = TwoTowerUserEncoder(items, negatives=negatives, **FAST).fit(X[:n_train])
    assert encoder.negatives_ == negatives
    found = encoder.score(X[n_train:], y[n_train:])
    assert found >= at_least
    assert found > best_average(items, X[n_train:], y[n_train:]) + 0.25


def steady_tastes():
    data = make_user_histories(2000, 7, 200, 12, random_state=0, drift_scale=0.0)
    return data.item_embeddings, data.histories


def no_signal():
    rng = np.random.default_rng(0)
    histories = Histories.from_lists(rng.integers(200, size=(2000, 7)))
    return ItemEmbeddings(rng.normal(size=(200, 12))), histories


@pytest.mark.parametrize(
    ("world", "at_least", "item_tower"),
    [(steady_tastes, 0.5, "frozen"), (no_signal, 0.08, "trained")],
)
def test_on_validation_it_is_never_below_the_best_average(world, at_least, item_tower):
    """All 2,000 users validate with their last event: anybody can work out the score."""
    items, histories = world()
    if item_tower == "trained":
        items = CooccurrenceItemEmbedder(n_dims=12)
    encoder = TwoTowerUserEncoder(
        items, item_tower=item_tower, validation_fraction=0.9999, max_iter=2, random_state=0
    ).fit(histories)
    X, y = leave_last_out(histories)
    reached = RecallAtK(20)(encoder, X, y)
    average = best_average(items, X, y)
    assert average >= at_least
    assert reached >= average - 1e-6
    assert reached == pytest.approx(encoder.validation_scores_[encoder.best_iter_], abs=1e-6)
    assert encoder.validation_scores_[0] >= average - 1e-6


def test_without_room_to_validate_it_is_a_plain_average():
    items, histories = no_signal()
    with pytest.warns(UserWarning, match=r"0 to validate by are too few.*is a plain average"):
        encoder = TwoTowerUserEncoder(items, random_state=0).fit(histories[:1])
    (decay,) = encoder.parameters_[0]["decay"].tolist()
    exponent = 1 - float(encoder.parameters_[0]["repeat"][0])
    average = DecayAverageUserEncoder(items, decay=decay, repeat_exponent=exponent)
    expected = average.fit(histories).transform(histories)
    np.testing.assert_allclose(encoder.transform(histories), expected, atol=1e-6)
    assert encoder.best_iter_ == encoder.n_iter_ == 0
    assert encoder.loss_curve_ == encoder.validation_scores_ == []


def test_the_curves_show_which_epoch_was_kept():
    items, X, _ = planted("last", 600)
    encoder = TwoTowerUserEncoder(items, learning_rate_init=0.01, max_iter=4, random_state=0).fit(X)
    assert encoder.best_iter_ > 0
    assert len(encoder.loss_curve_) == encoder.n_iter_
    assert len(encoder.validation_scores_) == encoder.n_iter_ + 1
    kept, best = encoder.validation_scores_[encoder.best_iter_], max(encoder.validation_scores_)
    assert kept >= max(encoder.validation_scores_[0], best - np.sqrt(best * (1 - best) / 100))
    assert encoder.loss_curve_[-1] < encoder.loss_curve_[0]


def test_targets_y_learns_from_y():
    """Events follow one another by chance, and only y follows the last of them."""
    rng = np.random.default_rng(0)
    items, X, y = planted("last", 1200, n_events=2, n_items=100)
    X = np.column_stack([rng.integers(100, size=len(X)), X[:, -1]])
    told = TwoTowerUserEncoder(items, targets="y", **FAST).fit(X[:900], y[:900])
    not_told = TwoTowerUserEncoder(items, **FAST).fit(X[:900], y[:900])
    chance = 20 / 100
    assert not_told.score(X[900:], y[900:]) < 2 * chance
    assert told.score(X[900:], y[900:]) > 3 * chance


@pytest.mark.parametrize(("n_items", "chosen"), [(5_120, "all"), (5_121, "sampled")])
def test_auto_negatives_are_those_of_the_cheaper_step(n_items, chosen):
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(rng.standard_normal((n_items, 3), dtype=np.float32))
    encoder = TwoTowerUserEncoder(
        items, hidden_layer_sizes=(), max_iter=1, early_stopping=False, random_state=0
    ).fit(rng.integers(n_items, size=(20, 4)))
    assert encoder.negatives_ == chosen
    assert encoder.n_iter_ > 0


def test_a_frozen_item_tower_searches_the_given_space():
    items, X, _ = planted("last", 300)
    encoder = TwoTowerUserEncoder(items, max_iter=2, early_stopping=False, random_state=0).fit(X)
    assert encoder.item_tower_ == "frozen"
    assert encoder.item_embeddings_ is items
    assert encoder.space_id_ == items.space_id


def test_a_trained_item_tower_makes_a_new_space():
    items, X, _ = planted("last", 300)
    before = items.vectors.copy()
    encoder = TwoTowerUserEncoder(
        items,
        item_tower="trained",
        max_iter=2,
        early_stopping=False,
        random_state=0,
    ).fit(X)
    assert encoder.space_id_ != items.space_id
    assert np.abs(encoder.item_vectors_ - before).max() > 1e-3
    np.testing.assert_allclose(np.linalg.norm(encoder.item_vectors_, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.item_embeddings_.ids, items.ids)
    np.testing.assert_array_equal(items.vectors, before)


@pytest.mark.parametrize(
    ("item_embeddings", "chosen"),
    [
        (np.eye(5), "frozen"),
        (CooccurrenceItemEmbedder(n_dims=3), "trained"),
    ],
    ids=["array", "embedder"],
)
def test_auto_trains_the_items_that_were_learned_from_the_log(item_embeddings, chosen):
    rng = np.random.default_rng(0)
    encoder = TwoTowerUserEncoder(item_embeddings, max_iter=1, early_stopping=False, random_state=0)
    assert encoder.fit(rng.integers(5, size=(30, 6))).item_tower_ == chosen


def test_a_trained_item_tower_learns_what_random_vectors_do_not_contain():
    """Vectors by chance; each item is followed by one other."""
    rng = np.random.default_rng(0)
    n_items = 60
    following = rng.permutation(n_items)
    X = rng.integers(n_items, size=(1500, 1))
    for _ in range(4):
        strays = rng.random(len(X)) < 0.3
        X = np.column_stack(
            [X, np.where(strays, rng.integers(n_items, size=len(X)), following[X[:, -1]])]
        )
    items = ItemEmbeddings(rng.normal(size=(n_items, 10)))
    scorer = RecallAtK(5)
    y = following[X[:, -1]]
    reached = {}
    for tower in ("frozen", "trained"):
        encoder = TwoTowerUserEncoder(
            items,
            item_tower=tower,
            hidden_layer_sizes=(),
            learning_rate_init=0.02,
            early_stopping=False,
            max_iter=6,
            random_state=0,
        ).fit(X)
        reached[tower] = scorer(encoder, X, y)
    assert reached["trained"] > 0.5
    assert reached["trained"] > reached["frozen"] + 0.2


def fitted(X, **parameters):
    return TwoTowerUserEncoder(
        **{"random_state": 3, "max_iter": 2, "early_stopping": False, **parameters}
    ).fit(X)


@pytest.mark.parametrize(
    "parameters",
    [
        {"item_tower": "frozen", "negatives": "sampled"},
        {"item_tower": "trained", "early_stopping": True},
    ],
)
def test_one_random_state_gives_the_same_weights_bit_by_bit(parameters):
    _, X, _ = planted("last", 150, n_items=60)
    parameters = {"item_embeddings": CooccurrenceItemEmbedder(n_dims=8), **parameters}
    once, again = fitted(X, **parameters), fitted(X, **parameters)
    other = fitted(X, **{**parameters, "random_state": 4})
    assert once.loss_curve_ == again.loss_curve_ != other.loss_curve_
    assert once.validation_scores_ == again.validation_scores_
    np.testing.assert_array_equal(once.item_vectors_, again.item_vectors_)
    assert len(once.parameters_) == len(again.parameters_)
    for tower, other in zip(once.parameters_, again.parameters_, strict=True):
        assert tower.keys() == other.keys()
        for name, weights in tower.items():
            np.testing.assert_array_equal(other[name], weights, err_msg=name)
    np.testing.assert_array_equal(once.transform(X), again.transform(X))
    assert once.encoder_id_ == again.encoder_id_


def test_a_fit_is_the_same_for_every_n_jobs():
    rng = np.random.default_rng(0)
    X = rng.integers(50, size=(4200, 3))  # more than one chunk
    items = ItemEmbeddings(rng.normal(size=(50, 4)))
    with parallel_config(backend="threading"):
        one, two = (fitted(X, item_embeddings=items, max_iter=1, n_jobs=n) for n in (1, 2))
        np.testing.assert_array_equal(one.transform(X), two.transform(X))
    assert one.encoder_id_ == two.encoder_id_
