"""Given item vectors that know the events that validation holds out."""

import warnings

import numpy as np
import pytest

from skue import (
    CooccurrenceItemEmbedder,
    ItemEmbeddings,
    TwoTowerUserEncoder,
    leave_last_out,
)
from skue.datasets import make_user_histories
from skue.histories import _fingerprints

LOG = make_user_histories(120, n_events=12, n_items=60, random_state=0).histories


@pytest.fixture(scope="module")
def items():
    return CooccurrenceItemEmbedder(n_dims=8).fit(LOG).item_embeddings_


def warnings_of_fit(items, histories, **parameters):
    encoder = TwoTowerUserEncoder(
        items, hidden_layer_sizes=(8,), max_iter=1, random_state=0, **parameters
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder.fit(histories)
    return [str(one.message) for one in caught if "were learned from" in str(one.message)]


def test_vectors_learned_from_the_same_log_give_a_warning_with_the_way_out(items):
    (message,) = warnings_of_fit(items, LOG)
    assert "learned from 100% of the events" in message
    assert "item_embeddings=CooccurrenceItemEmbedder()" in message


def test_vectors_that_do_not_know_the_held_out_events_give_no_warning(items):
    other_users = make_user_histories(120, n_events=12, n_items=60, random_state=1).histories
    elsewhere = ItemEmbeddings(items.vectors, items.ids)
    assert not warnings_of_fit(items, other_users)
    assert not warnings_of_fit(elsewhere, LOG)
    assert not warnings_of_fit(CooccurrenceItemEmbedder(n_dims=8), LOG)
    assert not warnings_of_fit(items, LOG, early_stopping=False)


def test_vectors_of_earlier_events_give_no_warning():
    earlier, _ = leave_last_out(LOG, n_last=6)
    items = CooccurrenceItemEmbedder(n_dims=8).fit(earlier).item_embeddings_
    assert not warnings_of_fit(items, LOG)


def test_of_a_long_log_a_sample_of_events_is_enough(monkeypatch):
    log = make_user_histories(n_users=500, n_items=60, random_state=0).histories
    embedder = CooccurrenceItemEmbedder(n_dims=8)
    items = embedder.fit(log).item_embeddings_
    assert len(items._learned_events) == 4096
    (message,) = warnings_of_fit(items, log)
    assert "100%" in message
    other_users = embedder.fit(log[:160]).item_embeddings_
    assert not warnings_of_fit(other_users, log)
    monkeypatch.setattr(_fingerprints, "_STRETCH", 1000)
    assert np.array_equal(embedder.fit(log).item_embeddings_._learned_events, items._learned_events)
