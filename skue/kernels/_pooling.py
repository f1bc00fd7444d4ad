"""Pooling: from the events of a history to one unit vector.

Events are flat arrays: ``rows`` (the item row of each event), ``offsets`` (where each user's
events start) and one weight per event.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from skue.kernels._arrays import (
    offsets_of,
    owners,
    positions_of_ranges,
    step_ages,
    user_item_keys,
)
from skue.kernels._threads import pooling_backend
from skue.kernels._unit_rows import NEGLIGIBLE_WEIGHT, unit_sums

_NEGLIGIBLE_COUNT = 1e-12


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return the module of compiled kernels, or None without numba."""
    if pooling_backend() == "scipy":
        return None
    from skue.kernels import _pooling_numba

    return _pooling_numba


def decayed_averages(
    rows: np.ndarray,
    offsets: np.ndarray,
    ages: np.ndarray | None,
    weights: np.ndarray | None,
    decays: Sequence[float],
    repeat_exponent: float,
    vectors: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the decayed averages of each user's item vectors as unit vectors.

    Parameters
    ----------
    rows : ndarray of shape (n_events,), int32
    offsets : ndarray of shape (n_users + 1,), int64
    ages : ndarray of shape (n_events,), float64, or None
        None counts events back from the user's newest.
    weights : ndarray of shape (n_events,), float64, or None
    decays : sequence of n_parts floats
    repeat_exponent : float
    vectors : ndarray of shape (n_items, n_dims), float32

    Returns
    -------
    pooled : ndarray of shape (n_parts, n_users, n_dims), float32
        Zero where the average has no direction.
    defined : ndarray of shape (n_parts, n_users), bool
    """
    compiled = _compiled()
    signed = weights is not None and bool((weights < 0).any())
    if repeat_exponent == 0 and not any(decays):
        ages = np.zeros(len(rows))
    elif repeat_exponent == 0:
        # Only the sign of each item's sum counts, which depends on the ages relative to the item's
        # newest event. With these, the weights of old items cannot underflow to zero.
        ages = step_ages(offsets) if ages is None else ages
        ages = ages - _newest_of_item(ages, rows, offsets)
    by_item = signed or repeat_exponent != 1
    by_age = _weights_by_age(offsets, decays) if ages is None and weights is None else None
    if compiled is not None and by_age is not None and not by_item:
        return compiled.pool(by_age, rows, offsets, vectors, by_age=True)
    if by_age is not None:
        lengths = np.diff(offsets)
        places = positions_of_ranges(by_age.shape[1] - lengths, lengths)
        event_weights = np.take(by_age, places, axis=1)
    else:
        ages = step_ages(offsets) if ages is None else ages
        event_weights = np.stack([decay_weights(ages, decay, weights) for decay in decays])
    if compiled is None:
        # Weights by age are at most 1 (the newest event's), so they need no scaling.
        pool = _pool_scaled if by_age is not None and not by_item else pooled_unit_vectors
        terms = _terms_of_parts(event_weights, rows, offsets, repeat_exponent, signed=signed)
        pooled, defined = pool(*terms, vectors)
        shape = len(decays), len(offsets) - 1
        return pooled.reshape(*shape, -1), defined.reshape(shape)
    terms = event_weights, rows, offsets
    if by_item:
        terms = compiled.item_coefficients(*terms, repeat_exponent, _NEGLIGIBLE_COUNT)
    return compiled.pool(*terms, vectors, by_age=False)


def _terms_of_parts(
    event_weights: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    repeat_exponent: float,
    *,
    signed: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the coefficients of several weightings, as several batches of users in a row."""
    n_parts = len(event_weights)
    ends = np.concatenate([offsets[1:] + part * offsets[-1] for part in range(n_parts)])
    return item_coefficients(
        event_weights.ravel(),
        np.tile(rows, n_parts) if n_parts > 1 else rows,
        np.concatenate([offsets[:1], ends]),
        repeat_exponent,
        signed=signed,
    )


def _newest_of_item(ages: np.ndarray, rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return, for each event, the age of its user's newest event with the same item."""
    groups = np.unique(user_item_keys(owners(offsets), rows), return_inverse=True)[1]
    newest = np.full(len(ages), np.inf)
    np.minimum.at(newest, groups, ages)
    return newest[groups]


def _weights_by_age(offsets: np.ndarray, decays: Sequence[float]) -> np.ndarray:
    """Return ``exp(-decay * age)`` for every age in steps, oldest first, one row per decay."""
    longest = int((offsets[1:] - offsets[:-1]).max(initial=1))
    return _table(1 << (longest - 1).bit_length(), tuple(map(float, decays)))


@lru_cache(maxsize=8)
def _table(n_ages: int, decays: tuple[float, ...]) -> np.ndarray:
    return np.exp(np.multiply.outer(-np.array(decays), np.arange(n_ages)[::-1]))


def decay_weights(ages: np.ndarray, decay: float, weights: np.ndarray | None) -> np.ndarray:
    """Return ``weight * exp(-decay * age)`` of every event, float64."""
    decayed = np.multiply(ages, -decay)
    np.exp(decayed, out=decayed)
    if weights is not None:
        decayed *= weights
    return decayed


def item_coefficients(
    event_weights: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    repeat_exponent: float,
    *,
    signed: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Add up the event weights of each user by item, and damp repeats.

    With the event weights :math:`w_e` of item :math:`i`,

    .. math:: S_i = \sum_e w_e,\quad A_i = \sum_e |w_e|,\quad
              c_i = \operatorname{sgn}(S_i)\,|S_i|^\rho,

    where items with :math:`|S_i| \le 10^{-12} A_i` are dropped.

    Parameters
    ----------
    event_weights, rows : ndarray of shape (n_events,)
    offsets : ndarray of shape (n_users + 1,)
    repeat_exponent : float
        :math:`\rho`.
    signed : bool
        Whether any event weight is negative.

    Returns
    -------
    coefficients, rows : ndarray of shape (n_terms,)
    offsets : ndarray of shape (n_users + 1,)
    """
    if repeat_exponent == 1 and not signed:
        return event_weights, rows, offsets
    sums = _sum_by_item(event_weights, rows, offsets)
    totals = _sum_by_item(np.abs(event_weights), rows, offsets) if signed else sums
    coefficients = sums.data
    magnitude = np.abs(coefficients)
    keep = magnitude > _NEGLIGIBLE_COUNT * totals.data
    with np.errstate(divide="ignore"):
        coefficients = np.where(keep, np.sign(coefficients) * magnitude**repeat_exponent, 0.0)
    return coefficients, sums.indices, sums.indptr.astype(np.int64)


def _sum_by_item(weights: np.ndarray, rows: np.ndarray, offsets: np.ndarray) -> sp.csr_array:
    shape = (len(offsets) - 1, int(rows.max()) + 1 if len(rows) else 1)
    table = sp.csr_array((weights.copy(), rows.copy(), offsets.copy()), shape=shape)
    table.sum_duplicates()
    return table


def pooled_unit_vectors(
    coefficients: np.ndarray, rows: np.ndarray, offsets: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return :math:`\sum_i c_i v_i` of every user at length 1, and whether it has a direction.

    A sum no longer than :math:`10^{-6} \sum_i |c_i|` has no direction. Its row is zero.

    Parameters
    ----------
    coefficients : ndarray of shape (n_terms,), float64
    rows : ndarray of shape (n_terms,)
    offsets : ndarray of shape (n_users + 1,)
    vectors : ndarray of shape (n_items, n_dims), float32

    Returns
    -------
    pooled : ndarray of shape (n_users, n_dims), float32
    defined : ndarray of shape (n_users,), bool
    """
    # Divided by the largest magnitude of each user, so that no sum overflows.
    largest = _reduced_by_user(np.maximum, np.abs(coefficients), offsets)
    scaled = coefficients / np.repeat(np.where(largest > 0, largest, 1.0), np.diff(offsets))
    return _pool_scaled(scaled, rows, offsets, vectors)


def _pool_scaled(
    scaled: np.ndarray, rows: np.ndarray, offsets: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    magnitudes = np.abs(scaled)
    weights = np.where(magnitudes < NEGLIGIBLE_WEIGHT, 0, scaled).astype(np.float32)
    sums = _weighted_sums(weights, rows, offsets, vectors)
    mass = sums_by_user(magnitudes, offsets)
    return unit_sums(sums, mass, lambda users: _exact_sums(scaled, rows, offsets, users, vectors))


def _exact_sums(
    weights: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    users: np.ndarray,
    vectors: np.ndarray,
) -> np.ndarray:
    """Return the weighted sums of these users' item vectors, computed in float64."""
    lengths = offsets[users + 1] - offsets[users]
    events = positions_of_ranges(offsets[users], lengths)
    known, places = np.unique(rows[events], return_inverse=True)
    shape = (len(users), len(known))
    table = sp.csr_array((weights[events], places, offsets_of(lengths)), shape=shape)
    return table @ vectors[known].astype(np.float64)


def _weighted_sums(
    weights: np.ndarray, rows: np.ndarray, offsets: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """Return the weighted sum of each user's item vectors, added in the order of the item rows.

    Multiplying by columns reads each item vector once, in memory order. That is more than twice
    as fast for many events. Few events are sorted into the same order, so that both ways return
    the same bits.
    """
    shape = (len(offsets) - 1, len(vectors))
    if 4 * len(rows) >= len(vectors):
        return sp.csr_array((weights, rows, offsets), shape=shape).tocsc() @ vectors
    order = np.lexsort((rows, owners(offsets)))
    return sp.csr_array((weights[order], rows[order], offsets), shape=shape) @ vectors


def mixed_unit_vectors(parts: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mix unit vectors and scale the result to length 1, with the rule for pooled vectors.

    Parameters
    ----------
    parts : ndarray of shape (n_parts, n_users, n_dims), float32
        Zero where a user has no such part.
    shares : ndarray of shape (n_parts,)

    Returns
    -------
    mixed : ndarray of shape (n_users, n_dims), float32
    defined : ndarray of shape (n_users,), bool
    """

    def exact(users: np.ndarray) -> np.ndarray:
        return np.einsum("p,puj->uj", shares, parts[:, users].astype(np.float64))

    mixed = np.einsum("p,puj->uj", shares.astype(np.float32), parts)
    return unit_sums(mixed, np.abs(shares) @ parts.any(axis=2), exact)


def sums_by_user(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Add up each user's values, independently of the other users' values and rounding."""
    return _reduced_by_user(np.add, values, offsets)


def _reduced_by_user(ufunc: np.ufunc, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Reduce the values of each user with a ufunc; 0 for users without events."""
    reduced = np.zeros(len(offsets) - 1)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        reduced[filled] = ufunc.reduceat(values, offsets[:-1][filled])
    return reduced
