"""Fitting and scoring every contender on the same held-out items."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from skue.compare._contenders import Contender, encoders, rankers
from skue.compare._item_features import FeatureFile
from skue.compare._progress import EpochProgress, Progress
from skue.compare._search import Search, search_decay
from skue.compare._split import Split
from skue.items._embedders import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.metrics._evaluation import Evaluation, evaluate
from skue.metrics._scorers import NDCGAtK, RecallAtK, average_precision

CURVE_KS = (1, 2, 5, 10, 20, 50, 100)
USUAL_KS = [20, 50]
# With fewer items, the usual k would be a large part of all items.
_FEW_ITEMS = 100
# If a smaller share of events repeats an item, seen items displace new ones in the ranking. In a
# log with added repeats, keeping seen items became better at about 1.7 %.
_RARELY_AGAIN = 0.01
_N_RESAMPLES = 2000
_TIMED_USERS = 5_000


@dataclass
class Row:
    """The figures of one contender. NaN is a figure that it does not have."""

    name: str
    is_encoder: bool
    recall: dict[int, float]
    ndcg: dict[int, float]
    repeat: float
    explore: float
    cold: float
    warm: float
    curve: dict[int, float]
    fit_seconds: float
    microseconds_per_user: float
    known_items: float = math.nan
    new_items: float = math.nan
    parameters: dict[str, Any] = field(default_factory=dict)
    against: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    average_precision: float = math.nan
    coverage: float = math.nan
    novelty: float = math.nan
    similarity: float = math.nan


@dataclass
class Comparison:
    """Everything that the command prints or writes.

    Attributes
    ----------
    about : dict
        The log, its size and period, the command, the date and the versions.
    split : Split
    ks : list of int
        The first one decides which contender is best.
    ks_given : bool
        Whether the ks come from the command line.
    seen : {"auto", "keep", "exclude"}
        The option of the command line.
    exclude_seen : bool
        Whether items of the history are left out of the ranking.
    items : ItemEmbeddings
        The item vectors of the averages.
    contenders : list of Contender
    rows : list of Row
        The figures of the contenders, in the same order.
    per_user : dict
        Recall at the first k of each user, for each name of a contender.
    best_ranker : str
        Name of the best ranker without vectors.
    search : Search
    shares : dict
        Share of the held-out items that are in the history (``"repeat"``), outside of the
        catalogue (``"unknown"``), or of no training history (``"new"``), and of the users without
        a known event (``"cold"``).
    feature_file : FeatureFile or None
    columns : str
        Which columns of the log were read as what.
    """

    about: dict[str, Any]
    split: Split
    ks: list[int]
    ks_given: bool
    seen: str
    exclude_seen: bool
    items: ItemEmbeddings
    contenders: list[Contender]
    rows: list[Row]
    per_user: dict[str, np.ndarray]
    best_ranker: str
    search: Search
    shares: dict[str, float]
    feature_file: FeatureFile | None = None
    columns: str = ""

    @property
    def encoders(self) -> list[Contender]:
        """The contenders with vectors, which the report saves."""
        return [contender for contender in self.contenders if contender.kind != "ranker"]

    def row(self, name: str) -> Row:
        """Return the figures of a contender."""
        return next(row for row in self.rows if row.name == name)


def compare(
    split: Split,
    given: ItemEmbeddings | None,
    ks: list[int] | None,
    *,
    about: dict[str, Any],
    seen: str,
    progress: Progress,
    feature_file: FeatureFile | None = None,
    columns: str = "",
) -> Comparison:
    """Fit and score rankers and encoders. The first of ``ks`` decides which one is best.

    If no item vectors are given, they are learned from the log. If ``ks`` is None, they depend on
    the number of items. With ``seen="auto"``, items of the history are excluded if very few
    events repeat an item.
    """
    exclude_seen = seen == "exclude" or (seen == "auto" and split.again_share < _RARELY_AGAIN)
    features = None if feature_file is None else feature_file.features
    started = time.perf_counter()
    items = given
    if items is None:
        with progress.stage("learning item vectors from the log"):
            embedder = CooccurrenceItemEmbedder(item_features=features)
            items = embedder.fit(split.train).item_embeddings_
    items_seconds = time.perf_counter() - started
    _require_known_items(split, items)
    chosen_ks = ks or usual_ks(len(items))

    started = time.perf_counter()
    with progress.stage("searching the decay"):
        search = search_decay(
            split,
            given,
            k=chosen_ks[0],
            exclude_seen=exclude_seen,
            on_trial=partial(progress.advance, part="candidate"),
        )
    search_seconds = time.perf_counter() - started

    contenders = rankers(split, exclude_seen=exclude_seen) + encoders(
        split,
        items,
        search,
        items_given=given is not None,
        item_features=features,
        items_seconds=items_seconds,
        search_seconds=search_seconds,
    )
    rows, per_user, shares = [], {}, {}
    for number, contender in enumerate(contenders, start=1):
        with progress.stage(f"[{number}/{len(contenders)}] {contender.name}"):
            microseconds = _fit(contender, split, progress)
            evaluation = evaluate(
                contender.estimator,
                split.queries,
                split.held_out,
                exclude_seen=exclude_seen,
                n_listed=chosen_ks[0],
            )
        rows.append(_row(contender, evaluation, chosen_ks, items, microseconds))
        per_user[contender.name] = _recall(chosen_ks[0]).per_user(evaluation)
        if contender.name == "plain average":
            shares = _shares(evaluation)
    best = max(
        (row.name for row in rows if not row.is_encoder), key=lambda name: per_user[name].mean()
    )
    for row in rows:
        for other in dict.fromkeys([best, "plain average"]):
            if other == row.name:
                continue
            row.against[other] = paired_interval(per_user[row.name], per_user[other])
    return Comparison(
        about,
        split,
        chosen_ks,
        ks is not None,
        seen,
        exclude_seen,
        items,
        contenders,
        rows,
        per_user,
        best,
        search,
        shares,
        feature_file,
        columns,
    )


def usual_ks(n_items: int) -> list[int]:
    """Return the default k, which are smaller if there are few items."""
    if n_items >= _FEW_ITEMS:
        return USUAL_KS
    return sorted({max(1, n_items // 5), max(1, n_items // 2)})


def paired_interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the mean difference over users and its 95 % bootstrap interval.

    Users are drawn with replacement. Users with the same difference are interchangeable, so the
    counts of the distinct differences follow a multinomial distribution. One user has no interval:
    its ends are NaN.
    """
    differences = np.round(ours - theirs, 12)
    n_users = len(differences)
    if n_users < 2:
        return float(differences.mean()), math.nan, math.nan
    values, counts = np.unique(differences, return_counts=True)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n_users, counts / n_users, size=_N_RESAMPLES)
    low, high = np.percentile(drawn @ values / n_users, [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)


def _require_known_items(split: Split, items: ItemEmbeddings) -> None:
    if not (items.lookup(split.train.item_ids) >= 0).any():
        raise ValueError(
            f"No item of the log has a vector: the log has ids such as "
            f"{split.train.item_ids[:3].tolist()}, but --items has ids such as "
            f"{items.ids[:3].tolist()}."
        )


def _fit(contender: Contender, split: Split, progress: Progress) -> float:
    """Fit a contender, and return the microseconds a user that its vectors take afterwards."""
    estimator = contender.estimator
    # Before scikit-learn 1.9 there are no callbacks.
    follows = progress.moves and hasattr(estimator, "set_callbacks")
    started = time.perf_counter()
    if follows:
        estimator.set_callbacks(EpochProgress(progress))
    estimator.fit(split.train)
    if follows:
        estimator.set_callbacks()  # not part of the saved encoder
    contender.seconds += time.perf_counter() - started
    if contender.first_stage is not None:
        contender.seconds += contender.first_stage.seconds
    if contender.kind == "ranker":
        return math.nan
    timed = split.queries[:_TIMED_USERS]
    started = time.perf_counter()
    # A second stage does more than encode.
    (estimator.recommend if contender.kind == "recommender" else estimator.transform)(timed)
    return 1e6 * (time.perf_counter() - started) / len(timed)


def _row(
    contender: Contender,
    evaluation: Evaluation,
    ks: list[int],
    items: ItemEmbeddings,
    microseconds: float,
) -> Row:
    k = ks[0]
    recall = _recall(k).per_user(evaluation)
    return Row(
        contender.name,
        contender.kind != "ranker",
        recall={k: float(_recall(k).per_user(evaluation).mean()) for k in ks},
        ndcg={k: float(NDCGAtK(k).per_user(evaluation).mean()) for k in ks},
        repeat=_recall(k).of_part(evaluation, evaluation.repeated),
        explore=_recall(k).of_part(evaluation, ~evaluation.repeated),
        cold=_mean(recall[evaluation.cold]),
        warm=_mean(recall[~evaluation.cold]),
        curve={k: float(_recall(k).per_user(evaluation).mean()) for k in CURVE_KS},
        fit_seconds=contender.seconds,
        microseconds_per_user=microseconds,
        known_items=_recall(k).of_part(evaluation, ~evaluation.new & evaluation.new.any()),
        new_items=_recall(k).of_part(evaluation, evaluation.new),
        parameters=contender.parameters,
        average_precision=float(average_precision(evaluation, k).mean()),
        coverage=evaluation.coverage(k),
        novelty=evaluation.novelty(k),
        # By the same item vectors for all contenders.
        similarity=evaluation.similarity(k, items),
    )


def _shares(evaluation: Evaluation) -> dict[str, float]:
    return {
        "repeat": float(evaluation.repeated.mean()),
        "unknown": float(evaluation.unknown.mean()),
        "new": float(evaluation.new.mean()),
        "cold": float(evaluation.cold.mean()),
    }


def _recall(k: int) -> RecallAtK:
    return RecallAtK(k, normalize="min")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
