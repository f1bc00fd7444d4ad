"""Fitting and scoring every contender on the same held-out items."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from skue.compare._about import About
from skue.compare._contenders import (
    ENCODER_NAMES,
    encoders,
    rankers,
)
from skue.compare._item_features import FeatureFile
from skue.compare._progress import EpochProgress, Progress
from skue.compare._search import Search, search_decay
from skue.compare._task import Task
from skue.histories._histories import Histories
from skue.items._embedders import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures
from skue.metrics._evaluation import Evaluation, evaluate
from skue.metrics._scorers import NDCGAtK, RecallAtK, average_precision

_N_RESAMPLES = 2000
CURVE_KS = (1, 2, 5, 10, 20, 50, 100)
_USUAL_KS = [20, 50]
# With fewer items, the usual k would be a large part of all items.
_FEW_ITEMS = 100
# If a smaller share of events repeats an item, seen items displace new ones in the ranking. In a
# log with added repeats, keeping seen items became better at about 1.7 %.
RARELY_AGAIN = 0.01
_BASKETS_FROM = 0.5
_TIMED_USERS = 5_000
# Similar users are found among all, which takes time and memory with the square of their number.
_COMPARED_USERS = 10_000


@dataclass
class Row:
    """The figures of one contender."""

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
    """Everything that the command prints or writes."""

    about: About
    task: Task
    ks: list[int]
    ks_given: bool
    seen: str
    exclude_seen: bool
    items: ItemEmbeddings
    rows: list[Row]
    best_ranker: str
    per_user: dict[str, np.ndarray]
    encoders: dict[str, Any]
    search: Search
    repeat_share: float
    unknown_share: float
    new_share: float = 0.0
    # How the columns of the item features were encoded.
    encoding: str | None = None


def compare(
    task: Task,
    given: ItemEmbeddings | None,
    ks: list[int] | None,
    *,
    about: About,
    seen: str,
    progress: Progress,
    item_features: FeatureFile | None = None,
) -> Comparison:
    """Fit and score rankers and encoders. The first of ``ks`` decides which one is best.

    If no item vectors are given, they are learned from the log. If ``ks`` is None, they depend on
    the number of items. With ``seen="auto"``, items of the history are excluded if very few
    events repeat an item.
    """
    exclude_seen = seen == "exclude" or (seen == "auto" and task.again_share < RARELY_AGAIN)
    chosen_rankers = rankers(exclude_seen=exclude_seen, baskets=_has_few_baskets(task))
    n_encoders = len(ENCODER_NAMES) - (task.unit == "event")
    progress.n_stages = (given is None) + len(chosen_rankers) + 1 + n_encoders
    features = None if item_features is None else item_features.features
    items, items_seconds = _items(task, given, features, progress)
    _require_known_items(task, items)

    scoring = _Scoring(task, items, ks or usual_ks(len(items)), exclude_seen, progress)
    for name, ranker in chosen_rankers.items():
        scoring.add_ranker(name, ranker)
    searching = time.perf_counter()
    with progress.stage("searching the decay"):
        search = search_decay(
            task,
            given,
            k=scoring.ks[0],
            exclude_seen=exclude_seen,
            on_trial=partial(progress.advance, part="candidate"),
        )
    search_seconds = time.perf_counter() - searching
    fitted = encoders(
        task, items, search.found, items_given=given is not None, item_features=features
    )
    for name, encoder in fitted.items():
        row = scoring.add_encoder(name, encoder)
        # The time to learn the item vectors is part of the cost of the encoders that use them.
        if getattr(encoder, "item_embeddings", None) is items:
            row.fit_seconds += items_seconds
        if isinstance(getattr(encoder, "encoder", None), FrozenEstimator):
            row.fit_seconds += scoring.rows[-2].fit_seconds
        if name.endswith("searched"):
            row.fit_seconds += search_seconds
            row.parameters = search.found
    return Comparison(
        about,
        task,
        scoring.ks,
        ks is not None,
        seen,
        exclude_seen,
        items,
        scoring.rows,
        scoring.set_against_the_best_ranker(),
        scoring.per_user,
        fitted,
        search,
        scoring.repeat_share,
        scoring.unknown_share,
        scoring.new_share,
        None if item_features is None else item_features.encoding,
    )


def _has_few_baskets(task: Task) -> bool:
    """Whether several items share an instant, and all users can be compared with one another."""
    return task.simultaneous_share > _BASKETS_FROM and len(task.train) <= _COMPARED_USERS


def usual_ks(n_items: int = _FEW_ITEMS) -> list[int]:
    """Return the default k, which are smaller if there are few items."""
    if n_items >= _FEW_ITEMS:
        return _USUAL_KS
    return sorted({max(1, n_items // 5), max(1, n_items // 2)})


def paired_interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the mean difference over users and its 95 % bootstrap interval.

    Users are drawn with replacement. Users with the same difference are interchangeable, so the
    counts of the distinct differences follow a multinomial distribution.
    """
    differences = np.round(ours - theirs, 12)
    values, counts = np.unique(differences, return_counts=True)
    n_users = len(differences)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n_users, counts / n_users, size=_N_RESAMPLES)
    low, high = np.percentile(drawn @ values / n_users, [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)


def _items(
    task: Task,
    given: ItemEmbeddings | None,
    features: ItemFeatures | None,
    progress: Progress,
) -> tuple[ItemEmbeddings, float]:
    """Return the given item vectors, or learn them; and the seconds that this took."""
    if given is not None:
        return given, 0.0
    started = time.perf_counter()
    with progress.stage("learning item vectors from the log"):
        embedder = CooccurrenceItemEmbedder(item_features=features)
        items = embedder.fit(task.train).item_embeddings_
    return items, time.perf_counter() - started


def _require_known_items(task: Task, items: ItemEmbeddings) -> None:
    if not (items.lookup(task.train.item_ids) >= 0).any():
        raise ValueError(
            f"No item of the log has a vector: the log has ids such as "
            f"{task.train.item_ids[:3].tolist()}, but --items has ids such as "
            f"{items.ids[:3].tolist()}."
        )


class _Scoring:
    """Scores the contenders on the same held-out items, and keeps their figures."""

    def __init__(
        self,
        task: Task,
        items: ItemEmbeddings,
        ks: list[int],
        exclude_seen: bool,
        progress: Progress,
    ) -> None:
        self.task, self.items, self.ks = task, items, ks
        self.exclude_seen, self.progress = exclude_seen, progress
        self.rows: list[Row] = []
        self.per_user: dict[str, np.ndarray] = {}

    def add_ranker(self, name: str, ranker: Any) -> None:
        with self.progress.stage(name):
            started = time.perf_counter()
            ranker.fit(self.task.train)
            seconds = time.perf_counter() - started
            evaluation = evaluate(
                ranker,
                self.task.queries,
                self.task.held_out,
                exclude_seen=self.exclude_seen,
                n_listed=self.ks[0],
            )
        self._keep(self._row(name, False, evaluation, seconds, float("nan")), evaluation)

    def add_encoder(self, name: str, encoder: Any) -> Row:
        queries = self.task.queries
        with self.progress.stage(name):
            started = time.perf_counter()
            self._fit(encoder, self.task.train)
            fitted = time.perf_counter()
            timed = queries[:_TIMED_USERS]
            if hasattr(encoder, "encoder_"):  # A second stage does more than encode.
                encoder.recommend(timed)
            else:
                encoder.transform(timed)
            done = time.perf_counter()
            evaluation = evaluate(
                encoder,
                queries,
                self.task.held_out,
                exclude_seen=self.exclude_seen,
                n_listed=self.ks[0],
            )
        micro = 1e6 * (done - fitted) / len(timed)
        row = self._row(name, True, evaluation, fitted - started, micro)
        self._keep(row, evaluation)
        return row

    def set_against_the_best_ranker(self) -> str:
        """Compare all rows with the best ranker and the plain average; return the ranker's name."""
        named = [row.name for row in self.rows if not row.is_encoder]
        best = max(named, key=lambda name: self.per_user[name].mean())
        for row in self.rows:
            for other in (best, "plain average"):
                if row.name != other:
                    row.against[other] = paired_interval(
                        self.per_user[row.name], self.per_user[other]
                    )
        return best

    def _fit(self, encoder: Any, histories: Histories) -> None:
        # Before scikit-learn 1.9 there are no callbacks, and only the elapsed time is shown.
        follows = self.progress.moves and hasattr(encoder, "set_callbacks")
        if follows:
            encoder.set_callbacks(EpochProgress(self.progress))
        encoder.fit(histories)
        if follows:
            encoder.set_callbacks()  # not part of the saved encoder

    def _keep(self, row: Row, evaluation: Evaluation) -> None:
        self.rows.append(row)
        self.per_user[row.name] = _recall(self.ks[0]).per_user(evaluation)
        self.repeat_share = float(np.mean(evaluation.repeated))
        self.unknown_share = float(np.mean(evaluation.unknown))
        self.new_share = float(np.mean(evaluation.new))

    def _row(
        self,
        name: str,
        is_encoder: bool,
        evaluation: Evaluation,
        fit_seconds: float,
        microseconds: float,
    ) -> Row:
        ks, k = self.ks, self.ks[0]
        recall = _recall(k).per_user(evaluation)
        return Row(
            name,
            is_encoder,
            recall={k: float(_recall(k).per_user(evaluation).mean()) for k in ks},
            ndcg={k: float(NDCGAtK(k).per_user(evaluation).mean()) for k in ks},
            repeat=_recall(k).of_part(evaluation, evaluation.repeated),
            explore=_recall(k).of_part(evaluation, ~evaluation.repeated),
            cold=_mean(recall[evaluation.cold]),
            warm=_mean(recall[~evaluation.cold]),
            curve={k: float(_recall(k).per_user(evaluation).mean()) for k in CURVE_KS},
            fit_seconds=fit_seconds,
            microseconds_per_user=microseconds,
            average_precision=float(average_precision(evaluation, k).mean()),
            coverage=evaluation.coverage(k),
            novelty=evaluation.novelty(k),
            # By the same item vectors for all contenders.
            similarity=evaluation.similarity(k, self.items),
            known_items=_recall(k).of_part(evaluation, ~evaluation.new & evaluation.new.any()),
            new_items=_recall(k).of_part(evaluation, evaluation.new),
        )


def _recall(k: int) -> RecallAtK:
    return RecallAtK(k, normalize="min")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
