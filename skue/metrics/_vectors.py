"""From a fitted estimator to user and item vectors that can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from skue.encoders._base import UserEncoder


def user_and_item_vectors(estimator: Any, X: Any) -> tuple[Any, Any, UserEncoder, Any]:
    """Send users and items the same way through an estimator.

    Parameters
    ----------
    estimator : encoder, Pipeline, or ColumnTransformer whose only output is one encoder
        Fitted. The items pass the steps after the encoder, in the container (array or frame)
        that these were fitted on.
    X : any form that the estimator takes

    Returns
    -------
    users, items : array or frame of shape (n_users, n_dims), (n_items, n_dims)
    encoder : UserEncoder
    X : object
        The histories, as they reach the encoder.

    Raises
    ------
    ValueError
        When there is no encoder, or more than its output, naming the steps.
    """
    if isinstance(estimator, UserEncoder):
        users = estimator.transform(X)
        return users, _like(users, estimator.item_vectors_), estimator, X
    if isinstance(estimator, Pipeline):
        return _through_pipeline(estimator, X)
    if isinstance(estimator, ColumnTransformer):
        return _through_columns(estimator, X)
    raise ValueError(
        f"{type(estimator).__name__} has no item vectors to search. Score a user encoder, or a "
        "Pipeline or ColumnTransformer that holds one."
    )


def _through_pipeline(pipeline: Pipeline, X: Any) -> tuple[Any, Any, UserEncoder, Any]:
    steps = [(name, step) for name, step in pipeline.steps if step not in (None, "passthrough")]
    at = next((i for i, (_, step) in enumerate(steps) if _holds_encoder(step)), None)
    if at is None:
        names = [name for name, _ in pipeline.steps]
        raise ValueError(f"No step of the pipeline is a user encoder; the steps are {names}.")
    for _, step in steps[:at]:
        X = step.transform(X)
    users, items, encoder, X = user_and_item_vectors(steps[at][1], X)
    for name, step in steps[at + 1 :]:
        if not hasattr(step, "transform"):
            raise ValueError(
                f"Step {name!r} ({type(step).__name__}) after the encoder does not transform, so "
                "the pipeline gives no user vectors to rank items by."
            )
        users, items = step.transform(users), step.transform(items)
    return users, items, encoder, X


def _through_columns(columns: ColumnTransformer, X: Any) -> tuple[Any, Any, UserEncoder, Any]:
    used = [
        (name, step, selected)
        for name, step, selected in columns.transformers_
        if step != "drop" and not (hasattr(selected, "__len__") and len(selected) == 0)
    ]
    if len(used) != 1 or not _holds_encoder(used[0][1]):
        names = [name for name, _, _ in used]
        raise ValueError(
            "A ColumnTransformer can be scored when its only output is one user encoder; its "
            f"outputs are {names}."
        )
    _, step, selected = used[0]
    _, items, encoder, history = user_and_item_vectors(step, _safe_indexing(X, selected, axis=1))
    users = columns.transform(X)
    return users, _like(users, np.asarray(items)), encoder, history


def _holds_encoder(step: Any) -> bool:
    if isinstance(step, Pipeline):
        return any(_holds_encoder(inner) for _, inner in step.steps)
    if isinstance(step, ColumnTransformer):
        return any(_holds_encoder(inner) for _, inner, _ in step.transformers)
    return isinstance(step, UserEncoder)


def _like(users: Any, items: np.ndarray) -> Any:
    """Put the item vectors in the container of the user vectors."""
    if hasattr(users, "iloc"):
        return type(users)(items, columns=users.columns)
    if hasattr(users, "columns"):  # polars
        return type(users)(items, schema=list(users.columns), orient="row")
    return items
