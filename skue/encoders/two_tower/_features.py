"""Vectors from features: of items without events, and of users with few events or none."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import RidgeCV

from skue.encoders._events import Events
from skue.encoders.two_tower._examples import target_events
from skue.encoders.two_tower._model import Towers
from skue.encoders.two_tower._training import TrainingData
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import FeatureScale, ItemFeatures, ScaledFeatures
from skue.kernels._arrays import owners
from skue.kernels._ridge import best_ridge, predictions
from skue.kernels._unit_rows import NEGLIGIBLE_NORM, unit_rows

# Cosines of users and new items are this many times those that the regression expects, at most
# those of the predicted direction. Larger values find more new items, and fewer known ones.
_TRUST = 1.8


class TowerMap(NamedTuple):
    """A linear map from features to the item vectors of one pair of towers."""

    weights: np.ndarray  # the ridge regression of the vectors, at length 1, on the features
    otherwise: np.ndarray  # the mean item vector, for items whose features say nothing
    to_little_used: np.ndarray  # maps vectors to directions in which other items are small

    def vectors(self, rows: Any) -> np.ndarray:
        """Return the unit vectors of items from scaled rows of features.

        The less the features say, the shorter is the prediction. Scaled to length 1, it would
        give higher cosines with user vectors than the regression expects. Therefore a short
        prediction only makes up a part of the vector. The rest is in little-used directions.
        """
        predicted = predictions(self.weights, rows, self.otherwise)
        units = unit_rows(predicted)
        rest = units @ self.to_little_used
        rest -= units * np.einsum("nd,nd->n", units, rest)[:, None]
        trust = np.minimum(1, _TRUST * np.linalg.norm(predicted, axis=1))
        trust[np.linalg.norm(rest, axis=1) <= NEGLIGIBLE_NORM] = 1
        rest = unit_rows(rest) * np.sqrt(1 - trust**2)[:, None]
        return unit_rows(units * trust[:, None] + rest)


class FeatureMap(NamedTuple):
    """A linear map from features to the vectors of each pair of towers."""

    scale: FeatureScale
    towers: list[TowerMap]

    def vectors(self, rows: Any) -> np.ndarray:
        """Return the unit vectors of items from scaled rows of features."""
        blocks = [tower.vectors(rows) for tower in self.towers]
        return np.hstack(blocks) / np.float32(np.sqrt(len(blocks)))

    def embedded(self, features: ItemFeatures, space_id: str) -> ItemEmbeddings:
        """Return the vectors of items that came later."""
        n_features = len(self.scale.weights)
        if features.n_features != n_features:
            raise ValueError(
                f"features must have the {n_features} columns of item_features, got "
                f"{features.n_features}. Use the same fitted transformers for all items."
            )
        rows = self.scale.rows(features.values)
        return ItemEmbeddings(self.vectors(rows), features.ids, space_id=space_id)


def learned_feature_map(
    items: ItemEmbeddings, features: ScaledFeatures, n_towers: int
) -> FeatureMap:
    """Return the maps of all towers, learned from items with events."""
    rows = features.of(items.ids)
    blocks = np.split(items.vectors * np.float32(np.sqrt(n_towers)), n_towers, axis=1)
    return FeatureMap(features.scale, [_tower_map(rows, block) for block in blocks])


def _tower_map(rows: Any, vectors: np.ndarray) -> TowerMap:
    weights = best_ridge(rows, vectors).astype(np.float32)
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    return TowerMap(weights, mean, _to_little_used(vectors))


def _to_little_used(vectors: np.ndarray) -> np.ndarray:
    """Return a linear map from the most used half of the directions to the least used half.

    How much a direction is used is the sum of squares of the vectors along it. The map keeps the
    inner products of vectors in the most used half.
    """
    half = vectors.shape[1] // 2
    _, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)  # the smallest first
    smallest, largest = directions[:, :half], directions[:, ::-1][:, :half]
    return (largest @ smallest.T).astype(np.float32)


def with_all_items(
    items: ItemEmbeddings, features: ScaledFeatures, feature_map: FeatureMap
) -> ItemEmbeddings:
    """Return the items, and all others that have features."""
    features = features._replace(scale=feature_map.scale)  # a map of an earlier fit has its own
    ids = features.ids_beside(items.ids)
    return items.extend(feature_map.vectors(features.of(ids)), ids) if len(ids) else items


# Validation chooses how many events the features count as.
_EVENTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
_PENALTIES = tuple(10.0 ** np.arange(0, 6))
# The regression learns from this many users at most.
_MOST_USERS = 20_000


class UserMap(NamedTuple):
    """A linear map from user features to vectors, and how many events a prediction counts as."""

    weights: np.ndarray
    intercept: np.ndarray
    n_events: float

    def arrays(self) -> list[np.ndarray]:
        return [self.weights, self.intercept, np.array([self.n_events])]

    def joined(
        self, vectors: np.ndarray, defined: np.ndarray, n_events: np.ndarray, features: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Join the unit vectors of histories and of features, weighted by numbers of events.

        Rows of features are NaN where nothing is known; these users keep their vectors.
        """
        known = ~np.isnan(features[:, 0])
        predicted = unit_rows(features[known].astype(np.float64) @ self.weights + self.intercept)
        total = self.n_events + np.maximum(n_events[known], 1)
        share = np.where(defined[known], self.n_events / total, 1)[:, None]
        rows = (1 - share) * vectors[known] + share * predicted
        sound = np.linalg.norm(rows, axis=1) > NEGLIGIBLE_NORM
        users = np.flatnonzero(known)[sound]
        vectors, defined = vectors.copy(), defined.copy()
        vectors[users], defined[users] = unit_rows(rows[sound]), True
        return vectors, defined


