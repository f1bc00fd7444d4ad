"""Fit and score every contender on the same held-out items."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skue.compare._contenders import RANKERS, encoders, learned_by, search_decay
from skue.compare._rankers import TOLERANCE
from skue.compare._task import Task
from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.metrics._evaluation import Evaluation, evaluate

_N_RESAMPLES = 2000
CURVE_KS = (1, 2, 5, 10, 20, 50, 100)


@dataclass
class Row:
    """One contender's figures, as the table shows them."""

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
    parameters: dict[str, Any] = field(default_factory=dict)
    against: dict[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass
class Comparison:
    """Everything that the command prints or writes."""

    task: Task
    ks: list[int]
    exclude_seen: bool
    items: ItemEmbeddings
    rows: list[Row]
    best_ranker: str
    per_user: dict[str, np.ndarray]
    encoders: dict[str, Any]
    trials: list[dict[str, Any]]
    repeat_share: float
    unknown_share: float


def compare(
    task: Task,
    given: ItemEmbeddings | None,
    ks: list[int],
    *,
    exclude_seen: bool,
    report_progress: Callable[[str], None],
) -> Comparison:
    """Fit and score rankers and encoders; the first of ``ks`` is the one that decides."""
    started = time.perf_counter()
    items = given
    if items is None:
        report_progress("learning item vectors from the log")
        items = CooccurrenceItemEmbedder().fit(task.train).item_embeddings_
    items_seconds = time.perf_counter() - started
    _require_known_items(task, items)

    rows, per_user = [], {}
    for name, ranker in RANKERS.items():
        report_progress(name)
        row, evaluation = _score_ranker(name, ranker(), task, items, ks, exclude_seen)
        rows.append(row)
        per_user[name] = evaluation.recall(ks[0], "min")
    report_progress("searching decay and repeat exponent")
    searching = time.perf_counter()
    found, trials = search_decay(task, given, k=ks[0], exclude_seen=exclude_seen)
    search_seconds = time.perf_counter() - searching
    fitted = {}
    for name, encoder in encoders(task, items, found, items_given=given is not None).items():
        report_progress(name)
        row, evaluation = _score_encoder(name, encoder, task, ks, exclude_seen)
        # What a contender was given to start from is part of its cost.
        row.fit_seconds += items_seconds if encoder.item_embeddings is items else 0.0
        if name.endswith("searched"):
            row.fit_seconds += search_seconds
            row.parameters = found
        rows.append(row)
        per_user[name] = evaluation.recall(ks[0], "min")
        fitted[name] = encoder
    best_ranker = max(RANKERS, key=lambda name: per_user[name].mean())
    for row in rows:
        for other in (best_ranker, "plain average"):
            if row.name != other:
                row.against[other] = paired_interval(per_user[row.name], per_user[other])
    return Comparison(
        task,
        ks,
        exclude_seen,
        items,
        rows,
        best_ranker,
        per_user,
        fitted,
        trials,
        repeat_share=float(np.mean(evaluation.repeated)),
        unknown_share=float(np.mean(evaluation.unknown)),
    )


def paired_interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the mean difference over users and its 95 % bootstrap interval.

    Users are drawn with replacement. Users with the same difference are interchangeable, so how
    often each distinct difference is drawn follows a multinomial distribution.
    """
    differences = np.round(ours - theirs, 12)
    values, counts = np.unique(differences, return_counts=True)
    n_users = len(differences)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n_users, counts / n_users, size=_N_RESAMPLES)
    low, high = np.percentile(drawn @ values / n_users, [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)


def _require_known_items(task: Task, items: ItemEmbeddings) -> None:
    if not (items.lookup(task.train.item_ids) >= 0).any():
        raise ValueError(
            f"No item of the log is among the item vectors: the log has ids such as "
            f"{task.train.item_ids[:3].tolist()}, the vectors {items.ids[:3].tolist()}."
        )


def _score_ranker(
    name: str, ranker: Any, task: Task, items: ItemEmbeddings, ks: list[int], exclude_seen: bool
) -> tuple[Row, Evaluation]:
    started = time.perf_counter()
    ranker.fit(task.train, items)
    fitted = time.perf_counter()
    evaluation = Evaluation(
        ranker.score_blocks(task.queries),
        items,
        task.queries,
        task.held_out,
        exclude_seen=exclude_seen,
        tolerance=TOLERANCE,
    )
    return _row(name, False, evaluation, ks, fitted - started, float("nan")), evaluation


def _score_encoder(
    name: str, encoder: Any, task: Task, ks: list[int], exclude_seen: bool
) -> tuple[Row, Evaluation]:
    started = time.perf_counter()
    encoder.fit(learned_by(name, task))
    fitted = time.perf_counter()
    encoder.transform(task.queries)
    seconds = time.perf_counter() - fitted
    evaluation = evaluate(encoder, task.queries, task.held_out, exclude_seen=exclude_seen)
    micro = 1e6 * seconds / len(task.queries)
    return _row(name, True, evaluation, ks, fitted - started, micro), evaluation


def _row(
    name: str,
    is_encoder: bool,
    evaluation: Evaluation,
    ks: list[int],
    fit_seconds: float,
    microseconds: float,
) -> Row:
    recall = evaluation.recall(ks[0], "min")
    return Row(
        name,
        is_encoder,
        recall={k: float(evaluation.recall(k, "min").mean()) for k in ks},
        ndcg={k: float(evaluation.ndcg(k).mean()) for k in ks},
        repeat=evaluation.part_recall(ks[0], repeated=True),
        explore=evaluation.part_recall(ks[0], repeated=False),
        cold=_mean(recall[evaluation.cold]),
        warm=_mean(recall[~evaluation.cold]),
        curve={k: float(evaluation.recall(k, "min").mean()) for k in CURVE_KS},
        fit_seconds=fit_seconds,
        microseconds_per_user=microseconds,
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
