"""After training, weights move towards the start as far as validation finds more."""

import numpy as np
import pytest

from skue import Histories, TwoTowerUserEncoder
from skue.encoders.two_tower import _training


def log():
    rng = np.random.default_rng(0)
    steps = rng.choice([1, 3], p=[0.7, 0.3], size=(200, 6)).cumsum(axis=1)
    return Histories.from_lists(list((rng.integers(40, size=(200, 1)) + steps) % 40))


LOG = log()


def fitted(monkeypatch, shares):
    monkeypatch.setattr(_training, "_SHARES_OF_TRAINED", shares)
    encoder = TwoTowerUserEncoder(n_dims=16, max_iter=1, learning_rate_init=0.01, random_state=0)
    encoder.fit(LOG)
    assert encoder.best_iter_ == 1
    return encoder


def ndcg_by_a_loop(encoder):
    items = encoder.item_embeddings_
    gains, repeats = [], []
    for at in encoder.held_out_:
        user = np.searchsorted(LOG.offsets, at, side="right") - 1
        prefix = LOG.item_ids[LOG.codes[LOG.offsets[user] : at]]
        target = LOG.item_ids[LOG.codes[at]]
        scores = items.vectors @ encoder.transform([prefix.tolist()])[0]
        allowed = ~np.isin(items.ids, prefix)
        repeats.append(target in prefix)
        for counted in (np.ones_like(allowed), allowed):
            better = np.sum(scores[counted] > scores[items.lookup([target])[0]])
            gains.append(1 / np.log2(better + 2))
    # Items of prefixes are left out only if no held-out item is one of them.
    return float(np.mean(gains[0 if any(repeats) else 1 :: 2]))


def test_of_several_shares_the_one_with_the_highest_ndcg_is_kept(monkeypatch):
    ndcgs = {1.0: ndcg_by_a_loop(fitted(monkeypatch, ()))}
    for share in (0.8, 0.4):
        ndcgs[share] = ndcg_by_a_loop(fitted(monkeypatch, (share,)))
    assert len(set(ndcgs.values())) == 3
    best = ndcg_by_a_loop(fitted(monkeypatch, (0.8, 0.4)))
    assert best == pytest.approx(max(ndcgs.values()), abs=1e-6)


def test_blended_item_vectors_have_length_one(monkeypatch):
    vectors = fitted(monkeypatch, (0.5,)).item_embeddings_.vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_without_validation_the_trained_weights_are_kept(monkeypatch):
    pair = []
    for shares in ((), (0.5,)):
        monkeypatch.setattr(_training, "_SHARES_OF_TRAINED", shares)
        encoder = TwoTowerUserEncoder(n_dims=16, max_iter=1, early_stopping=False, random_state=0)
        pair.append(encoder.fit(LOG).transform(LOG))
    np.testing.assert_array_equal(*pair)
