"""Scorers for ``scoring=``: how well the vectors find what was held out."""

from __future__ import annotations

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

    def __call__(self, estimator: Any, X: Any, y: Any) -> Score:
        """Score a fitted estimator on histories X and held-out items y."""
        validate_parameter_constraints(self._constraints, vars(self), type(self).__name__)
        return self._read(evaluate(estimator, X, y, exclude_seen=vars(self)["exclude_seen"]))

    def _read(self, evaluation: Evaluation) -> Score:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self)))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({shown})"


class RecallAtK(_Scorer[float]):
    r"""Recall at k over the full catalogue.

    For each user with relevant items :math:`R` and first k items :math:`L`,

    .. math:: |L \cap R| \,/\, |R|

    and the mean over users. Scores within 1e-6 of one another are tied: with ``a`` items surely
    above, ``t`` tied and ``r`` of them relevant, ``s = min(max(k - a, 0), t)`` places are open and
    ``s r / t`` hits expected. Unknown held-out items are misses; duplicates count once.

    Parameters
    ----------
    k : int, default=20
    exclude_seen : bool, default=False
        Leave the items of each history out of the ranking. A held-out item that is in the history
        is then a miss.
    normalize : {"relevant", "min", "hit"}, default="relevant"
        Divide the hits by the relevant items, by ``min(k, relevant)``, or count any hit as 1.

    Raises
    ------
    ValueError
        For NaN, for y of another length, for users with no held-out item, and for estimators
        that hold no encoder.

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

    def __init__(
        self,
        k: int = 20,
        *,
        exclude_seen: bool = False,
        normalize: Literal["relevant", "min", "hit"] = "relevant",
    ) -> None:
        self.k = k
        self.exclude_seen = exclude_seen
        self.normalize = normalize

    def _read(self, evaluation: Evaluation) -> float:
        return float(np.mean(evaluation.recall(self.k, self.normalize)))


class NDCGAtK(_Scorer[float]):
    r"""Normalised discounted cumulative gain at k over the full catalogue.

    A relevant item at rank :math:`p \le k` adds :math:`1 / \log_2(p + 1)`; the sum is divided by
    its largest possible value, and averaged over users. Ties are taken in expectation.

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

    def __init__(self, k: int = 20, *, exclude_seen: bool = False) -> None:
        self.k = k
        self.exclude_seen = exclude_seen

    def _read(self, evaluation: Evaluation) -> float:
        return float(np.mean(evaluation.ndcg(self.k)))


class MRR(_Scorer[float]):
    """Mean reciprocal rank of each user's first relevant item, over the full catalogue.

    Ties are taken in expectation; a user none of whose held-out items is known counts 0.

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

    def __init__(self, *, exclude_seen: bool = False) -> None:
        self.exclude_seen = exclude_seen

    def _read(self, evaluation: Evaluation) -> float:
        return float(np.mean(evaluation.reciprocal_rank()))


class RetrievalScores(_Scorer[dict[str, float]]):
    """Several metrics from one pass, as the dict that multi-metric search takes.

    Parameters
    ----------
    k : tuple of int, default=(20, 50)
    exclude_seen : bool, default=False
        Leave the items of each history out of the ranking.
    normalize : {"relevant", "min", "hit"}, default="relevant"
        As for :class:`RecallAtK`.
    breakdown : bool, default=False
        Add the recall of cold and warm users and of repeated and new items (NaN where there are
        none), and the shares of cold users and of repeated and unknown held-out items.

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

    def __init__(
        self,
        k: Any = (20, 50),
        *,
        exclude_seen: bool = False,
        normalize: Literal["relevant", "min", "hit"] = "relevant",
        breakdown: bool = False,
    ) -> None:
        self.k = k
        self.exclude_seen = exclude_seen
        self.normalize = normalize
        self.breakdown = breakdown

    def _read(self, evaluation: Evaluation) -> dict[str, float]:
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
        scores["mrr"] = float(np.mean(evaluation.reciprocal_rank()))
        if self.breakdown:
            scores["cold_share"] = float(np.mean(evaluation.cold))
            scores["repeat_share"] = float(np.mean(evaluation.repeated))
            scores["unknown_share"] = float(np.mean(evaluation.unknown))
        return scores


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
