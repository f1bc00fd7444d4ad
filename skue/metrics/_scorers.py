"""Metrics: scorers for ``scoring=``, each with its formula, and ``recall_at_k``."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints

from skue._estimator import check_positive_int
from skue.histories._alignment import index_of
from skue.histories._targets import target_rows
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._ranking import Products, rank_positives
from skue.kernels._ties import (
    TiedGroups,
    expected_average_precision,
    expected_dcg,
    expected_hit_rate,
    expected_hits,
    expected_reciprocal_rank,
    ideal_dcg,
    tied_groups,
)
from skue.metrics._evaluation import Evaluation, checked_unit_rows, evaluate, mean_or_nan
from skue.reading._ids import is_text


class _Metric:
    """A metric with a value for every user. A subclass computes them in ``per_user``."""

    exclude_seen: bool

    def __post_init__(self) -> None:
        _check(self, getattr(self, "k", 1))

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Score a fitted estimator on histories X and held-out items y."""
        return float(
            np.mean(self.per_user(evaluate(estimator, X, y, exclude_seen=self.exclude_seen)))
        )

    def per_user(self, evaluation: Evaluation) -> np.ndarray:
        """Return the metric of each user.

        Parameters
        ----------
        evaluation : Evaluation
            The ranks of the held-out items, as a scorer computes them.

        Returns
        -------
        values : ndarray of shape (n_users,)
        """
        raise NotImplementedError


def _check(scorer: Any, *ks: Any) -> None:
    """Raise if a parameter of a scorer is invalid."""
    for k in ks:
        check_positive_int("k", k)
    constraints: dict[str, Any] = {
        "exclude_seen": ["boolean"],
        "normalize": [StrOptions({"relevant", "min", "hit"})],
        "breakdown": ["boolean"],
        "beyond_accuracy": ["boolean"],
    }
    given = {name: value for name, value in vars(scorer).items() if name in constraints}
    validate_parameter_constraints(constraints, given, type(scorer).__name__)


@dataclass(frozen=True)
class RecallAtK(_Metric):
    r"""Recall at k over the full catalogue.

    The mean over users of

    .. math:: |L \cap R| \,/\, |R|

    with :math:`R` the held-out items of a user and :math:`L` the first k items. Cosines within
    1e-6 of one another are tied (scores of a recommender: within 1e-9), and hits among them count
    with their expected value: of ``t`` tied items, of which ``r`` are relevant, below ``a``
    others, ``s = min(max(k - a, 0), t)`` are among the first k, with ``s r / t`` expected hits.
    Unknown held-out items are misses. Duplicates count once.

    It is a scorer: ``GridSearchCV(encoder, grid, scoring=RecallAtK(20))``. There is no string for
    it.

    Parameters
    ----------
    k : int, default=20
        How many of the first items count.
    exclude_seen : bool, default=False
        Leave the items of each history out of the ranking. A held-out item that occurs in the
        history is then a miss.
    normalize : {"relevant", "min", "hit"}, default="relevant"
        Divide the hits by the number of relevant items, or by ``min(k, relevant)``, or count one
        or more hits as 1.

    Raises
    ------
    ValueError
        If a vector is not finite, y has another length than X, a user has no held-out item, or
        the estimator has no encoder.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, RecallAtK
    >>> items = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1]], ids=["tea", "cup", "saw"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea"]])
    >>> RecallAtK(1, exclude_seen=True)(encoder, [["tea"], ["saw"]], ["cup", "tea"])
    0.5
    """

    k: int = 20
    _: KW_ONLY
    exclude_seen: bool = False
    normalize: Literal["relevant", "min", "hit"] = "relevant"

    def per_user(self, evaluation: Evaluation) -> np.ndarray:
        return self._recall(evaluation.groups, evaluation.n_relevant)

    def of_part(self, evaluation: Evaluation, chosen: np.ndarray) -> float:
        """Return the recall of some of the held-out items: the mean over users that have any.

        Parameters
        ----------
        evaluation : Evaluation
            The ranks of the held-out items, as a scorer computes them.
        chosen : ndarray of shape (n_held_out,), bool
            Which of the held-out items count, in the order of y.

        Returns
        -------
        recall : float
        """
        groups, n_relevant = evaluation.part(chosen)
        return mean_or_nan(self._recall(groups, np.maximum(n_relevant, 1))[n_relevant > 0])

    def _recall(self, groups: TiedGroups, n_relevant: np.ndarray) -> np.ndarray:
        if self.normalize == "hit":
            return expected_hit_rate(groups, self.k)
        most = np.minimum(n_relevant, self.k) if self.normalize == "min" else n_relevant
        return expected_hits(groups, self.k) / most


