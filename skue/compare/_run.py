"""Fitting and scoring every contender on the same held-out items."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from skue.compare._comparison import USUAL_KS, Comparison, Row
from skue.compare._contenders import Contender, encoders, rankers
from skue.compare._item_features import FeatureFile
from skue.compare._progress import EpochProgress, Progress
from skue.compare._search import Search, search_decay
from skue.compare._split import Split
from skue.items._embedders import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.metrics._evaluation import Evaluation, evaluate, mean_or_nan
from skue.metrics._scorers import NDCGAtK, RecallAtK, average_precision

CURVE_KS = (1, 2, 5, 10, 20, 50, 100)
# With fewer items, the usual k would be a large part of all items.
_FEW_ITEMS = 100
# If a smaller share of events repeats an item, seen items displace new ones in the ranking. In a
# log with added repeats, keeping seen items became better at about 1.7 %.
_RARELY_AGAIN = 0.01
_TIMED_USERS = 5_000
_TIMED_LISTS = 1_000


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
    on_row: Callable[[Comparison], None] = lambda comparison: None,
) -> Comparison:
    """Fit and score rankers and encoders. The first of ``ks`` decides which one is best.

    If no item vectors are given, they are learned from the log. If ``ks`` is None, they depend on
    the number of items. With ``seen="auto"``, items of the history are excluded if very few
    events repeat an item.

    As soon as the best ranker is known, ``on_row`` is called with the rows so far after each row.
    If the comparison is interrupted or fails when at least two rows are done, these are returned,
    and the reason is in ``stopped``.
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
    if not (items.lookup(split.train.item_ids) >= 0).any():
        raise ValueError(
            f"No item of the log has a vector: the log has ids such as "
            f"{split.train.item_ids[:3].tolist()}, but --items has ids such as "
            f"{items.ids[:3].tolist()}."
        )
    chosen_ks = ks or usual_ks(len(items))

    contenders = rankers(split, exclude_seen=exclude_seen) + encoders(
        split,
        items,
        items_given=given is not None,
        item_features=features,
        items_seconds=items_seconds,
    )
    comparison = Comparison(
        about,
        columns,
        split,
        chosen_ks,
        ks is not None,
        seen,
        exclude_seen,
        items,
        contenders,
        feature_file,
    )
    # The plain average first: it tells how many held-out items can be found.
    in_order = sorted(contenders, key=lambda contender: contender.name != "plain average")
    try:
        for number, contender in enumerate(in_order, start=1):
            with progress.stage(f"[{number}/{len(contenders)}] {contender.name}"):
                if contender.is_searched:
                    comparison.search = _search(contender, comparison, given, progress)
                microseconds = _fit(contender, split, progress)
                evaluation = evaluate(
                    contender.estimator,
                    split.queries,
                    split.held_out,
                    exclude_seen=exclude_seen,
                    n_listed=chosen_ks[0],
                )
                listing = _time_of_lists(contender.estimator, comparison)
            if contender.name == "plain average":
                comparison.shares = {
                    "repeat": float(evaluation.repeated.mean()),
                    "unknown": float(evaluation.unknown.mean()),
                    "new": float(evaluation.new.mean()),
                    "cold": float(evaluation.cold.mean()),
                }
            comparison.lists[contender.name] = [
                evaluation.items.ids[best[best >= 0]]
                for best in evaluation.lists[comparison.examples]
            ]
            comparison.add(*_row(contender, evaluation, chosen_ks, items, microseconds, listing))
            if comparison.has_rankers:
                comparison.set_intervals()
                on_row(comparison)
    except BaseException as reason:
        if len(comparison.rows) < 2:
            raise
        comparison.stopped = reason
        comparison.set_intervals()
    return comparison


def usual_ks(n_items: int) -> list[int]:
    """Return the default k, which are smaller if there are few items."""
    if n_items >= _FEW_ITEMS:
        return USUAL_KS
    return sorted({max(1, n_items // 5), max(1, n_items // 2)})


def _search(
    contender: Contender, comparison: Comparison, given: ItemEmbeddings | None, progress: Progress
) -> Search:
    """Find the parameters of a contender."""
    started = time.perf_counter()
    search = search_decay(
        comparison.split,
        given,
        k=comparison.ks[0],
        exclude_seen=comparison.exclude_seen,
        on_trial=partial(progress.advance, part="candidate"),
    )
    contender.estimator.set_params(**search.found)
    contender.parameters = search.found
    contender.seconds += time.perf_counter() - started
    return search


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


def _time_of_lists(estimator: Any, comparison: Comparison) -> float:
    """Return the microseconds a user that recommending takes, in one batch."""
    timed = comparison.split.queries[:_TIMED_LISTS]
    started = time.perf_counter()
    estimator.recommend(timed, k=comparison.ks[0], exclude_seen=comparison.exclude_seen)
    return 1e6 * (time.perf_counter() - started) / len(timed)


def _row(
    contender: Contender,
    evaluation: Evaluation,
    ks: list[int],
    items: ItemEmbeddings,
    microseconds: float,
    recommend_microseconds: float,
) -> tuple[Row, np.ndarray]:
    """Return the figures of a contender, and its recall at the first k for each user."""
    k = ks[0]
    at = {k: RecallAtK(k, normalize="min") for k in (*ks, *CURVE_KS)}
    mean = {k: float(recall.per_user(evaluation).mean()) for k, recall in at.items()}
    per_user = at[k].per_user(evaluation)
    row = Row(
        contender.name,
        contender.kind != "ranker",
        recall={k: mean[k] for k in ks},
        ndcg={k: float(NDCGAtK(k).per_user(evaluation).mean()) for k in ks},
        repeat=at[k].of_part(evaluation, evaluation.repeated),
        explore=at[k].of_part(evaluation, ~evaluation.repeated),
        cold=mean_or_nan(per_user[evaluation.cold]),
        warm=mean_or_nan(per_user[~evaluation.cold]),
        curve={k: mean[k] for k in CURVE_KS},
        fit_seconds=contender.seconds,
        microseconds_per_user=microseconds,
        recommend_microseconds=recommend_microseconds,
        new_items=at[k].of_part(evaluation, evaluation.new),
        parameters=contender.parameters,
        average_precision=float(average_precision(evaluation, k).mean()),
        coverage=evaluation.coverage(k),
        novelty=evaluation.novelty(k),
        # By the same item vectors for all contenders.
        similarity=evaluation.similarity(k, items),
    )
    return row, per_user
