"""drift: how far people, items and vectors have moved."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings, drift

ITEMS = ItemEmbeddings(np.random.default_rng(0).normal(size=(12, 4)))


def people(n_users, items, *, n_events=6, seed=0, user_ids=None):
    """Return users who choose among some items at random."""
    rng = np.random.default_rng(seed)
    lists = [rng.choice(items, size=n_events).tolist() for _ in range(n_users)]
    return Histories.from_lists(lists, user_ids=user_ids)


def average(items=ITEMS):
    return DecayAverageUserEncoder(items).fit([list(items.ids)])


def test_unknown_items_are_a_share_of_the_events():
    before = Histories.from_lists([[1, 2]] * 25)
    after = Histories.from_lists([[1, 3, 3]] * 10 + [[2]] * 10 + [[]] * 5)
    assert drift(before, after)["unknown_items"] == 20 / 40


def test_alike_people_are_not_told_apart():
    measures = drift(people(200, range(12)), people(200, range(12), seed=1), average())
    for name in ("statistics_auc", "vectors_auc", "statistics_auc_normal", "vectors_auc_normal"):
        n_users = 100 if name.endswith("normal") else 200
        assert abs(measures[name] - 0.5) < 4 * 0.41 / n_users**0.5, name


def test_people_who_do_more_are_told_apart_by_their_statistics():
    measures = drift(people(60, range(12)), people(60, range(12), n_events=9, seed=1))
    assert measures["statistics_auc"] > 0.99
    assert measures["statistics_auc_normal"] < 0.8


def test_people_who_choose_other_items_are_told_apart_by_their_vectors():
    first, second = people(100, range(6)), people(100, range(6, 12), seed=1)
    measures = drift(first, second, average())
    assert measures["vectors_auc"] > 0.9
    assert measures["unknown_items"] == 1


def test_people_who_have_not_moved_at_all_are_exactly_alike():
    """A classifier that sees a user on one side would be wrong about the other side."""
    same = people(50, range(12), user_ids=np.arange(50))
    measures = drift(same, same[::-1], average())
    assert measures["vectors_auc"] == measures["statistics_auc"] == 0.5
    assert measures["user_cosine"] == pytest.approx(1)


def test_users_are_compared_with_themselves():
    items = ItemEmbeddings(np.eye(3))
    stay = Histories.from_lists([[0]] * 30, user_ids=np.arange(30))
    move = Histories.from_lists([[1]] * 15 + [[0]] * 15, user_ids=np.arange(30)[::-1])
    assert drift(stay, move, average(items))["user_cosine"] == pytest.approx(15 / 30)
    nobody = Histories.from_lists([[1]] * 20, user_ids=np.arange(100, 120))
    assert "user_cosine" not in drift(stay, nobody, average(items))


@pytest.mark.parametrize("n_more_dims", [0, 2])
def test_a_refit_that_only_turns_the_space_has_moved_nothing(n_more_dims):
    wide = np.pad(ITEMS.vectors, ((0, 0), (0, n_more_dims)))
    turned = wide @ ortho_group.rvs(4 + n_more_dims, random_state=0)
    refitted = average(ItemEmbeddings(turned))
    batch = people(30, range(12))
    if not n_more_dims:
        assert (average().transform(batch) * refitted.transform(batch)).sum(axis=1).mean() < 0.9
    measures = drift(batch, batch, average(), refitted=refitted)
    assert measures["item_cosine"] == pytest.approx(1, abs=1e-6)
    assert measures["refit_cosine"] == pytest.approx(1, abs=1e-6)


def test_samples_bound_the_work_and_are_drawn_by_random_state():
    first, second = people(60, range(12)), people(60, range(12), seed=1)
    encoded = []

    class Counting(DecayAverageUserEncoder):
        def transform(self, X):
            encoded.append(len(X))
            return super().transform(X)

    encoder = Counting(ITEMS).fit(first)
    found = [drift(first, second, encoder, n_users=30, random_state=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert max(encoded) == 30


def test_too_few_users_are_refused():
    with pytest.raises(ValueError, match=r"after has 3 user\(s\) with events, but at least 20"):
        drift(people(30, range(3)), people(3, range(3)))


def test_spaces_without_a_common_item_are_refused():
    refitted = average(ItemEmbeddings(np.eye(4), ids=["a", "b", "c", "d"]))
    with pytest.raises(ValueError, match="encoder and refitted have no item in common"):
        drift(people(30, range(12)), people(30, range(12)), average(), refitted=refitted)
