"""Parts of quality.py: the grid of averages, scores by user, and variants of the two-tower."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

import numpy as np

from skue import NDCGAtK, RecallAtK, TwoTowerUserEncoder
from skue.encoders.two_tower import _start_spaces, _trainer, _training
from skue.encoders.two_tower._start_spaces import learned_spaces
from skue.metrics._evaluation import evaluate

DECAYS = (0.0, 0.03, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
REPEAT_EXPONENTS = (1.0, 0.7, 0.5, 0.3, 0.15, 0.0)


def average_grid():
    """Yield the parameters of every average in the grid."""
    for decay, exponent in itertools.product(DECAYS, REPEAT_EXPONENTS):
        yield {"decay": decay, "repeat_exponent": exponent}


def run_of(encoder, X, y, k, second_k=None, *, exclude_seen=False):
    """Return recall and NDCG at k of each user, recall at a second k, and the repeated targets."""
    evaluation = evaluate(encoder, X, y, exclude_seen=exclude_seen)
    scores = {
        "R": RecallAtK(k, normalize="min").per_user(evaluation),
        "N": NDCGAtK(k).per_user(evaluation),
    }
    if second_k is not None:
        scores["R2"] = RecallAtK(second_k, normalize="min").per_user(evaluation)
    return scores | {"repeats": int(np.sum(evaluation.repeated))}


def less(*names):
    """Return a change that leaves these weights of the pooling where they start."""

    class Trainer(_trainer.Trainer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.fixed = self.fixed | set(names)

    return patched(_training, "Trainer", Trainer)


def with_(**fields):
    """Return a change that sets fields of the settings."""
    return lambda settings: replace(settings, **fields)


def one_space(histories, *options):
    """Return only the space of near neighbourhoods, for one pair of towers."""
    return learned_spaces(histories, *options)[:1]


def patched(module, name, value):
    """Return a change of something that is not in the settings."""
    return (module, name, value)


# The change in each row of the ablation: a function of the settings, or a patch of a module.
VARIANTS = {
    "all parts": None,
    "one pair of towers": patched(_start_spaces, "learned_spaces", one_space),
    "decays not learned": less("decay", "elapsed"),
    # The start value of the exponent is searched for, too.
    "repeats not damped": [
        less("repeat"),
        patched(_training, "_REPEAT_EXPONENTS", ()),
    ],
    "no support": less("support"),
    "no item gate": less("gate"),
    "no MLP": with_(hidden_layer_sizes=()),
    "no MLP, no linear map": [
        patched(_training, "start_of_dense", lambda *sizes: {}),
        patched(_start_spaces, "_linear_maps", lambda *inputs: []),
    ],
    "linear map from zero": patched(_start_spaces, "_linear_maps", lambda *inputs: []),
    "item tower: the other": lambda settings: replace(
        settings, learn_items=not settings.learn_items
    ),
    "no event dropout": with_(event_dropout=0.0),
    "no dropout": with_(dropout=0.0),
    "no label smoothing": with_(label_smoothing=0.0),
    "weights not averaged": patched(_trainer, "_AVERAGING", 0.0),
    "constant learning rate": patched(_trainer, "pace", lambda done: 1.0),
    "temperature 0.07": with_(temperature=0.07),
    "temperature 1": with_(temperature=1.0),
    "sampled negatives": with_(sampled=True),
    "sampled, not corrected": [
        with_(sampled=True),
        patched(_trainer.Trainer, "_log_expected", lambda *inputs: np.zeros(len(inputs[1]))),
    ],
}


class Ablated(TwoTowerUserEncoder):
    """The encoder with some parts changed."""

    def changed(self, change):
        changes = change if isinstance(change, list) else [change]
        self.patches = [change for change in changes if isinstance(change, tuple)]
        self.changes = [change for change in changes if callable(change)]
        return self

    def fit(self, X, y=None):
        with ExitStack() as stack:
            for patch in self.patches:
                stack.enter_context(mock.patch.object(*patch))
            return super().fit(X, y)

    def _settings(self, *arguments):
        settings = super()._settings(*arguments)
        for change in self.changes:
            settings = change(settings)
        return settings
