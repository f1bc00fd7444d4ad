"""The fallback vector of cold users: those without a known event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from skue.encoders._chunks import encode_histories
from skue.encoders._unknown import nothing_known
from skue.histories._histories import Histories

ColdStart: TypeAlias = Literal["mean", "popular", "zero", "raise"] | ArrayLike

# Number of users encoded at a time, to bound the memory.
_STRETCH = 65_536


def refuse_nothing_known(encoder: Any, histories: Histories) -> None:
    """Raise if no event is known and ``cold_start`` has to be learned from events."""
    cold_start, items = encoder.cold_start, encoder.item_embeddings_
    if not isinstance(cold_start, str) or cold_start == "zero":
        return
    if not (items.rows_of(histories) >= 0).any():
        raise ValueError(
            f"{nothing_known(items, histories)} cold_start={cold_start!r} cannot be learned from "
            "them. Pass histories with items of item_embeddings, or set cold_start='zero' or a "
            "vector."
        )


def fallback_vector(encoder: Any, histories: Histories) -> np.ndarray:
    """Return the fallback vector that ``cold_start`` asks for, learned from these histories.

    Returns
    -------
    vector : ndarray of shape (n_dims,), float32
        Of length 1, or zeros.

    Raises
    ------
    ValueError
        If a given vector has the wrong shape, is not finite or is zero.
    """
    cold_start, items = encoder.cold_start, encoder.item_vectors_
    if not isinstance(cold_start, str):
        return _unit_fallback(cold_start, items.shape[1])
    if cold_start == "zero":
        return np.zeros(items.shape[1], dtype=np.float32)
    # If a sum cancels out, the next one replaces it.
    sums: list[Callable[[], np.ndarray]] = [
        lambda: _sum_of_items(encoder, histories),
        lambda: items[0].astype(np.float64),
    ]
    if cold_start != "popular":
        sums.insert(0, lambda: _sum_of_vectors(encoder, histories))
    vector = next(v for v in (total() for total in sums) if np.linalg.norm(v) > 1e-6)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _sum_of_vectors(encoder: Any, histories: Histories) -> np.ndarray:
    total = np.zeros(encoder.item_vectors_.shape[1])
    for users in _stretches(len(histories)):
        vectors, defined = encode_histories(encoder, histories[users])
        total += vectors[defined].sum(axis=0, dtype=np.float64)
    return total


def _sum_of_items(encoder: Any, histories: Histories) -> np.ndarray:
    counts = np.zeros(len(encoder.item_vectors_), dtype=np.int64)
    for users in _stretches(len(histories)):
        counts += np.bincount(encoder._events_of(histories[users]).rows, minlength=len(counts))
    return counts @ encoder.item_vectors_.astype(np.float64)


def _stretches(n_users: int) -> Iterator[slice]:
    return (slice(start, start + _STRETCH) for start in range(0, n_users, _STRETCH))


def _unit_fallback(vector: Any, n_dims: int) -> np.ndarray:
    vector = np.asarray(vector, dtype=np.float64)
    if vector.shape != (n_dims,):
        raise ValueError(
            f"cold_start must be a vector with the {n_dims} dimensions of the item space, got "
            f"shape {vector.shape}."
        )
    norm = np.linalg.norm(vector)
    if not np.isfinite(norm) or norm == 0:
        raise ValueError(
            f"cold_start must be a finite vector other than zero, got one of length {norm}."
        )
    return (vector / norm).astype(np.float32)
