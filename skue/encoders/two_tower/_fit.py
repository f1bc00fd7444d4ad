"""One fit: from the parameters and the histories to the fitted attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue.encoders._events import new_items
from skue.encoders._unknown import report_unknown
from skue.encoders.two_tower._encode import in_float64
from skue.encoders.two_tower._features import FeatureMap, feature_map, with_all_items
from skue.encoders.two_tower._progress import Progress
from skue.encoders.two_tower._recipe import (
    checked_decays,
    checked_sizes,
    generator,
    item_tower_of,
    most_epochs,
    negatives_of,
    recipe_of,
)
from skue.encoders.two_tower._task import Task, best_task, unknown_targets
from skue.encoders.two_tower._training import Learned, train
from skue.encoders.two_tower._user_features import (
    check_user_features,
    refuse_features_of_nobody,
    user_map,
)
from skue.encoders.two_tower._warm_start import (
    aligned,
    fitted_before,
    seen_items,
    state_after,
    warm_task,
    with_gates,
)
from skue.histories._histories import Histories
from skue.histories._targets import append_targets
from skue.items._feature_rows import ScaledFeatures, scaled_features
from skue.items._item_embeddings import ItemEmbeddings


def fit_towers(encoder: Any, histories: Histories, y: Any) -> None:
    """Learn the items and the towers, and set the fitted attributes of a TwoTowerUserEncoder."""
    checked_sizes(encoder.hidden_layer_sizes)
    checked_decays(encoder.decays)
    rng = generator(encoder.random_state)
    if encoder.targets == "y" and y is None:
        raise ValueError("targets='y' needs y: the item ids that came next, one row per user.")
    before = fitted_before(encoder)
    seen = None if before is None else seen_items(encoder)
    with Progress(encoder, most_epochs(encoder, warm=before is not None)) as on_epoch:
        appended = None
        if encoder.targets == "y":
            histories, appended = append_targets(histories, y)
        check_user_features(histories, before)
        fraction = encoder.validation_fraction if encoder.early_stopping else None
        features = scaled_features(encoder.item_features, histories)
        if before is None:
            given = encoder.item_embeddings
            task = best_task(given, histories, fraction, rng, encoder.n_jobs, features)
        else:
            task = warm_task(before, histories, fraction, rng)
        encoder.n_unknown_targets_ = unknown_targets(task.items, histories, appended)
        encoder.item_embeddings_ = task.items
        # Raised before training, not after it.
        refuse_features_of_nobody(task, histories.user_features)
        if encoder.unknown_item == "raise":
            report_unknown(encoder, histories, also_known=encoder.item_features)
        if not task.is_enough(validated=encoder.early_stopping):
            task = task.without_training()
        recipe = recipe_of(encoder, len(task.items), warm=before is not None)
        learned = train(task, recipe, rng, on_epoch)
        if learned.item_vectors is not task.items.vectors:
            if before is None:
                encoder.item_embeddings_ = ItemEmbeddings(learned.item_vectors, task.items.ids)
            else:
                learned.towers, encoder.item_embeddings_ = aligned(
                    before, task, learned.towers, learned.item_vectors, histories, rng
                )
        _keep(encoder, before, task, learned)
        vectors = encoder.item_embeddings_.vectors
        encoder.user_map_ = user_map(
            task, learned.towers, vectors, histories, encoder.max_history, rng
        )
        if features is not None:
            _add_items(encoder, task, features, getattr(before, "feature_map_", None))
        encoder.is_new_item_ = new_items(encoder.item_embeddings_, histories)
        if seen is not None:
            encoder.is_new_item_ &= ~np.isin(encoder.item_embeddings_.ids, seen)


def _add_items(
    encoder: Any, task: Task, features: ScaledFeatures, map_before: FeatureMap | None
) -> None:
    """Add the items that have features, but no events to learn from.

    In a space that stays the same, the map of the fit before is kept.
    """
    items, towers = encoder.item_embeddings_, encoder.parameters_
    if encoder.item_tower_ == "frozen" and map_before is not None:
        encoder.feature_map_ = map_before
        features = features._replace(scale=map_before.scale)
    else:
        encoder.feature_map_ = feature_map(items, features, task.n_towers)
    encoder.item_embeddings_ = with_all_items(items, features, encoder.feature_map_)
    encoder.parameters_ = [with_gates(tower, len(encoder.item_embeddings_)) for tower in towers]


def _keep(encoder: Any, before: Any, task: Task, learned: Learned) -> None:
    encoder.item_tower_ = item_tower_of(encoder)
    encoder.negatives_ = negatives_of(encoder, len(task.items))
    # Converted once here, and not for every user.
    encoder.parameters_ = in_float64(learned.towers)
    encoder.loss_curve_ = learned.loss_curve
    encoder.validation_scores_ = learned.validation_scores
    encoder.best_iter_ = learned.best_iter
    encoder.n_iter_ = learned.n_iter
    encoder.n_examples_ = len(task.training)
    encoder.n_examples_seen_ = learned.n_examples_seen
    encoder.interrupted_ = learned.interrupted
    state = state_after(encoder, task, learned.temperatures)
    if before is not None and not learned.best_iter:  # nothing was learned from the new events
        state = state._replace(learned=before.training_state_.learned)
    encoder.training_state_ = state
    encoder.feature_map_ = None
