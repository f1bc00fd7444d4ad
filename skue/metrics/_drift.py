"""How far the people, items and vectors of one period have moved from those of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from skue._estimator import check_positive_int
from skue.histories._forms import as_histories
from skue.histories._histories import Histories
from skue.histories._statistics import HistoryStatistics, statistics_of_all
from skue.histories._vocabulary import Vocabulary

_N_FOLDS = 5


def drift(
    before: Any,
    after: Any,
    encoder: Any = None,
    *,
    refitted: Any = None,
    n_users: int = 5000,
    random_state: Any = 0,
) -> dict[str, float]:
    r"""Measure how far people, items and vectors have moved from one period to another.

    Compare periods of the same length, and of whole weeks, for example the ``future`` of
    :func:`split_at` at two cut-offs. Users without events are left out.

    Parameters
    ----------
    before, after : Histories or any form that :func:`skue.as_histories` reads
        The events of the earlier and of the later period.
    encoder : fitted encoder, default=None
        Adds the measures of user vectors. It must be fitted before both periods, or on items given
        to it: learned item vectors fit the people of ``fit`` better than others, which alone tells
        two periods apart if only one of them was fitted.
    refitted : fitted encoder, default=None
        A later fit. Adds the measures of both spaces. Its vectors are first rotated onto those of
        ``encoder`` by the orthogonal Procrustes problem over the items that both hold, because a
        new fit may turn the space as a whole.
    n_users : int, default=5000
        Size of the samples of users.
    random_state : int, RandomState instance or None, default=0
        Draws the samples.

    Returns
    -------
    measures : dict of str to float
        ``unknown_items``
            Share of the events of ``after`` whose item has no event in ``before``.
        ``statistics_auc``
            Area under the ROC curve of a logistic regression that tells the users of the two
            periods apart by their :class:`HistoryStatistics` (signed logarithms), over 5 folds in
            which no user is on both sides. 0.5 means that they are alike.
        ``vectors_auc``
            The same by their vectors, with ``encoder``.
        ``unknown_items_normal``, ``statistics_auc_normal``, ``vectors_auc_normal``
            The same measures for two random halves of the users of ``before``: what is normal.
        ``user_cosine``
            Mean cosine of the vectors of the same user in both periods, with ``encoder``, if both
            have user ids and users in common.
        ``item_cosine``
            With ``refitted``: mean cosine of the old and new vectors of the same item.
        ``refit_cosine``
            With ``refitted``: mean cosine of the old and new vectors of the same history of
            ``after``.

    Raises
    ------
    ValueError
        If a period has fewer than 20 users with events, or if ``refitted`` has no item in common
        with ``encoder``.

    Notes
    -----
    If nothing has moved, an AUC of :math:`n` users in each period has a standard error of about
    :math:`0.41 / \sqrt{n}`.

    Examples
    --------
    >>> from skue import drift
    >>> from skue.datasets import make_user_histories
    >>> histories = make_user_histories(n_users=400, n_items=100).histories
    >>> measures = drift(histories[:200], histories[200:])
    >>> measures["unknown_items"]
    0.0
    """
    check_positive_int("n_users", n_users)
    rng = check_random_state(random_state)
    if refitted is not None and encoder is None:
        raise ValueError("refitted is compared with encoder, which is None. Pass both.")
    before, after = (X[X.lengths > 0] for X in (as_histories(before), as_histories(after)))
    for name, period in (("before", before), ("after", after)):
        if len(period) < 4 * _N_FOLDS:
            raise ValueError(
                f"{name} has {len(period)} user(s) with events, but at least {4 * _N_FOLDS} are "
                "needed. Compare longer periods."
            )
    found = _apart(before, after, encoder, n_users, rng)
    first, second = np.array_split(rng.permutation(len(before)), 2)
    normal = _apart(before[np.sort(first)], before[np.sort(second)], encoder, n_users, rng)
    found |= {f"{name}_normal": value for name, value in normal.items()}
    if encoder is not None and before.user_ids is not None and after.user_ids is not None:
        rows = Vocabulary(before.user_ids, "the user_ids of before").lookup(after.user_ids)
        both = _sample(np.flatnonzero(rows >= 0), n_users, rng)
        if len(both):
            pair = _vectors(encoder, before[rows[both]]), _vectors(encoder, after[both])
            found["user_cosine"] = _mean_cosine(*pair)
    if refitted is not None:
        rotation, found["item_cosine"] = _rotation(
            encoder.item_embeddings_, refitted.item_embeddings_
        )
        users = after[_sample(np.arange(len(after)), n_users, rng)]
        new = _padded(_vectors(refitted, users), len(rotation)) @ rotation
        found["refit_cosine"] = _mean_cosine(_padded(_vectors(encoder, users), len(rotation)), new)
    return found


def _apart(
    before: Histories, after: Histories, encoder: Any, n_users: int, rng: np.random.RandomState
) -> dict[str, float]:
    """Return the measures of two batches of users that need no user in common."""
    used = before.item_ids[np.unique(before.codes)]
    unknown = Vocabulary._trusted(used).lookup(after.item_ids)[after.codes] < 0
    pair = [batch[_sample(np.arange(len(batch)), n_users, rng)] for batch in (before, after)]
    statistics = HistoryStatistics(columns=statistics_of_all(*pair))
    numbers = [statistics.fit_transform(batch) for batch in pair]
    found = {
        "unknown_items": float(unknown.mean()),
        "statistics_auc": _auc([np.sign(x) * np.log1p(np.abs(x)) for x in numbers], pair),
    }
    if encoder is not None:
        found["vectors_auc"] = _auc([_vectors(encoder, batch) for batch in pair], pair)
    return found


def _auc(tables: list[np.ndarray], pair: list[Histories]) -> float:
    """Return how well a linear model tells the rows of two tables apart, on unseen users."""
    first, second = pair
    groups = np.arange(len(first) + len(second))
    if first.user_ids is not None and second.user_ids is not None:
        rows = Vocabulary(first.user_ids, "user_ids").lookup(second.user_ids)
        groups[len(first) :] = np.where(rows >= 0, rows, groups[len(first) :])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    is_second = np.repeat([0, 1], [len(first), len(second)])
    folds = GroupKFold(_N_FOLDS)
    X = np.concatenate(tables)
    return float(
        cross_val_score(model, X, is_second, groups=groups, cv=folds, scoring="roc_auc").mean()
    )


def _rotation(old: Any, new: Any) -> tuple[np.ndarray, float]:
    """Return the rotation of new vectors onto old ones, and the mean cosine of the same items."""
    rows = old.lookup(new.ids)
    if not (rows >= 0).any():
        raise ValueError(
            "encoder and refitted have no item in common, so no vector can be compared."
        )
    n_dims = max(old.n_dims, new.n_dims)
    target = _padded(old.vectors[rows[rows >= 0]], n_dims)
    moved = _padded(new.vectors[rows >= 0], n_dims)
    rotation, _ = orthogonal_procrustes(moved, target)
    return rotation, _mean_cosine(target, moved @ rotation)


def _vectors(encoder: Any, users: Histories) -> np.ndarray:
    return np.asarray(encoder.transform(users))


def _padded(vectors: np.ndarray, n_dims: int) -> np.ndarray:
    return np.pad(vectors.astype(np.float64), ((0, 0), (0, n_dims - vectors.shape[1])))


def _mean_cosine(vectors: np.ndarray, others: np.ndarray) -> float:
    return float(np.einsum("ij,ij->i", vectors, others).mean())


def _sample(rows: np.ndarray, n_most: int, rng: np.random.RandomState) -> np.ndarray:
    return rows if len(rows) <= n_most else np.sort(rng.choice(rows, n_most, replace=False))
