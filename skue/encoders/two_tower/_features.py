"""Items without events: their vectors from features, by regression in the trained space."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skue.items._feature_rows import FeatureScale, ScaledFeatures
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures, check_same_type
from skue.items._spectral import NEGLIGIBLE, predictions
from skue.kernels._ridge import best_ridge
from skue.kernels._rows import unit_rows

# Cosines of users and new items are this many times those that the regression expects, at most
# those of the predicted direction. Larger values find more new items, and fewer known ones.
_TRUST = 1.8


class TowerMap(NamedTuple):
    """A linear map from features to the item vectors of one pair of towers.

    Parameters
    ----------
    weights : ndarray of shape (n_features, n_dims)
        The ridge regression of the vectors, at length 1, on the features.
    otherwise : ndarray of shape (n_dims,)
        The mean item vector, for items whose features say nothing.
    to_little_used : ndarray of shape (n_dims, n_dims)
        Maps vectors to directions in which items with events have small coordinates.
    """

    weights: np.ndarray
    otherwise: np.ndarray
    to_little_used: np.ndarray

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
        trust[np.linalg.norm(rest, axis=1) <= NEGLIGIBLE] = 1
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


class EmbedsItems:
    """The methods of an encoder that maps features to item vectors."""

    item_embeddings_: ItemEmbeddings
    feature_map_: FeatureMap | None

    def embed_items(self, features: ItemFeatures) -> ItemEmbeddings:
        """Return the vectors of new items from their features, in the fitted space.

        ``encoder.item_embeddings_.extend(new.vectors, new.ids)`` adds them to the catalogue,
        without fitting again.

        Parameters
        ----------
        features : ItemFeatures
            With the columns of ``item_features``, made by the same fitted transformers.

        Returns
        -------
        new : ItemEmbeddings
            With the ``space_id`` of the encoder.

        Raises
        ------
        ValueError
            If the encoder was fitted without ``item_features``, or the columns differ.
        """
        check_is_fitted(self, "item_embeddings_")
        of_features = getattr(self, "feature_map_", None)
        if of_features is None:
            raise ValueError(
                "embed_items needs an encoder that was fitted with item_features. Pass "
                "item_features, and fit again."
            )
        if not isinstance(features, ItemFeatures):
            raise ValueError(
                f"features must be ItemFeatures, got {type(features).__name__}. Pass "
                "ItemFeatures(values, ids)."
            )
        items = self.item_embeddings_
        check_same_type(features.ids, items.ids, "The ids of features", "the encoder has items")
        return of_features.embedded(features, items.space_id)


def feature_map(items: ItemEmbeddings, features: ScaledFeatures, n_towers: int) -> FeatureMap:
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
    items: ItemEmbeddings, features: ScaledFeatures, of_features: FeatureMap
) -> ItemEmbeddings:
    """Return the items, and all others that have features."""
    ids = features.ids_beside(items.ids)
    return items.extend(of_features.vectors(features.of(ids)), ids) if len(ids) else items
