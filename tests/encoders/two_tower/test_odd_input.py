"""Input that is rare: fixed temperatures, weights of zero, lost features, one dimension."""

import numpy as np
import pytest

from skue import Histories, ItemFeatures, TwoTowerUserEncoder
from skue.datasets import make_user_histories

DATA = make_user_histories(60, 10, 50, 6)
ITEMS = DATA.item_embeddings
RNG = np.random.default_rng(0)
LISTS = [[f"i{item}" for item in RNG.integers(0, 20, size=8)] for _ in range(60)] + [["lone"]]
FEATURES = ItemFeatures(RNG.normal(size=(21, 4)), ids=[*(f"i{k}" for k in range(20)), "lone"])


def quick(*items, **parameters):
    options = {"max_iter": 1, "early_stopping": False, "random_state": 0} | parameters
    return TwoTowerUserEncoder(*items, **options)


@pytest.mark.parametrize("temperature", [5.0, 0.05])
def test_a_fixed_temperature_is_never_changed(temperature):
    encoder = quick(ITEMS, temperature=temperature).fit(DATA.histories)
    assert encoder.training_state_.temperatures == pytest.approx((temperature,))


def test_an_event_of_weight_zero_has_no_effect_on_its_item():
    log = DATA.histories
    weighted = Histories(log.codes, log.offsets, log.item_ids, weights=np.ones(len(log.codes)))
    encoder = quick(ITEMS).fit(weighted)
    first, last, other = log.item_ids[[5, 0, 7]].tolist()

    def vector(item, n):
        history = [first, last, *[item] * n]
        weights = [1.0, 1.0, *[0.0] * n]
        return encoder.transform(Histories.from_lists([history], weights=[weights]))[0]

    for n in (1, 6, 200):
        np.testing.assert_allclose(vector(last, n), vector(other, n), atol=1e-6)


def test_an_item_that_nothing_places_is_unknown_and_refused_after_fit():
    with pytest.warns(UserWarning, match="no row in item_features, such as 'else'"):
        encoder = quick(item_features=FEATURES, unknown_item="raise").fit([*LISTS, ["else"]])
    assert "else" not in encoder.item_embeddings_.ids
    with pytest.raises(ValueError, match=r"not in item_embeddings_, such as \['else'\]"):
        encoder.transform([["else"]])


def test_a_warm_start_does_not_lose_items_that_features_placed():
    encoder = quick(item_features=FEATURES, warm_start=True).fit(LISTS)
    vectors = encoder.transform(LISTS)
    encoder.set_params(item_features=ItemFeatures(FEATURES.values[:5], ids=FEATURES.ids[:5]))
    with pytest.raises(ValueError, match=r"item_features lacks 1 that the last fit placed.*'lone'"):
        encoder.fit(LISTS)
    np.testing.assert_array_equal(encoder.transform(LISTS), vectors)


def test_user_features_work_in_one_dimension():
    log = Histories.from_lists([[0, 1], [2, 3]] * 20)
    log = log.with_user_features(np.arange(80.0).reshape(40, 2))
    vectors = quick(np.ones((5, 1))).fit(log).transform(log)
    np.testing.assert_array_equal(np.abs(vectors), 1)
