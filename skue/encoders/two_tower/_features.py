"""Features in the item tower: an item's vector is its own vector plus a linear map of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from skue.items._feature_rows import FeatureScale, ScaledFeatures
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures, check_same_type
from skue.items._spectral import placed
from skue.kernels._ridge import best_ridge


class ItemTower(NamedTuple):
    """What gives vectors to items that have features only.

    Parameters
    ----------
    scale : FeatureScale
    weights : list of ndarray of shape (n_features, n_dims)
        The linear map of each pair of towers.
    otherwise : list of ndarray of shape (n_dims,)
        The mean item vector, for items whose features say nothing.
    """

    scale: FeatureScale
    weights: list[np.ndarray]
    otherwise: list[np.ndarray]

    def vectors(self, rows: Any) -> np.ndarray:
        """Return the unit vectors of items from scaled rows of features."""
        pairs = zip(self.weights, self.otherwise, strict=True)
        blocks = [placed(weights, rows, otherwise) for weights, otherwise in pairs]
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
    """The methods of an encoder with features in its item tower."""

    item_embeddings_: ItemEmbeddings
    item_tower_map_: ItemTower | None

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
        if getattr(self, "item_tower_map_", None) is None:
            raise ValueError(
                "embed_items needs an encoder that was fitted with item_features. Pass "
                "item_features, and fit again."
            )
        if not isinstance(features, ItemFeatures):
            raise ValueError(
                f"features must be ItemFeatures, got {type(features).__name__}. Pass "
                "ItemFeatures(values, ids)."
            )
        assert self.item_tower_map_ is not None
        items = self.item_embeddings_
        check_same_type(features.ids, items.ids, "The ids of features", "the encoder has items")
        return self.item_tower_map_.embedded(features, items.space_id)


def start_weights(rows: Any, item_vectors: np.ndarray, n_towers: int) -> list[np.ndarray]:
    """Return the ridge regression of each block of vectors, at length 1, on scaled features."""
    blocks = np.split(item_vectors * np.float32(np.sqrt(n_towers)), n_towers, axis=1)
    return [best_ridge(rows, block).astype(np.float32) for block in blocks]


def item_tower(
    features: ScaledFeatures, item_vectors: np.ndarray, weights: Sequence[np.ndarray]
) -> ItemTower:
    """Return the tower with these weights, in the space of these item vectors."""
    means = np.split(item_vectors.mean(axis=0, dtype=np.float64), len(weights))
    return ItemTower(features.scale, list(weights), [mean.astype(np.float32) for mean in means])


def with_all_items(
    items: ItemEmbeddings, features: ScaledFeatures, tower: ItemTower
) -> ItemEmbeddings:
    """Return the items, and all others that have features."""
    ids = features.ids_beside(items.ids)
    return items.extend(tower.vectors(features.of(ids)), ids) if len(ids) else items


def without_own_vectors(rows: Any, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the factor of each item's own vector in a step: 0 for a share of the items.

    Items without features keep their own vectors.
    """
    kept = rng.random(rows.shape[0], dtype=np.float32) >= share
    has_features = np.diff(rows.indptr) > 0 if sp.issparse(rows) else rows.any(axis=1)
    return (kept | ~has_features).astype(np.float32)


def feature_gradient(rows: Any, of_items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of the linear map, and the features that it concerns.

    The gradient of all other features is zero.
    """
    if not sp.issparse(rows):
        return rows.T @ of_items, np.arange(rows.shape[1])
    columns, local = np.unique(rows.indices, return_inverse=True)
    entries = rows.data, local.astype(np.int32), rows.indptr
    short = sp.csr_array(entries, shape=(rows.shape[0], len(columns)))
    return short.T @ of_items, columns.astype(np.int64)
