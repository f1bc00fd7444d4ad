"""Parameters of the two-tower encoder that stand alone: ``n_dims`` and ``verbose``."""

import re

import pytest

from skue import TwoTowerUserEncoder
from skue.datasets import make_user_histories

WORLD = make_user_histories(120, 6, 60, 8, random_state=0)


def encoder_of(item_embeddings=None, **parameters):
    settings = {"max_iter": 2, "hidden_layer_sizes": (), "random_state": 0} | parameters
    return TwoTowerUserEncoder(item_embeddings, **settings)


def test_a_number_fixes_the_width_of_vectors_learned_from_the_log():
    for histories in (WORLD.histories, WORLD.histories[:50]):
        assert encoder_of(n_dims=12).fit_transform(histories).shape[1] == 12


def test_a_log_without_pairs_of_items_has_the_asked_width_too():
    with pytest.warns(UserWarning):
        assert encoder_of(n_dims=12).fit_transform([["a"], ["b"]]).shape == (2, 12)


def test_an_odd_n_dims_is_an_error_because_two_pairs_of_towers_share_it():
    with pytest.raises(ValueError, match=r"n_dims must be even.*got 13"):
        encoder_of(n_dims=13).fit(WORLD.histories)


def test_given_vectors_keep_their_width():
    fitted = encoder_of(WORLD.item_embeddings, n_dims=12, max_iter=1).fit(WORLD.histories)
    assert fitted.item_embeddings_.n_dims == WORLD.item_embeddings.n_dims


def test_a_warm_start_with_another_n_dims_is_an_error():
    fitted = encoder_of(n_dims=12, warm_start=True, early_stopping=False).fit(WORLD.histories)
    with pytest.raises(ValueError, match="n_dims was 12 in the last fit and is 16 now"):
        fitted.set_params(n_dims=16).fit(WORLD.histories)


def test_verbose_prints_the_loss_and_the_validation_recall_of_each_epoch(capsys):
    fitted = encoder_of(n_dims=12, verbose=True).fit(WORLD.histories)
    lines = capsys.readouterr().out.splitlines()
    pattern = r"Epoch (\d)/2: loss ([\d.]+), validation recall@20 ([\d.]+), [\d.]+ s"
    epochs, losses, recalls = zip(
        *(re.fullmatch(pattern, line).groups() for line in lines), strict=True
    )
    assert epochs == ("1", "2")
    assert losses == tuple(f"{loss:.4f}" for loss in fitted.loss_curve_)
    assert recalls == tuple(f"{recall:.4f}" for recall in fitted.validation_scores_[1:])