@dataclass(frozen=True)
class NDCGAtK(_Metric):
    r"""Normalised discounted cumulative gain at k over the full catalogue.

    A relevant item at rank :math:`p \le k` adds :math:`1 / \log_2(p + 1)`. The sum is divided by
    its largest possible value and averaged over users. Ties count with their expected value.

    Parameters
    ----------
    k : int, default=20
        How many of the first items count.
    exclude_seen : bool, default=False
        Leave the items of each history out of the ranking.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, NDCGAtK
    >>> items = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1]], ids=["tea", "cup", "saw"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea"]])
    >>> round(NDCGAtK(2)(encoder, [["tea"]], ["cup"]), 4)
    0.6309
    """

    k: int = 20
    _: KW_ONLY
    exclude_seen: bool = False

    def per_user(self, evaluation: Evaluation) -> np.ndarray:
        return expected_dcg(evaluation.groups, self.k) / ideal_dcg(evaluation.n_relevant, self.k)


@dataclass(frozen=True)
class MRR(_Metric):
    """Mean reciprocal rank of each user's first relevant item, over the full catalogue.

    Ties count with their expected value. A user without a known held-out item counts 0.

    Parameters
    ----------
    exclude_seen : bool, default=False
        Leave the items of each history out of the ranking.

    Examples
    --------
    >>> from skue import MRR, DecayAverageUserEncoder, ItemEmbeddings
    >>> items = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1]], ids=["tea", "cup", "saw"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea"]])
    >>> round(MRR()(encoder, [["tea"]], ["cup"]), 6)
    0.5
    """

    _: KW_ONLY
    exclude_seen: bool = False

    def per_user(self, evaluation: Evaluation) -> np.ndarray:
        return expected_reciprocal_rank(evaluation.groups)


@dataclass(frozen=True)
class RetrievalScores:
    r"""Several metrics from one ranking, as a dict for multi-metric search.

    For each k, ``recall@k`` and ``ndcg@k`` are those of :class:`RecallAtK` and :class:`NDCGAtK`,
    and ``mrr`` is that of :class:`MRR`. ``map@k`` is the mean over users of the average precision,

    .. math:: \frac{1}{\min(k, |R|)} \sum_{p=1}^{k} [\ell_p \in R]\; \frac{|L_p \cap R|}{p},

    with :math:`R` the held-out items of a user, :math:`\ell_p` the item at rank :math:`p` and
    :math:`L_p` the first p items. Ties count with their expected value.

    Parameters
    ----------
    k : tuple of int, default=(20, 50)
        Numbers of first items; each gives scores of its own.
    exclude_seen : bool, default=False
        Leave the items of each history out of the ranking.
    normalize : {"relevant", "min", "hit"}, default="relevant"
        As for :class:`RecallAtK`.
    breakdown : bool, default=False
        Add the recall of cold and warm users, of repeated and other items (``_repeat``,
        ``_explore``), and of items with and without an event in the log that was fitted
        (``_known``, ``_new``); NaN if there are none. Add the shares of cold users and of repeated,
        new and unknown held-out items.
    beyond_accuracy : bool, default=False
        Add what the first k items are like, whether or not they are hits. Tied items are then in
        the order of the catalogue.

        ``coverage@k``
            The share of the catalogue that is listed for anybody,
            :math:`|\bigcup_u L_u| \,/\, n_\text{items}`.
        ``novelty@k``
            The mean over users of the mean self-information of their items in bits,
            :math:`-\log_2 \frac{1 + n_i}{1 + n}`, where :math:`n_i` of the :math:`n` users of X
            have item i in their history. 0 if everybody has all of them.
        ``similarity@k``
            The intra-list similarity: the mean over users of the mean cosine of two different
            items of their list. It depends on the item vectors, which are those of the estimator,
            so compare it only between estimators with the same items. NaN without item vectors.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, RetrievalScores
    >>> items = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1]], ids=["tea", "cup", "saw"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea"]])
    >>> sorted(RetrievalScores(k=(1,))(encoder, [["tea"]], ["cup"]))
    ['map@1', 'mrr', 'ndcg@1', 'recall@1']
    >>> scores = RetrievalScores(k=(2,), beyond_accuracy=True)(encoder, [["tea"]], ["cup"])
    >>> [round(scores[name], 2) for name in ("coverage@2", "novelty@2", "similarity@2")]
    [0.67, 0.5, 0.8]
    """

    k: Any = (20, 50)
    _: KW_ONLY
    exclude_seen: bool = False
    normalize: Literal["relevant", "min", "hit"] = "relevant"
    breakdown: bool = False
    beyond_accuracy: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.k, (tuple, list)):
            raise ValueError(f"k must be a tuple of integers, got {self.k!r}. Write ({self.k!r},).")
        _check(self, *self.k)

    def __call__(self, estimator: Any, X: Any, y: Any) -> dict[str, float]:
        """Score a fitted estimator on histories X and held-out items y."""
        n_listed = max(self.k, default=0) if self.beyond_accuracy else 0
        evaluation = evaluate(estimator, X, y, exclude_seen=self.exclude_seen, n_listed=n_listed)
        scores: dict[str, float] = {}
        for k in self.k:
            recall = RecallAtK(k, normalize=self.normalize)
            of_users = recall.per_user(evaluation)
            scores[f"recall@{k}"] = float(np.mean(of_users))
            scores[f"ndcg@{k}"] = float(np.mean(NDCGAtK(k).per_user(evaluation)))
            scores[f"map@{k}"] = float(np.mean(average_precision(evaluation, k)))
            if self.beyond_accuracy:
                scores[f"coverage@{k}"] = evaluation.coverage(k)
                scores[f"novelty@{k}"] = evaluation.novelty(k)
                scores[f"similarity@{k}"] = evaluation.similarity(k)
            if self.breakdown:
                scores[f"recall@{k}_cold"] = mean_or_nan(of_users[evaluation.cold])
                scores[f"recall@{k}_warm"] = mean_or_nan(of_users[~evaluation.cold])
                for name, chosen in (
                    ("repeat", evaluation.repeated),
                    ("explore", ~evaluation.repeated),
                    ("known", ~evaluation.new),
                    ("new", evaluation.new),
                ):
                    scores[f"recall@{k}_{name}"] = recall.of_part(evaluation, chosen)
        scores["mrr"] = float(np.mean(MRR().per_user(evaluation)))
        if self.breakdown:
            scores["cold_share"] = float(np.mean(evaluation.cold))
            scores["repeat_share"] = float(np.mean(evaluation.repeated))
            scores["new_share"] = float(np.mean(evaluation.new))
            scores["unknown_share"] = float(np.mean(evaluation.unknown))
        return scores


