"""Items without events: their vectors from features, by regression in the trained space."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skue.items._feature_rows import FeatureScale, ScaledFeatures
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures, check_same_type
from skue.items._spectral import placed
from skue.kernels._ridge import best_ridge


class FeatureMap(NamedTuple):
    """A linear map from features to the vectors of each pair of towers.

    Parameters
    ----------
    scale : FeatureScale
    weights : list of ndarray of shape (n_features, n_dims)
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
    """Return the ridge regression of the vectors of each tower, at length 1, on the features."""
    rows = features.of(items.ids)
    blocks = np.split(items.vectors * np.float32(np.sqrt(n_towers)), n_towers, axis=1)
    weights = [best_ridge(rows, block).astype(np.float32) for block in blocks]
    means = [block.mean(axis=0, dtype=np.float64).astype(np.float32) for block in blocks]
    return FeatureMap(features.scale, weights, means)


def with_all_items(
    items: ItemEmbeddings, features: ScaledFeatures, of_features: FeatureMap
) -> ItemEmbeddings:
    """Return the items, and all others that have features."""
    ids = features.ids_beside(items.ids)
    return items.extend(of_features.vectors(features.of(ids)), ids) if len(ids) else items
