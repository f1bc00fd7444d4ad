"""Pooling: from the events of a history to one vector.

Everything here works on flat events: ``rows`` (item row of each event), ``offsets`` (whose they
are) and one number an event.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

# A sum this much shorter than its parts is recomputed in float64: cancellation in float32 would
# leave mostly rounding error in it.
_CANCELS = 1e-3
_NEGLIGIBLE_COUNT = 1e-12
_NEGLIGIBLE_NORM = 1e-6


def decay_weights(ages: np.ndarray, decay: float, weights: np.ndarray | None) -> np.ndarray:
    """Return ``weight * exp(-decay * age)`` of every event, float64."""
    decayed = np.multiply(ages, -decay)
    np.exp(decayed, out=decayed)
    if weights is not None:
        decayed *= weights
    return decayed


def scaled_by_user(weights: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Divide weights by the largest magnitude within each user, so that no sum overflows."""
    largest = _largest_magnitude(weights, offsets)
    return weights / np.repeat(np.where(largest > 0, largest, 1.0), np.diff(offsets))


def _largest_magnitude(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    largest = np.zeros(len(offsets) - 1)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        largest[filled] = np.maximum.reduceat(np.abs(values), offsets[:-1][filled])
    return largest


def item_coefficients(
    event_weights: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    repeat_exponent: float,
    *,
    signed: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Add up each user's events by item, and damp repeats.

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
    r"""Return :math:`\sum_i c_i v_i` of every user at length 1, and who has such a vector.

    A user whose sum is not longer than :math:`10^{-6} \sum_i |c_i|` has none: its row is zero.

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
    scaled = scaled_by_user(coefficients, offsets)
    shape = (len(offsets) - 1, len(vectors))
    pooled = sp.csr_array((scaled.astype(np.float32), rows, offsets), shape=shape) @ vectors
    mass = _sum_by_user(np.abs(scaled), offsets)
    norms = np.sqrt(np.einsum("ij,ij->i", pooled, pooled, dtype=np.float64))
    for user in np.flatnonzero((norms <= _CANCELS * mass) & (mass > 0)):
        events = slice(offsets[user], offsets[user + 1])
        exact = scaled[events] @ vectors[rows[events]].astype(np.float64)
        norms[user] = np.linalg.norm(exact)
        pooled[user] = exact
    return _unit_where_defined(pooled, norms, mass)


def mixed_unit_vectors(parts: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mix unit vectors and bring the result to length 1, under the rule for pooled vectors.

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
    mixed = np.tensordot(shares, parts.astype(np.float64), axes=1)
    norms = np.linalg.norm(mixed, axis=1)
    mass = np.abs(shares) @ parts.any(axis=2)
    return _unit_where_defined(mixed.astype(np.float32), norms, mass)


def _unit_where_defined(
    vectors: np.ndarray, norms: np.ndarray, mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    defined = norms > _NEGLIGIBLE_NORM * mass
    vectors /= np.where(defined, norms, np.inf).astype(np.float32)[:, None]
    return vectors, defined


def _sum_by_user(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(offsets) - 1)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        sums[filled] = np.add.reduceat(values, offsets[:-1][filled])
    return sums
