"""Decayed sums that take later events in without a look at the earlier ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from skue.kernels._pooling import decay_weights

# Without dislikes the rule for pooled vectors holds as it is.
_NEGLIGIBLE_NORM = 1e-6
# Likes and dislikes of one item cancel in the sums, but not in the masses; this far down the
# sums still hold ten times float32's digits.
_NEGLIGIBLE_SIGNED_NORM = 1e-10


def decayed_sums(
    rows: np.ndarray,
    offsets: np.ndarray,
    ages: np.ndarray,
    weights: np.ndarray | None,
    decays: tuple[float, ...],
    vectors: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return :math:`\sum_e w_e e^{-\lambda a_e} v_e` and :math:`\sum_e |w_e| e^{-\lambda a_e}`.

    Parameters
    ----------
    rows, ages : ndarray of shape (n_events,)
    offsets : ndarray of shape (n_users + 1,)
    weights : ndarray of shape (n_events,), or None
    decays : tuple of n_decays floats
        :math:`\lambda`.
    vectors : ndarray of shape (n_items, n_dims)

    Returns
    -------
    sums : ndarray of shape (n_users, n_decays, n_dims), float64
    masses : ndarray of shape (n_users, n_decays), float64
    """
    n_users = len(offsets) - 1
    sums = np.zeros((n_users, len(decays), vectors.shape[1]))
    masses = np.zeros((n_users, len(decays)))
    if not len(rows):
        return sums, masses
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    starts = offsets[filled]
    events = vectors[rows].astype(np.float64)
    for at, decay in enumerate(decays):
        pulls = decay_weights(ages, decay, weights)
        sums[filled, at] = np.add.reduceat(pulls[:, None] * events, starts, axis=0)
        masses[filled, at] = np.add.reduceat(np.abs(pulls), starts)
    return sums, masses


def with_few_events(
    sums: np.ndarray,
    masses: np.ndarray,
    shift: float,
    rows: np.ndarray,
    ages: Sequence[float],
    weights: Sequence[float],
    decays: tuple[float, ...],
    vectors: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one user's sums and masses after a shift and a few events.

    What :func:`decayed_sums` and :func:`aged` give together, without the calls that only many
    users pay back.
    """
    events = vectors[rows].astype(np.float64)
    added = np.empty_like(sums)
    new_masses = np.empty_like(masses)
    factors = [math.exp(-decay * shift) for decay in decays]
    for at, decay in enumerate(decays):
        pulls = [w * math.exp(-decay * age) for w, age in zip(weights, ages, strict=True)]
        np.dot(pulls, events, out=added[0, at])
        new_masses[0, at] = masses[0, at] * factors[at] + sum(map(abs, pulls))
    added += sums * np.array(factors)[:, None]
    return added, new_masses


def aged(values: np.ndarray, shifts: np.ndarray, decays: tuple[float, ...]) -> np.ndarray:
    """Return sums or masses as they are after each user's ``shift`` more units of age."""
    factors = np.exp(np.multiply.outer(shifts, np.negative(decays)))
    return values * (factors if values.ndim == 2 else factors[:, :, None])


def unit_vectors_of_sums(
    sums: np.ndarray, masses: np.ndarray, signed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums at length 1 (zero where they have no direction), and which have one.

    Parameters
    ----------
    sums : ndarray of shape (n_users, n_decays, n_dims), float64
    masses : ndarray of shape (n_users, n_decays), float64
    signed : ndarray of shape (n_users,), bool
        Who has events of negative weight.

    Returns
    -------
    parts : ndarray of shape (n_decays, n_users, n_dims), float32
    defined : ndarray of shape (n_decays, n_users), bool
    """
    # Divided by the largest entry first: the squares of what long decayed would underflow.
    largest = np.abs(sums).max(axis=2)
    scaled = sums / np.where(largest > 0, largest, 1)[:, :, None]
    norms = np.sqrt(np.einsum("ujd,ujd->uj", scaled, scaled))
    bound = np.where(signed, _NEGLIGIBLE_SIGNED_NORM, _NEGLIGIBLE_NORM)[:, None]
    defined = norms * largest > bound * masses
    scaled /= np.where(defined, norms, np.inf)[:, :, None]
    return scaled.astype(np.float32).transpose(1, 0, 2), defined.T
