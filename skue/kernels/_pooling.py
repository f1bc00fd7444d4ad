"""Pooling: from the events of a history to one vector.

Everything here works on flat events: ``rows`` (item row of each event), ``offsets`` (whose they
are) and one number an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from skue.kernels._segments import offsets_of, owners, positions_of_ranges, step_ages

# A sum this much shorter than its parts is recomputed in float64: cancellation in float32 would
# leave mostly rounding error in it.
_CANCELS = 1e-3
_NEGLIGIBLE_COUNT = 1e-12
_NEGLIGIBLE_NORM = 1e-6
_BOUNDS = (_CANCELS, _NEGLIGIBLE_NORM)


def pooling_backend() -> Literal["numba", "scipy"]:
    """Return what adds up item vectors: ``"numba"`` where it is installed, else ``"scipy"``.

    Both give the same vectors up to rounding. numba comes with the extra ``fast``; its first
    batch of each dimension waits for the compiler, unless a run before left the result on disk.

    Returns
    -------
    backend : {"numba", "scipy"}

    Examples
    --------
    >>> from skue import pooling_backend
    >>> pooling_backend() in ("numba", "scipy")
    True
    """
    return "scipy" if find_spec("numba") is None else "numba"


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return the compiled kernels, None without numba."""
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
    """Return each user's decayed averages at length 1, one for every decay.

    Parameters
    ----------
    rows : ndarray of shape (n_events,), int32
    offsets : ndarray of shape (n_users + 1,), int64
    ages : ndarray of shape (n_events,), float64, or None
        None counts events back from the newest.
    weights : ndarray of shape (n_events,), float64, or None
    decays : sequence of n_parts floats
    repeat_exponent : float
    vectors : ndarray of shape (n_items, n_dims), float32

    Returns
    -------
    pooled : ndarray of shape (n_parts, n_users, n_dims), float32
    defined : ndarray of shape (n_parts, n_users), bool
    """
    compiled = _compiled()
    signed = weights is not None and bool((weights < 0).any())
    if repeat_exponent == 0:
        # A set knows signs only: age within an item decides them, and must not make all vanish.
        ages = step_ages(offsets) if ages is None else ages
        ages = ages - _newest_of_item(ages, rows, offsets)
    by_item = signed or repeat_exponent != 1
    by_age = _weights_by_age(offsets, decays) if ages is None and weights is None else None
    if compiled is not None and by_age is not None and not by_item:
        none = np.empty((len(decays), 0))
        return compiled.pool(rows, offsets, by_age, none, vectors, _BOUNDS)
    if by_age is not None:
        lengths = np.diff(offsets)
        places = positions_of_ranges(by_age.shape[1] - lengths, lengths)
        event_weights = np.take(by_age, places, axis=1)
    else:
        ages = step_ages(offsets) if ages is None else ages
        event_weights = np.stack([decay_weights(ages, decay, weights) for decay in decays])
    if compiled is not None:
        terms = (event_weights, rows, offsets)
        if by_item:
            terms = compiled.item_coefficients(*terms, repeat_exponent, _NEGLIGIBLE_COUNT)
        none = np.empty((len(decays), 0))
        return compiled.pool(terms[1], terms[2], none, terms[0], vectors, _BOUNDS)
    # To scipy, every weighting is another batch of users.
    n_parts, n_users = len(decays), len(offsets) - 1
    ends = np.concatenate([offsets[1:] + part * offsets[-1] for part in range(n_parts)])
    terms = item_coefficients(
        event_weights.ravel(),
        np.tile(rows, n_parts) if n_parts > 1 else rows,
        np.concatenate([offsets[:1], ends]),
        repeat_exponent,
        signed=signed,
    )
    # The newest event of all weighs 1 here, so that there is nothing to scale.
    pool = _pool_scaled if by_age is not None and not by_item else pooled_unit_vectors
    pooled, defined = pool(*terms, vectors)
    return pooled.reshape(n_parts, n_users, -1), defined.reshape(n_parts, n_users)


def _newest_of_item(ages: np.ndarray, rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return, for each event, the age of the newest event of its user and item."""
    keys = owners(offsets) * (np.int64(rows.max(initial=0)) + 1) + rows
    groups = np.unique(keys, return_inverse=True)[1]
    newest = np.full(len(ages), np.inf)
    np.minimum.at(newest, groups, ages)
    return newest[groups]


def _weights_by_age(offsets: np.ndarray, decays: Sequence[float]) -> np.ndarray:
    """Return ``exp(-decay * age)`` for every age in steps, oldest first, one row a decay."""
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
    return _pool_scaled(scaled_by_user(coefficients, offsets), rows, offsets, vectors)


def _pool_scaled(
    scaled: np.ndarray, rows: np.ndarray, offsets: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    pooled = _weighted_sums(scaled.astype(np.float32), rows, offsets, vectors)
    mass = sums_by_user(np.abs(scaled), offsets)
    norms = np.sqrt(np.einsum("ij,ij->i", pooled, pooled, dtype=np.float64))
    again = np.flatnonzero((norms <= _CANCELS * mass) & (mass > 0))
    if len(again):
        exact = _exact_sums(scaled, rows, offsets, again, vectors)
        norms[again] = np.linalg.norm(exact, axis=1)
        pooled[again] = exact
    return _unit_where_defined(pooled, norms, mass)


def _exact_sums(
    weights: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    users: np.ndarray,
    vectors: np.ndarray,
) -> np.ndarray:
    """Return the weighted sums of these users' rows, added up in float64."""
    lengths = offsets[users + 1] - offsets[users]
    events = positions_of_ranges(offsets[users], lengths)
    known, places = np.unique(rows[events], return_inverse=True)
    shape = (len(users), len(known))
    table = sp.csr_array((weights[events], places, offsets_of(lengths)), shape=shape)
    return table @ vectors[known].astype(np.float64)


def _weighted_sums(
    weights: np.ndarray, rows: np.ndarray, offsets: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """Return the weighted sum of each user's rows, added up in the order of the rows.

    By columns each item vector is read once, in the order of memory: more than twice as fast for
    many events. Few events are put in the same order, so that both ways give the same bits.
    """
    shape = (len(offsets) - 1, len(vectors))
    if 4 * len(rows) >= len(vectors):
        return sp.csr_array((weights, rows, offsets), shape=shape).tocsc() @ vectors
    order = np.lexsort((rows, owners(offsets)))
    return sp.csr_array((weights[order], rows[order], offsets), shape=shape) @ vectors


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
    mixed = np.einsum("p,puj->uj", shares.astype(np.float32), parts)
    norms = np.sqrt(np.einsum("ij,ij->i", mixed, mixed, dtype=np.float64))
    mass = np.abs(shares) @ parts.any(axis=2)
    again = np.flatnonzero((norms <= _CANCELS * mass) & (mass > 0))
    if len(again):
        exact = np.einsum("p,puj->uj", shares, parts[:, again].astype(np.float64))
        norms[again] = np.linalg.norm(exact, axis=1)
        mixed[again] = exact
    return _unit_where_defined(mixed, norms, mass)


def _unit_where_defined(
    vectors: np.ndarray, norms: np.ndarray, mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    defined = norms > _NEGLIGIBLE_NORM * mass
    vectors /= np.where(defined, norms, np.inf).astype(np.float32)[:, None]
    return vectors, defined


def sums_by_user(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Add up the values of each user by themselves, so that no other user's rounding is in them."""
    sums = np.zeros(len(offsets) - 1)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        sums[filled] = np.add.reduceat(values, offsets[:-1][filled])
    return sums
