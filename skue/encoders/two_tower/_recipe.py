"""The settings of training, resolved from the parameters of the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

# Uniformly drawn negatives per step, beside the targets of the batch.
N_UNIFORM = 2048
# A sampled negative costs about this many times an item of a full softmax, because the rows of a
# sample are gathered, and their gradients scattered.
_COST_OF_SAMPLING = 2
_MOST_EPOCHS = {"trained": 5, "frozen": 12}
# From fitted towers, this many epochs are enough, at this multiple of the learning rate.
_WARM_EPOCHS = {"trained": 1, "frozen": 2}
_WARM_RATE = {"trained": 2.0, "frozen": 0.5}


@dataclass(frozen=True)
class Recipe:
    """The settings of training."""

    hidden_layer_sizes: tuple[int, ...]
    decays: tuple[float, ...]
    learn_items: bool
    sampled: bool
    temperature: float | None
    dropout: float
    event_dropout: float
    label_smoothing: float
    learning_rate: float
    alpha: float
    batch_size: int
    max_iter: int
    n_iter_no_change: int
    max_history: int | None


def recipe_of(encoder: Any, n_items: int, *, warm: bool = False) -> Recipe:
    """Return the settings that the parameters of an encoder give.

    Parameters
    ----------
    encoder : TwoTowerUserEncoder
    n_items : int
    warm : bool, default=False
        Whether training starts from fitted towers.

    Raises
    ------
    ValueError
        If ``hidden_layer_sizes`` or ``decays`` is invalid.
    """
    max_iter = most_epochs(encoder, warm=warm)
    pace = _WARM_RATE[item_tower_of(encoder)] if warm else 1
    return Recipe(
        hidden_layer_sizes=checked_sizes(encoder.hidden_layer_sizes),
        decays=checked_decays(encoder.decays),
        learn_items=item_tower_of(encoder) == "trained",
        sampled=negatives_of(encoder, n_items) == "sampled",
        temperature=None if encoder.temperature == "learn" else float(encoder.temperature),
        dropout=float(encoder.dropout),
        event_dropout=float(encoder.event_dropout),
        label_smoothing=float(encoder.label_smoothing),
        learning_rate=float(encoder.learning_rate_init) * pace,
        alpha=float(encoder.alpha),
        batch_size=int(encoder.batch_size),
        max_iter=max_iter,
        n_iter_no_change=int(encoder.n_iter_no_change) if encoder.early_stopping else max_iter,
        max_history=encoder.max_history,
    )


def item_tower_of(encoder: Any) -> str:
    """Return ``item_tower`` with "auto" resolved: items learned from the log are trained."""
    if encoder.item_tower != "auto":
        return encoder.item_tower
    given = encoder.item_embeddings
    return "trained" if given is None or hasattr(given, "fit") else "frozen"


def negatives_of(encoder: Any, n_items: int) -> str:
    """Return ``negatives`` with "auto" resolved: whichever makes a step cost less."""
    if encoder.negatives != "auto":
        return encoder.negatives
    n_sampled = encoder.batch_size + N_UNIFORM
    return "all" if n_items <= _COST_OF_SAMPLING * n_sampled else "sampled"


def most_epochs(encoder: Any, *, warm: bool = False) -> int:
    """Return ``max_iter`` with "auto" resolved."""
    if encoder.max_iter == "auto":
        return (_WARM_EPOCHS if warm else _MOST_EPOCHS)[item_tower_of(encoder)]
    return int(encoder.max_iter)


def checked_sizes(sizes: Any) -> tuple[int, ...]:
    """Return the sizes of the hidden layers as a tuple; raise if they are invalid."""
    sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
    if not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must be positive integers, got {sizes}. Use () for none."
        )
    return tuple(int(size) for size in sizes)


def checked_decays(decays: Any) -> tuple[float, ...]:
    """Return the initial decays as a tuple; raise if they are invalid."""
    decays = tuple(np.asarray(decays, dtype=np.float64).ravel().tolist())
    if not decays or not all(np.isfinite(decay) and decay >= 0 for decay in decays):
        raise ValueError(f"decays must be one number >= 0 per channel, got {decays}.")
    return decays


def generator(random_state: Any) -> np.random.Generator:
    """Return a Generator for anything that scikit-learn accepts as random_state."""
    legacy = check_random_state(random_state)
    return np.random.default_rng(legacy.randint(np.iinfo(np.int32).max))
