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
        return self._score(evaluate(estimator, X, y, exclude_seen=self.exclude_seen))

    def _score(self, evaluation: Evaluation) -> Score:
        raise NotImplementedError


@dataclass(frozen=True)
class RecallAtK(_Scorer[float]):
    r"""Recall at k over the full catalogue.

    The mean over users of

    .. math:: |L \cap R| \,/\, |R|

    with :math:`R` the held-out items of a user and :math:`L` the first k items. Scores within
    1e-6 of one another are tied, and hits among them count with their expected value: of ``t``
    tied items, of which ``r`` are relevant, below ``a`` others, ``s = min(max(k - a, 0), t)`` are
    among the first k, with ``s r / t`` expected hits. Unknown held-out items are misses.
    Duplicates count once.

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
    """Several metrics from one ranking, as a dict for multi-metric search.

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

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, ItemEmbeddings, RetrievalScores
    >>> items = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1]], ids=["tea", "cup", "saw"])
    >>> encoder = DecayAverageUserEncoder(items).fit([["tea"]])
    >>> sorted(RetrievalScores(k=(1,))(encoder, [["tea"]], ["cup"]))
    ['mrr', 'ndcg@1', 'recall@1']
    """

    _constraints: ClassVar[dict[str, list[Any]]] = {
        "k": [tuple, list],
        "exclude_seen": ["boolean"],
        "normalize": _NORMALIZE,
        "breakdown": ["boolean"],
    }

    k: Any = (20, 50)
    _: KW_ONLY
    exclude_seen: bool = False
    normalize: Literal["relevant", "min", "hit"] = "relevant"
    breakdown: bool = False

    def _score(self, evaluation: Evaluation) -> dict[str, float]:
        scores: dict[str, float] = {}
        for k in self.k:
            validate_parameter_constraints({"k": _K}, {"k": k}, type(self).__name__)
            recall = evaluation.recall(k, self.normalize)
            scores[f"recall@{k}"] = float(np.mean(recall))
            scores[f"ndcg@{k}"] = float(np.mean(evaluation.ndcg(k)))
            if self.breakdown:
                cold = evaluation.cold
                scores[f"recall@{k}_cold"] = _mean(recall[cold])
                scores[f"recall@{k}_warm"] = _mean(recall[~cold])
                scores[f"recall@{k}_repeat"] = evaluation.part_recall(k, repeated=True)
                scores[f"recall@{k}_explore"] = evaluation.part_recall(k, repeated=False)
                for name, chosen in (("known", ~evaluation.new), ("new", evaluation.new)):
                    scores[f"recall@{k}_{name}"] = evaluation.recall_of(k, chosen)
        scores["mrr"] = float(np.mean(evaluation.reciprocal_rank()))
        if self.breakdown:
            scores["cold_share"] = float(np.mean(evaluation.cold))
            scores["repeat_share"] = float(np.mean(evaluation.repeated))
            scores["new_share"] = float(np.mean(evaluation.new))
            scores["unknown_share"] = float(np.mean(evaluation.unknown))
        return scores


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
