"""Where the towers start: from decayed averages and linear maps."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from skue import Histories, ItemEmbeddings
from skue.datasets import make_user_histories
from skue.encoders.two_tower._examples import examples_of
from skue.encoders.two_tower._linear_start import fitted_linear_map
from skue.encoders.two_tower._model import encode, side_by_side
from skue.encoders.two_tower._start_spaces import data_from_scratch, learned_spaces
from skue.encoders.two_tower._training import BestAverage, _start_from_average, pooling_from

RANDOM = np.random.default_rng(1)
DECAYS = (0.0, 0.2, 0.5, 1.0, 8.0)
SETTINGS = SimpleNamespace(decays=DECAYS, max_history=None)
ITEMS = ItemEmbeddings(np.random.default_rng(0).standard_normal((30, 6)))


def data_with(best, validation=()):
    return SimpleNamespace(
        best=best, items=ITEMS, n_towers=1, validation=validation, linear_maps=()
    )


@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.15, 0.0])
def test_the_weight_of_an_event_that_is_not_repeated_decays_as_the_parameter_says(exponent):
    _, towers, _ = _start_from_average(data_with(BestAverage(0.3, exponent, 0.0)), SETTINGS)
    history = np.array([3, 14, 15, 9, 2, 6])
    sequences = SimpleNamespace(
        rows=history, offsets=np.array([0, 6]), place=None, timestamps=None, weights=None
    )
    users, _ = encode(sequences, np.array([0]), np.array([6]), towers, ITEMS.vectors, None)
    expected = np.zeros(6)
    for decay in DECAYS:
        weights = [np.exp(-decay * age) for age in (5, 4, 3, 2, 1, 0)]
        channel = sum(w * ITEMS.vectors[row] for w, row in zip(weights, history, strict=True))
        expected += channel / np.linalg.norm(channel)
    np.testing.assert_allclose(users[0], expected / np.linalg.norm(expected), atol=1e-5)


def log(*, with_repeats):
    histories = make_user_histories(n_users=200, n_items=80, n_events=12, random_state=0).histories
    if with_repeats:
        return histories
    return Histories.from_lists([list(dict.fromkeys(row.tolist())) for row in histories])


def start_in(items, histories):
    return data_from_scratch(items, histories, 0.5, np.random.default_rng(0), decays=DECAYS)


@pytest.mark.parametrize("with_repeats", [False, True])
def test_the_start_has_an_average_with_the_recall_that_validation_found(with_repeats):
    items = ItemEmbeddings(np.random.default_rng(0).standard_normal((80, 8)))
    data = start_in(items, log(with_repeats=with_repeats))
    average, _, _ = _start_from_average(data, SETTINGS)
    hits = data.validation.hits_of_towers(average, items.vectors, None)
    assert hits.mean() == pytest.approx(data.best.recall, abs=1e-9)


def test_the_linear_map_is_the_ridge_regression_of_the_next_item_at_its_scale():
    data = start_in(ITEMS, Histories.from_lists(RANDOM.integers(30, size=(40, 9))))
    pooling = pooling_from(data.best, DECAYS, len(ITEMS))
    inputs, targets = [], []
    sequences = data.training.sequences
    examples = examples_of(sequences, np.flatnonzero(data.training.chosen))
    found = fitted_linear_map(sequences, examples, ITEMS.vectors, pooling, 0.01, 100)
    for event in np.flatnonzero(data.training.chosen):
        start = sequences.offsets[sequences.users_of(np.array([event]))][0]
        history = sequences.rows[start:event][::-1]
        channels = [np.exp(-decay * np.arange(len(history))) for decay in DECAYS]
        sums = [weights @ ITEMS.vectors[history] for weights in channels]
        inputs.append(np.concatenate([row / np.linalg.norm(row) for row in sums]))
        targets.append(ITEMS.vectors[sequences.rows[event]])
    assert len(targets) == len(data.training)
    regression = Ridge(alpha=0.01 * len(inputs), fit_intercept=False).fit(inputs, targets)
    predicted = regression.predict(inputs)
    scale = 2 / np.sqrt((predicted**2).sum(axis=1).mean())
    np.testing.assert_allclose(found, scale * regression.coef_.T, atol=2e-4)


def test_towers_start_in_the_pair_of_spaces_in_which_linear_maps_find_most():
    groups = RANDOM.integers(12, size=200)
    lists = [RANDOM.permutation(25)[:12] + 25 * group for group in groups]
    histories = Histories.from_lists(lists)
    data = start_in(None, histories)
    pooling = pooling_from(data.best, DECAYS, len(data.items))
    held_out = np.zeros(len(histories.codes), dtype=bool)
    held_out[data.held_out] = True

    def found(maps, vectors):
        towers = [pooling | {"linear": linear} for linear in maps]
        return data.validation.hits_of_towers(towers, vectors, None).mean()

    drawn = data.training.draw(np.random.default_rng(0))
    examples = examples_of(data.training.sequences, drawn)
    of_pairs = []
    for pair in itertools.combinations(learned_spaces(histories._keep_events(~held_out)), 2):
        maps = [
            fitted_linear_map(
                data.training.sequences, examples, items.vectors, pooling, penalty, 100
            )
            for items, penalty in pair
        ]
        of_pairs.append(found(maps, side_by_side([items.vectors for items, _ in pair])))
    assert found(data.linear_maps, data.items.vectors) == max(of_pairs) > min(of_pairs)


def test_linear_maps_that_find_less_than_the_average_are_left_out():
    class Validation(list):
        def hits_of_towers(self, towers, item_vectors, max_history):
            return np.full(100, 0.0 if "linear" in towers[0] else 1.0)

    data = data_with(BestAverage(0.3, 1.0, 0.5), Validation(range(100)))
    data.linear_maps = [np.ones((30, 6), dtype=np.float32)]
    _, (tower,), recall = _start_from_average(data, SETTINGS)
    assert "linear" not in tower
    assert recall == 1.0
