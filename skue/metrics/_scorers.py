"""Scorers for ``scoring=``: how well user vectors retrieve held-out items."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from skue.metrics._evaluation import Evaluation, evaluate

_K = [Interval(Integral, 1, None, closed="left")]
_NORMALIZE = [StrOptions({"relevant", "min", "hit"})]

Score = TypeVar("Score")


class _Scorer(Generic[Score]):
    _constraints: ClassVar[dict[str, list[Any]]] = {}
    exclude_seen: bool

    def __call__(self, estimator: Any, X: Any, y: Any) -> Score:
        """Score a fitted estimator on histories X and held-out items y."""
        validate_parameter_constraints(self._constraints, vars(self), type(self).__name__)
        n_listed = self._n_listed()
        return self._score(
            evaluate(estimator, X, y, exclude_seen=self.exclude_seen, n_listed=n_listed)
        )

    def _n_listed(self) -> int:
        """Return how many of the best items of each user the score needs."""
        return 0

    def _score(self, evaluation: Evaluation) -> Score:
        raise NotImplementedError


@dataclass(frozen=True)
class RecallAtK(_Scorer[float]):
    r"""Recall at k over the full catalogue.

    The mean over users of

    .. math:: |L \cap R| \,/\, |R|

    with :math:`R` the held-out items of a user and :math:`L` the first k items. Cosines within
    1e-6 of one another are tied (scores of a recommender: within 1e-9), and hits among them count
    with their expected value: of ``t`` tied items, of which ``r`` are relevant, below ``a``
    others, ``s = min(max(k - a, 0), t)`` are among the first k, with ``s r / t`` expected hits.
    Unknown held-out items are misses. Duplicates count once.

    Parameters
    ----------
    k : int, default=20
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

    _constraints: ClassVar[dict[str, list[Any]]] = {
        "k": _K,
        "exclude_seen": ["boolean"],
        "normalize": _NORMALIZE,
    }

    k: int = 20
    _: KW_ONLY
    exclude_seen: bool = False
    normalize: Literal["relevant", "min", "hit"] = "relevant"

    def _score(self, evaluation: Evaluation) -> float:
        return float(np.mean(evaluation.recall(self.k, self.normalize)))


@dataclass(frozen=True)
class NDCGAtK(_Scorer[float]):
    r"""Normalised discounted cumulative gain at k over the full catalogue.

    A relevant item at rank :math:`p \le k` adds :math:`1 / \log_2(p + 1)`. The sum is divided by
    its largest possible value and averaged over users. Ties count with their expected value.

    Parameters
    ----------
    k : int, default=20
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

    _constraints: ClassVar[dict[str, list[Any]]] = {"k": _K, "exclude_seen": ["boolean"]}

    k: int = 20
    _: KW_ONLY
    exclude_seen: bool = False

    def _score(self, evaluation: Evaluation) -> float:
        return float(np.mean(evaluation.ndcg(self.k)))


@dataclass(frozen=True)
class MRR(_Scorer[float]):
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

    _constraints: ClassVar[dict[str, list[Any]]] = {"exclude_seen": ["boolean"]}

    _: KW_ONLY
    exclude_seen: bool = False

    def _score(self, evaluation: Evaluation) -> float:
        return float(np.mean(evaluation.reciprocal_rank()))


@dataclass(frozen=True)
class RetrievalScores(_Scorer[dict[str, float]]):
    r"""Several metrics from one ranking, as a dict for multi-metric search.

    For each k, ``recall@k`` and ``ndcg@k`` are those of :class:`RecallAtK` and :class:`NDCGAtK`,
    and ``mrr`` is that of :class:`MRR`. ``map@k`` is the mean over users of the average precision,

    .. math:: \frac{1}{\min(k, |R|)} \sum_{p=1}^{k} [\ell_p \in R]\; \frac{|L_p \cap R|}{p},

    with :math:`R` the held-out items of a user, :math:`\ell_p` the item at rank :math:`p` and
    :math:`L_p` the first p items. Ties count with their expected value.

    Parameters
    ----------
    k : tuple of int, default=(20, 50)
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

    _constraints: ClassVar[dict[str, list[Any]]] = {
        "k": [tuple, list],
        "exclude_seen": ["boolean"],
        "normalize": _NORMALIZE,
        "breakdown": ["boolean"],
        "beyond_accuracy": ["boolean"],
    }

    k: Any = (20, 50)
    _: KW_ONLY
    exclude_seen: bool = False
    normalize: Literal["relevant", "min", "hit"] = "relevant"
    breakdown: bool = False
    beyond_accuracy: bool = False

    def _n_listed(self) -> int:
        return max(self._checked_ks(), default=0) if self.beyond_accuracy else 0

    def _checked_ks(self) -> list[int]:
        for k in self.k:
            validate_parameter_constraints({"k": _K}, {"k": k}, type(self).__name__)
        return list(self.k)

    def _score(self, evaluation: Evaluation) -> dict[str, float]:
        scores: dict[str, float] = {}
        for k in self._checked_ks():
            recall = evaluation.recall(k, self.normalize)
            scores[f"recall@{k}"] = float(np.mean(recall))
            scores[f"ndcg@{k}"] = float(np.mean(evaluation.ndcg(k)))
            scores[f"map@{k}"] = float(np.mean(evaluation.average_precision(k)))
            if self.beyond_accuracy:
                scores[f"coverage@{k}"] = evaluation.coverage(k)
                scores[f"novelty@{k}"] = evaluation.novelty(k)
                scores[f"similarity@{k}"] = evaluation.similarity(k)
            if self.breakdown:
                cold = evaluation.cold
                scores[f"recall@{k}_cold"] = _mean(recall[cold])
                scores[f"recall@{k}_warm"] = _mean(recall[~cold])
                parts = {
                    "repeat": evaluation.repeated,
                    "explore": ~evaluation.repeated,
                    "known": ~evaluation.new,
                    "new": evaluation.new,
                }
                for name, chosen in parts.items():
                    found = evaluation.recall_of(k, chosen, self.normalize)
                    scores[f"recall@{k}_{name}"] = found
        scores["mrr"] = float(np.mean(evaluation.reciprocal_rank()))
        if self.breakdown:
            scores["cold_share"] = float(np.mean(evaluation.cold))
            scores["repeat_share"] = float(np.mean(evaluation.repeated))
            scores["new_share"] = float(np.mean(evaluation.new))
            scores["unknown_share"] = float(np.mean(evaluation.unknown))
        return scores


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
