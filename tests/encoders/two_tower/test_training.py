"""How the two-tower encoder trains: its item spaces, its pace, and the weights that it keeps."""

from types import SimpleNamespace

import numpy as np
import pytest

from skue import Histories, ItemEmbeddings, TwoTowerUserEncoder
from skue.datasets import make_user_histories
from skue.encoders.two_tower import _examples, _trainer
from skue.encoders.two_tower._start_spaces import learned_spaces, some_users
from skue.encoders.two_tower._trainer import pace
from skue.encoders.two_tower._training import _may_be_best
from skue.items._choices import items_by_choice
from skue.items._spectral import learned_items

WORLD = make_user_histories(200, 8, 150, 12, random_state=0)


def test_a_log_teaches_three_spaces_of_the_same_items():
    histories = make_user_histories(300, 12, 400, 12, random_state=0).histories
    wide, transitions, choices = (space.items for space in learned_spaces(histories))
    near = learned_items(histories, 192, window=10, smoothing=1.0)
    following = learned_items(histories, 192, window=5, smoothing=0.1, directed=True)
    chosen = items_by_choice(histories, 192)
    np.testing.assert_array_equal(wide.vectors, near.vectors)
    for items, expected in ((transitions, following), (choices, chosen)):
        np.testing.assert_array_equal(items.ids, wide.ids)
        known = np.isin(wide.ids, expected.ids)
        assert known.mean() > 0.9
        rows = expected.lookup(wide.ids[known])
        np.testing.assert_array_equal(items.vectors[known], expected.vectors[rows])


def test_a_log_of_single_baskets_has_no_space_of_transitions():
    """Nothing follows anything, but items of a basket appear together."""
    baskets = np.random.default_rng(0).integers(30, size=(60, 4))
    histories = Histories.from_lists(baskets, timestamps=np.zeros(baskets.shape))
    assert len(learned_spaces(histories)) == 2


def test_an_epoch_draws_a_limited_number_of_examples_anew(monkeypatch):
    monkeypatch.setattr(_examples, "_EXAMPLES_PER_EPOCH", 100)
    monkeypatch.setattr(_trainer, "_STEPS_PER_EPOCH", 1)
    drawn = []
    monkeypatch.setattr(_trainer.Trainer, "_step", lambda self, events: drawn.append(events) or 0.0)
    encoder = TwoTowerUserEncoder(WORLD.item_embeddings, max_iter=3, early_stopping=False)
    encoder.fit(WORLD.histories)
    assert encoder.n_examples_ == sum(len(row) - 1 for row in WORLD.histories)
    assert encoder.n_examples_seen_ == len(np.concatenate(drawn)) == pytest.approx(300, abs=75)
    assert 200 < len(np.unique(np.concatenate(drawn))) <= 375


def test_the_learning_rate_rises_in_a_twentieth_and_falls_to_zero():
    done = np.linspace(0, 1, 1001)
    paces = np.array([pace(share) for share in done])
    assert paces[0] == 0
    assert paces[-1] == 0
    assert done[paces.argmax()] == pytest.approx(0.05, abs=0.002)
    assert (np.diff(paces[done <= 0.05]) > 0).all()
    assert (np.diff(paces[done >= 0.051]) < 0).all()


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.50, 0.51], True),  # better than all before
        ([0.50, 0.55, 0.54], True),  # within a standard error (0.022) of the best
        ([0.50, 0.55, 0.52], False),  # surely worse than the best
        ([0.50, 0.51, 0.499], False),  # worse than the average it starts from
        ([0.50, 0.50], True),
    ],
)
def test_the_last_weights_are_kept_unless_they_are_worse(scores, kept):
    task = SimpleNamespace(validation=range(500), start=None)
    assert _may_be_best(scores, task) is kept


@pytest.mark.parametrize(
    ("n_users", "item_tower", "n_passes"),
    [(20, "frozen", 4), (3000, "frozen", 2), (3000, "trained", 1)],
)
def test_an_epoch_makes_several_passes_over_small_data(n_users, item_tower, n_passes, monkeypatch):
    seen = []
    monkeypatch.setattr(
        _trainer.Trainer, "_step", lambda self, examples: seen.append(len(examples)) or 0.0
    )
    data = make_user_histories(n_users, 22, 60, 4, random_state=0)
    encoder = TwoTowerUserEncoder(
        data.item_embeddings, item_tower=item_tower, max_iter=1, early_stopping=False
    )
    encoder.fit(data.histories)
    assert sum(seen) == n_passes * n_users * 21


def test_the_score_of_two_pairs_of_towers_is_the_mean_of_their_scores():
    encoder = TwoTowerUserEncoder(max_iter=1, early_stopping=False, random_state=0)
    encoder.fit(WORLD.histories)
    assert len(encoder.parameters_) == 2
    users, items = encoder.transform(WORLD.histories[:5]), encoder.item_vectors_
    halves = zip(np.split(users, 2, axis=1), np.split(items, 2, axis=1), strict=True)
    parts = [
        (user / np.linalg.norm(user, axis=1)[:, None])
        @ (item / np.linalg.norm(item, axis=1)[:, None]).T
        for user, item in halves
    ]
    np.testing.assert_allclose(users @ items.T, np.mean(parts, axis=0), atol=1e-5)


def test_a_part_of_a_long_log_has_events_of_every_item():
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, 201) ** 1.5
    log = Histories.from_lists(rng.choice(200, size=(4000, 5), p=shares / shares.sum()))
    part = some_users(log, 2000)
    counts = [np.bincount(histories.codes, minlength=200) for histories in (log, part)]
    assert len(part.codes) < 0.8 * len(log.codes)
    assert (counts[1] >= np.minimum(counts[0], 50)).all()
    again = some_users(log, 2000)
    np.testing.assert_array_equal(again.codes, part.codes)
    assert some_users(log, len(log.codes)) is log


def test_items_whose_events_are_all_held_out_are_in_the_catalogue():
    """Every user ends with an item of its own."""
    log = [[*row.tolist(), 1000 + user] for user, row in enumerate(WORLD.histories)]
    encoder = TwoTowerUserEncoder(max_iter=1, random_state=0, unknown_item="raise").fit(log)
    held_out = Histories.from_lists(log).codes[encoder.held_out_]
    assert len(held_out) >= 20
    found = encoder.item_embeddings_.lookup(np.unique(np.concatenate(log)))
    assert (found >= 0).all()
    assert not encoder.is_new_item_.any()
    np.testing.assert_allclose(np.linalg.norm(encoder.item_vectors_, axis=1), 1, atol=1e-5)


def test_only_the_newest_ten_thousand_events_of_a_user_count():
    items = ItemEmbeddings(np.random.default_rng(0).normal(size=(50, 4)))
    encoder = TwoTowerUserEncoder(items, max_iter=1, random_state=0).fit(
        np.random.default_rng(1).integers(50, size=(60, 5))
    )
    long = np.random.default_rng(2).integers(50, size=12_000)
    vectors = encoder.transform([long, long[-10_000:]])
    np.testing.assert_array_equal(vectors[0], vectors[1])
