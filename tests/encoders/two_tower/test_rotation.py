"""Rotating towers onto an older space: no cosine changes, and the fit is the best one."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from skue import ItemEmbeddings
from skue.encoders._events import Events
from skue.encoders.two_tower._examples import sequences_of
from skue.encoders.two_tower._model import encode, start_of_dense, start_of_pooling
from skue.encoders.two_tower._warm_start import agreement, rotated_onto, rotated_tower

N_ITEMS, N_DIMS, DECAYS = 30, 5, (0.0, 0.4, 2.0)


def rows_of(rng, n_rows=N_ITEMS, n_dims=N_DIMS):
    return ItemEmbeddings(rng.normal(size=(n_rows, n_dims))).vectors


def random_tower(rng, sizes=(7,), n_dims=N_DIMS):
    """Every weight differs from its start, so that each of them matters."""
    tower = start_of_pooling(np.array(DECAYS), 0.6, N_ITEMS)
    tower["mix"] = np.zeros(len(DECAYS), dtype=np.float32)
    tower |= start_of_dense(len(DECAYS), n_dims, sizes, rng)
    return {
        name: np.abs(value + 0.3 * rng.normal(size=value.shape)).astype(np.float32)
        for name, value in tower.items()
    }


def some_sequences(rng, n_users=25):
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 9, size=n_users))])
    n_events = offsets[-1]
    weights = rng.choice([1.0, 2.0, -0.5], size=n_events)
    return sequences_of(Events(rng.integers(N_ITEMS, size=n_events), offsets, None, weights))


def encoded(sequences, towers, vectors):
    return encode(sequences, sequences.offsets[:-1], sequences.offsets[1:], towers, vectors, None)


@pytest.mark.parametrize("sizes", [(), (6, 4)])
def test_user_vectors_rotate_exactly_with_the_items(sizes):
    rng = np.random.default_rng(0)
    tower, vectors, sequences = random_tower(rng, sizes), rows_of(rng), some_sequences(rng)
    rotation = ortho_group.rvs(N_DIMS, random_state=1)
    before, _ = encoded(sequences, [tower], vectors)
    rotated_items = (vectors.astype(float) @ rotation).astype(np.float32)
    after, _ = encoded(sequences, [rotated_tower(tower, rotation)], rotated_items)
    assert np.abs(before @ rotation - before).max() > 0.1
    np.testing.assert_allclose(after, before @ rotation, atol=3e-6)


def test_cosines_within_a_version_do_not_change():
    rng = np.random.default_rng(1)
    towers = [random_tower(rng) for _ in range(2)]
    blocks = [rows_of(rng) for _ in range(2)]
    vectors = np.hstack(blocks) / np.sqrt(np.float32(2))
    before, sequences = np.hstack([rows_of(rng, 20) for _ in range(2)]), some_sequences(rng)
    rotated, turned = rotated_onto(towers, vectors, before, 2)
    users, _ = encoded(sequences, towers, vectors)
    turned_users, _ = encoded(sequences, rotated, turned)
    assert np.abs(turned - vectors).max() > 0.1
    np.testing.assert_allclose(turned_users @ turned.T, users @ vectors.T, atol=3e-6)


def test_no_other_rotation_is_nearer_to_the_older_space():
    rng = np.random.default_rng(5)
    before, vectors = rows_of(rng), rows_of(rng)
    _, turned = rotated_onto([random_tower(rng)], vectors, before, 1)
    distance = np.linalg.norm(turned - before)
    others = ortho_group.rvs(N_DIMS, 100, random_state=6)
    assert all(np.linalg.norm(vectors @ other - before) >= distance - 1e-5 for other in others)


def test_the_agreement_is_the_share_of_nearest_items_in_common():
    rng = np.random.default_rng(7)
    tower, sequences = random_tower(rng), some_sequences(rng)
    before, after = rows_of(rng), rows_of(rng)
    users, defined = encoded(sequences, [tower], before)
    shares = [
        len(set(np.argsort(-before @ user)[:20]) & set(np.argsort(-after @ user)[:20])) / 20
        for user in users[defined]
    ]
    assert 0.5 < np.mean(shares) < 1
    assert agreement(users[defined], before, after) == pytest.approx(np.mean(shares), abs=1e-9)
    assert agreement(users[defined], before, before) == 1
