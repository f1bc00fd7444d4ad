"""The features behind recommendations, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

from skue._optional import import_optional
from skue.encoders._output import users_of
from skue.ranking._features import FEATURES, ranks_of_user

if TYPE_CHECKING:
    import pandas

_SCALERS = MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler


def explained(recommender: Any, X: Any, k: int) -> pandas.DataFrame:
    """Return the k best candidates of each user, with their features."""
    pandas = import_optional("pandas", "io")
    histories, items = recommender._read(X), recommender.item_embeddings_
    vectors, stage = recommender._vectors_of(histories), recommender._second_stage()
    nearest, _ = recommender._nearest(vectors, k, None, None)
    users = users_of(X, histories)
    tables = []
    for start, _, candidates in stage.blocks(histories, vectors, nearest):
        features, scores = stage.scored(candidates)
        ranks = ranks_of_user(candidates.users, scores)
        best = np.lexsort((ranks, candidates.users))
        best = best[ranks[best] < k]
        rows = candidates.users[best] + start
        columns = {
            "user": rows if users is None else users[rows],
            "item": items.ids[candidates.rows[best]],
            "score": scores[best].astype(np.float32),
            "rank": ranks[best] + 1,
            **dict(zip(FEATURES, features[best].T, strict=True)),
        }
        shares = shares_of_features(recommender.ranker_, features[best])
        if shares is not None:
            columns |= {f"share of {n}": s for n, s in zip(FEATURES, shares.T, strict=True)}
        tables.append(pandas.DataFrame(columns))
    return pandas.concat(tables, ignore_index=True)


def shares_of_features(ranker: Any, features: np.ndarray) -> np.ndarray | None:
    """Return the terms of a linear or additive decision, shape (n_candidates, n_features).

    None if a step before the linear model does not treat each feature alone.
    """
    model, terms = ranker, features
    if isinstance(ranker, Pipeline):
        *before, model = (step for _, step in ranker.steps)
        if not all(map(_treats_each_alone, before)):
            return None
        terms = np.asarray(ranker[:-1].transform(features)) if before else features
    weights = np.ravel(getattr(model, "coef_", ()))
    if len(weights) != terms.shape[1]:
        return None
    # All columns that a SplineTransformer makes of a feature are side by side.
    return (terms * weights).reshape(*features.shape, -1).sum(axis=2)


def _treats_each_alone(step: Any) -> bool:
    if isinstance(step, SplineTransformer):
        return step.include_bias and not step.sparse_output
    return step == "passthrough" or isinstance(step, _SCALERS)
