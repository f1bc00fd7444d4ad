"""Softmax losses over items, with their gradients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skue.encoders.two_tower._optimizer import add_at_rows
from skue.kernels._arrays import positions_of_ranges


class Loss(NamedTuple):
    """Mean loss of a batch and its gradients."""

    value: float
    users_gradient: np.ndarray
    items_gradient: np.ndarray | None
    log_temperature_gradient: float


def full_softmax(
    users: np.ndarray,
    items: np.ndarray,
    targets: np.ndarray,
    log_temperature: float,
    *,
    label_smoothing: float = 0.0,
    learn_items: bool = True,
    buffer: np.ndarray | None = None,
) -> Loss:
    r"""Cross-entropy of the held-out item among all items.

    .. math:: \ell = \log \sum_i e^{s_i/\tau} - (1 - \epsilon)\, s_y/\tau
              - \frac{\epsilon}{n} \sum_i s_i/\tau

    with cosines :math:`s` of unit rows, temperature :math:`\tau` and label smoothing
    :math:`\epsilon`. ``targets`` are item rows, and ``buffer`` is reusable memory for the scores.
    """
    n_users, n_items = len(users), len(items)
    scale = users.dtype.type(np.exp(-log_temperature))
    smoothing = users.dtype.type(label_smoothing)
    of_target = np.einsum("ud,ud->u", users, items[targets]) * scale
    mean_item = items.mean(axis=0)
    scores = np.matmul(users * scale, items.T, out=None if buffer is None else buffer[:n_users])
    # No cosine is above 1, so this shift is safe for every row without computing its maximum.
    scores -= scale
    np.exp(scores, out=scores)
    mass = np.maximum(scores.sum(axis=1), np.float32(1e-37))
    smoothed = (1 - smoothing) * of_target + smoothing * scale * (users @ mean_item)
    value = float(np.mean(np.log(mass) + scale - smoothed, dtype=np.float64))
    # The gradient is (probabilities - smoothed targets) times vectors. Computing the parts
    # separately needs fewer passes over the scores.
    factor = scale / users.dtype.type(n_users)
    users_gradient = (scores @ items) / mass[:, None]
    users_gradient -= smoothing * mean_item + (1 - smoothing) * items[targets]
    users_gradient *= factor
    log_temperature_gradient = -float(np.einsum("ud,ud->", users_gradient, users, dtype=np.float64))
    if not learn_items:
        return Loss(value, users_gradient, None, log_temperature_gradient)
    items_gradient = scores.T @ (users * (factor / mass)[:, None])
    items_gradient -= (factor * smoothing / users.dtype.type(n_items)) * users.sum(axis=0)
    add_at_rows(items_gradient, targets, users * (-factor * (1 - smoothing)))
    return Loss(value, users_gradient, items_gradient, log_temperature_gradient)


def sampled_softmax(
    users: np.ndarray,
    candidates: np.ndarray,
    candidate_rows: np.ndarray,
    log_expected: np.ndarray,
    log_temperature: float,
    *,
    buffer: np.ndarray | None = None,
) -> Loss:
    r"""Cross-entropy of the held-out item against in-batch and uniform negatives.

    .. math:: \ell = -s_y/\tau + \log\Big(e^{s_y/\tau}
              + \sum_{c \ne y} e^{s_c/\tau - \log((B-1) p_c + U/n)}\Big)

    The correction is how often a candidate is expected among the negatives: in the batch by its
    share :math:`p` of the targets, and uniformly with probability 1/n. The positive is not
    corrected, and candidates of the same item as the positive are masked. The candidates are the
    unit vectors of the batch's targets, then of the uniform negatives, duplicates kept;
    ``log_expected`` is the logarithm of the expected number of each.

    References
    ----------
    X. Yi et al. (2019). Sampling-bias-corrected neural modeling for large corpus item
    recommendations. RecSys.
    """
    n_users = len(users)
    scale = users.dtype.type(np.exp(-log_temperature))
    out = None if buffer is None else buffer[:n_users, : len(candidates)]
    scores = np.matmul(users * scale, candidates.T, out=out)
    every = np.arange(n_users)
    of_target = scores[every, every]
    # No cosine is above 1, so this shift is safe for every row without computing its maximum.
    scores -= scale + log_expected.astype(users.dtype)
    np.exp(scores, out=scores)
    scores[_same_item(candidate_rows, n_users)] = 0
    scores[every, every] = np.exp(of_target - scale)
    mass = np.maximum(scores.sum(axis=1), np.float32(1e-37))
    value = float(np.mean(np.log(mass) + scale - of_target, dtype=np.float64))
    # The gradient is (probabilities - one-hot targets) times vectors, part by part.
    factor = scale / users.dtype.type(n_users)
    users_gradient = (scores @ candidates) / mass[:, None]
    users_gradient -= candidates[:n_users]
    users_gradient *= factor
    candidates_gradient = scores.T @ (users * (factor / mass)[:, None])
    candidates_gradient[:n_users] -= users * factor
    log_temperature_gradient = -float(np.einsum("ud,ud->", users_gradient, users, dtype=np.float64))
    return Loss(value, users_gradient, candidates_gradient, log_temperature_gradient)


def _same_item(candidate_rows: np.ndarray, n_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of a user and a candidate that is the same item as the user's target."""
    order = np.argsort(candidate_rows, kind="stable")
    ordered, targets = candidate_rows[order], candidate_rows[:n_users]
    first = np.searchsorted(ordered, targets)
    n_same = np.searchsorted(ordered, targets, side="right") - first
    return np.repeat(np.arange(n_users), n_same), order[positions_of_ranges(first, n_same)]