def average_precision(evaluation: Evaluation, k: int) -> np.ndarray:
    """Return the average precision at k of each user: see :class:`RetrievalScores`."""
    most = np.minimum(evaluation.n_relevant, k)
    return expected_average_precision(evaluation.groups, k) / most


def recall_at_k(user_vectors: Any, item_vectors: Any, targets: Any, k: int = 20) -> float:
    """Return the mean share of each user's targets among the k items with the largest cosines.

    Ties count with their expected value, as in :class:`RecallAtK`.

    Parameters
    ----------
    user_vectors : array-like of shape (n_users, n_dims)
        Scaled to length 1 here. In a pandas DataFrame, an index of text holds the user ids, by
        which targets with an index of text are aligned.
    item_vectors : array-like of shape (n_items, n_dims), or ItemEmbeddings
        One vector per item of the catalogue, in the space of the user vectors.
    targets : array-like of shape (n_users,)
        Row number of each user's item, or an array of row numbers. With ItemEmbeddings, ids
        instead of row numbers.
    k : int, default=20
        How many of the nearest items count.

    Returns
    -------
    recall : float

    Raises
    ------
    ValueError
        If k is below 1, a vector is not finite, or lengths differ.

    Examples
    --------
    >>> from skue import recall_at_k
    >>> recall_at_k([[1, 0], [0, 1]], [[1, 0], [1, 1], [0, 1]], [0, 1], k=1)
    0.5
    """
    check_positive_int("k", k)
    groups = ranked_targets(user_vectors, item_vectors, targets)
    return float(np.mean(expected_hits(groups, k) / groups.n_relevant))


def ranked_targets(user_vectors: Any, item_vectors: Any, targets: Any) -> TiedGroups:
    """Rank each user's targets among all items, by cosine."""
    given = isinstance(item_vectors, ItemEmbeddings)
    items = item_vectors.vectors if given else checked_unit_rows(item_vectors)
    users = checked_unit_rows(user_vectors)
    if users.shape[1] != items.shape[1]:
        raise ValueError(
            f"user_vectors and item_vectors must have the same number of dimensions, got "
            f"{users.shape[1]} and {items.shape[1]}."
        )

    def as_rows(ids: np.ndarray) -> np.ndarray:
        if is_text(ids):
            raise ValueError(
                "targets must be row numbers. To use ids, pass ItemEmbeddings as item_vectors."
            )
        return np.where((ids >= 0) & (ids < len(items)), ids, -1)

    lookup = item_vectors.lookup if given else as_rows
    index = index_of(user_vectors)  # of text: user ids
    named = index is not None and isinstance(next(iter(index), None), str)
    user_ids = np.asarray(index, dtype=object) if named else None
    rows, offsets = target_rows(targets, len(users), lookup, user_ids)
    positives, _ = rank_positives(Products(users, items), len(items), rows, offsets)
    return tied_groups(positives)
