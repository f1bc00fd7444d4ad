"""From a fitted estimator to user and item vectors that can be compared."""

from __future__ import annotations

from typing import Any

from skue.encoders._base import UserEncoder
from skue.encoders._inside import find_encoder


def user_and_item_vectors(estimator: Any, X: Any) -> tuple[Any, Any, UserEncoder, Any]:
    """Send users and items the same way through an estimator.

    Parameters
    ----------
    estimator : fitted estimator that :func:`find_encoder` looks into
        The items pass the steps after the encoder, as the users do.
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
    found = find_encoder(estimator)
    return estimator.transform(X), found.item_vectors(), found.encoder, found.histories(X)