def learned_user_map(
    data: TrainingData,
    towers: Towers,
    items: ItemEmbeddings,
    features: np.ndarray,
    max_history: int | None,
    rng: np.random.Generator,
) -> UserMap:
    """Learn the map by a ridge regression of the mean item vector of a history on the features.

    It does not see the events that are held out. Validation chooses how many events it counts as.
    """
    table = _counts(data, len(features))
    n_events = table.sum(axis=1)
    users = users_to_learn_from(data, features)
    if len(users) > _MOST_USERS:
        users = np.sort(rng.choice(users, _MOST_USERS, replace=False))
    means = (table[users] @ items.vectors) / n_events[users, None]
    user_map = UserMap(*_regression(features[users].astype(np.float64), means), 0.0)
    validation = data.validation
    if not len(validation):
        return user_map
    vectors, defined = validation.vectors(towers, items.vectors, max_history)
    lengths = np.diff(validation.prefixes.offsets)
    counted, rows = np.minimum(lengths, max_history or np.inf), features[validation.users]
    ways = [user_map._replace(n_events=n) for n in _EVENTS]
    found = np.stack([way.joined(vectors, defined, counted, rows)[0] for way in ways])
    return ways[int(validation.hits(found, items.vectors).mean(axis=1).argmax())]


def users_to_learn_from(data: TrainingData, features: np.ndarray) -> np.ndarray:
    """Return the users with features and events; raise if there are none."""
    has_events = _counts(data, len(features)).sum(axis=1) > 0
    users = np.flatnonzero(has_events & ~np.isnan(features[:, 0]))
    if not len(users):
        raise ValueError(
            "No user with events of known items has user_features, so there is nothing to learn "
            "from them. Pass histories without user_features, or fill in their rows."
        )
    return users


def _counts(data: TrainingData, n_users: int) -> sp.csr_array:
    """Count the events that are not held out and have a positive weight, by user and item."""
    sequences = data.sequences
    learned = data.training.chosen | ~target_events(sequences)
    if sequences.weights is not None:
        learned &= sequences.weights > 0
    events = np.flatnonzero(learned)
    users = owners(sequences.offsets)[events]
    shape = n_users, len(data.items)
    return sp.csr_array((np.ones(len(events)), (users, sequences.rows[events])), shape=shape)


def _regression(features: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and the intercept of a ridge regression on standardised features."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale <= 1e-6 * np.abs(mean)] = np.inf  # a constant column says nothing
    if len(features) < 2:
        return np.zeros((len(scale), vectors.shape[1])), vectors.mean(axis=0)
    found = RidgeCV(_PENALTIES).fit((features - mean) / scale, vectors)
    # For one dimension, the coefficients are a vector.
    weights = found.coef_.reshape(vectors.shape[1], -1).T / scale[:, None]
    return weights, found.intercept_ - mean @ weights


def with_user_features(
    user_map: UserMap | None, vectors: np.ndarray, defined: np.ndarray, events: Events
) -> tuple[np.ndarray, np.ndarray]:
    """Join the vectors of histories with those of the features, which must be those of ``fit``."""
    features = events.user_features
    n_given = 0 if features is None else features.shape[1]
    n_fitted = 0 if user_map is None else len(user_map.weights)
    if n_given != n_fitted:
        way_out = "Fit it on histories with user features, or leave them out."
        if n_fitted:
            way_out = "Add them by the same transformers: histories.with_user_features(features)."
        raise ValueError(
            f"X has {n_given} user features, but the encoder was fitted with {n_fitted}. {way_out}"
        )
    if user_map is None or features is None:
        return vectors, defined
    return user_map.joined(vectors, defined, np.diff(events.offsets), features)
