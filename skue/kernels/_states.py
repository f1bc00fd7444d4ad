"""Decayed sums that are updated with new events, without the earlier events."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from skue.kernels._arrays import owners
from skue.kernels._pooling import decay_weights
from skue.kernels._unit_rows import NEGLIGIBLE_NORM, row_norms

# With dislikes the bound is lower: likes and dislikes of one item cancel in the sums but not in
# the masses. Sums this short still have ten times the precision of float32.
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
    n_users, n_events = len(offsets) - 1, len(rows)
    sums = np.empty((n_users, len(decays), vectors.shape[1]))
    masses = np.empty((n_users, len(decays)))
    users, events = owners(offsets), vectors[rows].astype(np.float64)
    columns = np.arange(n_events)
    for at, decay in enumerate(decays):
        pulls = decay_weights(ages, decay, weights)
        # One row per user, and one column per event.
        table = sp.csr_array((pulls, columns, offsets), shape=(n_users, n_events))
        sums[:, at] = table @ events
        masses[:, at] = np.bincount(users, np.abs(pulls), minlength=n_users)
    return sums, masses


def aged(
    sums: np.ndarray, masses: np.ndarray, shifts: np.ndarray, decays: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums and masses decayed by ``shifts`` more units of age, one shift per user."""
    factors = np.exp(np.multiply.outer(shifts, np.negative(decays)))
    return sums * factors[:, :, None], masses * factors


def unit_vectors_of_sums(
    sums: np.ndarray, masses: np.ndarray, signed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums scaled to length 1, and which of them have a direction.

    Parameters
    ----------
    sums : ndarray of shape (n_users, n_decays, n_dims), float64
    masses : ndarray of shape (n_users, n_decays), float64
    signed : ndarray of shape (n_users,), bool
        Users with events of negative weight.

    Returns
    -------
    parts : ndarray of shape (n_decays, n_users, n_dims), float32
        Zero where a sum has no direction.
    defined : ndarray of shape (n_decays, n_users), bool
    """
    # Divided by the largest entry first: squares of strongly decayed sums would underflow.
    largest = np.abs(sums).max(axis=2)
    scaled = sums / np.where(largest > 0, largest, 1)[:, :, None]
    norms = row_norms(scaled)
    bound = np.where(signed, _NEGLIGIBLE_SIGNED_NORM, NEGLIGIBLE_NORM)[:, None]
    defined = norms * largest > bound * masses
    scaled /= np.where(defined, norms, np.inf)[:, :, None]
    return scaled.astype(np.float32).transpose(1, 0, 2), defined.T
