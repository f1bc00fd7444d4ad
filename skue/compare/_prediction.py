"""Which numbers about a user predict a label best: statistics, counts, factors or user vectors."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.stats import t as student
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer

from skue.compare._contenders import file_of
from skue.compare._labels import Labels
from skue.compare._progress import Progress
from skue.compare._result import Result, figure, interval
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._events import AgeUnit
from skue.encoders._profile import ProfileUserEncoder
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._histories import Histories
from skue.histories._statistics import HistoryStatistics
from skue.items._choices import counts_of
from skue.items._item_features import ItemFeatures

_N_FOLDS, _N_REPEATS = 5, 2
_N_DIMS = 64
_METRIC = {"classes": "AUC", "numbers": "R²"}
_SCORING = {"classes": "roc_auc_ovr", "numbers": "r2"}
_CHANCE = {"classes": 0.5, "numbers": 0.0}

DESCRIPTIONS = {
    "SVD of TF-IDF": f"TF-IDF, see below, in {_N_DIMS} columns: two lines of scikit-learn",
    "statistics": "how many events, how recent, how regular, how varied: numbers of a history",
    "counts": "a column for each item: how often the person chose it",
    "TF-IDF": "the same, where rare items count more",
    "profile": "vectors in which people who choose alike are near each other",
    "profile with item features": "the same, where items with like features are alike, too",
    "statistics and profile": "both blocks of columns side by side",
    "decay average": "the average vector of the items, where newer events count more",
    "two-tower": "vectors of people that were learned to find the items that they choose next",
}


@dataclass
class Prediction:
    """How well the numbers of one contender predict the label.

    Attributes
    ----------
    name : str
    estimator : estimator or None
        What made the columns from all histories, without labels. None for columns of several.
    n_columns : int
    scores : list of float
        One for each fold, the same folds for all contenders.
    seconds : float
        Time of fit and transform.
    against : tuple of float
        Difference from the reference, and its 95 % interval.
    """

    name: str
    estimator: Any = field(repr=False)
    n_columns: int
    scores: list[float]
    seconds: float
    against: tuple[float, float, float] = (math.nan, math.nan, math.nan)

    @property
    def mean(self) -> float:
        """Mean score over the folds."""
        return float(np.mean(self.scores))


@dataclass
class Predictions(Result):
    """The prediction of a label. The first row is the reference."""

    about: dict[str, Any]
    columns: str
    labels: Labels
    names: list[str]
    rows: list[Prediction] = field(default_factory=list)

    @property
    def files(self) -> dict[str, Any]:
        """The fitted encoders by the name of the file that the report saves them in."""
        encoders = [row for row in self.rows if hasattr(row.estimator, "item_embeddings_")]
        return {file_of(row.name): row.estimator for row in encoders}

    @property
    def metric(self) -> str:
        """Name of the score."""
        return _METRIC[self.labels.kind]

    def cells(self) -> dict[str, list[str]]:
        """Return the table by column."""
        rows = self.rows
        return {
            "": [row.name for row in rows],
            self.metric: [figure(row.mean) for row in rows],
            f"against {rows[0].name}": ["-", *(interval(row.against) for row in rows[1:])],
            "columns": [str(row.n_columns) for row in rows],
            "fit s": [f"{row.seconds:.2f}" for row in rows],
        }

    def notes(self) -> list[str]:
        """Return the notes that explain the table."""
        about, labels = self.about, self.labels
        of_classes = (
            "AUC is the area under the ROC curve (with more than two classes, the mean of one "
            "against the others): .5 is chance."
        )
        score = of_classes if labels.kind == "classes" else "R² of 0 is that of the mean."
        return [
            f"Log: {about['log']} ({about['n_users']} users, {about['n_events']} events); "
            f"{len(labels.rows)} users with a label.",
            *([self.columns] if self.columns else []),
            *labels.notes,
            "The columns are learned from all histories, without labels. A linear model learns the "
            f"label from them, in {_N_FOLDS} folds of users, {_N_REPEATS} times; its "
            "regularisation is chosen inside each training fold.",
            f"{score} [...] is a paired 95 % interval over folds, corrected for their shared "
            "users.",
            "The last line follows a rule: use the simplest contender (the one further up, the "
            "reference first) that is not significantly below the best one.",
            "If the label is about a later time, cut the log before it with skue.split_at: "
            "otherwise the histories contain what is to be predicted.",
        ]

    def recommendation(self) -> str:
        """Return what follows from the figures of the contenders that are done."""
        rows, metric, kind = self.rows, self.metric, self.labels.kind
        best = max(rows, key=lambda row: row.mean)
        chance = [_CHANCE[kind]] * len(best.scores)
        if not interval_over_folds(best.scores, chance)[1] > 0:
            return (
                f"Nothing predicts {self.labels.name!r}: the best, '{best.name}', has {metric} "
                f"{best.mean:.3f}, which is not significantly above {chance[0]:g}."
            )
        chosen = next(
            row
            for row in rows
            if row is best or not interval_over_folds(best.scores, row.scores)[1] > 0
        )
        told = f"Use '{chosen.name}': {metric} {chosen.mean:.3f}"
        if chosen is not best:
            told += f", not significantly below '{best.name}' {best.mean:.3f}"
        if chosen is not rows[0]:
            told += (
                f"; '{rows[0].name}' has {rows[0].mean:.3f}, difference {interval(chosen.against)}"
            )
        return told + "."

    def content(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        rows = [
            {
                "name": row.name,
                self.metric: row.mean,
                "scores": row.scores,
                "against": None if math.isnan(row.against[0]) else row.against,
                "n_columns": row.n_columns,
                "fit_seconds": row.seconds,
            }
            for row in self.rows
        ]
        return {
            "target": self.labels.name,
            "kind": self.labels.kind,
            "metric": self.metric,
            "n_labelled": len(self.labels.rows),
            "rows": rows,
            "what_to_use": self.verdict(),
        }


def contenders(
    histories: Histories, item_features: ItemFeatures | None
) -> Iterator[tuple[str, list[Any]]]:
    """Return the names of the contenders, and the transformers whose columns they have.

    The simplest come first, but for the reference, which is what two lines of scikit-learn give.
    """
    counts = FunctionTransformer(counts_of)
    weighted = TfidfTransformer(sublinear_tf=True)
    unit: AgeUnit = "step" if histories.timestamps is None else "instant"
    statistics = make_pipeline(
        HistoryStatistics(),
        QuantileTransformer(
            n_quantiles=min(1000, len(histories)), output_distribution="normal", random_state=0
        ),
    )
    profile = ProfileUserEncoder(_N_DIMS)
    factors = TruncatedSVD(min(_N_DIMS, len(histories.item_ids)), random_state=0)
    yield "SVD of TF-IDF", [make_pipeline(counts, weighted, factors)]
    yield "statistics", [statistics]
    yield "counts", [make_pipeline(counts, TfidfTransformer(use_idf=False, sublinear_tf=True))]
    yield "TF-IDF", [make_pipeline(counts, weighted)]
    yield "profile", [profile]
    if item_features is not None:
        profile = ProfileUserEncoder(_N_DIMS, item_features=item_features)
        yield "profile with item features", [profile]
    yield "statistics and profile", [statistics, profile]
    yield "decay average", [DecayAverageUserEncoder(age_unit=unit)]
    yield "two-tower", [TwoTowerUserEncoder(random_state=0)]


def predict_labels(
    histories: Histories,
    labels: Labels,
    item_features: ItemFeatures | None,
    *,
    about: dict[str, Any],
    progress: Progress,
    columns: str = "",
    on_row: Callable[[Predictions], None] = lambda predictions: None,
) -> Predictions:
    """Cross-validate a linear model of the label on the numbers of each contender.

    The numbers are learned from all histories, without labels. Only users with a label are in the
    folds. The regularisation is chosen inside each training fold.

    ``on_row`` is called with the rows so far after the second row and each later one. If an
    interrupt or an error comes after the first row, the rows are returned, and the reason is in
    ``stopped``.
    """
    every = list(contenders(histories, item_features))
    predictions = Predictions(about, columns, labels, [name for name, _ in every])
    rows = predictions.rows
    made: dict[int, tuple[Any, float]] = {}
    try:
        for number, (name, transformers) in enumerate(every, start=1):
            with progress.stage(f"[{number}/{len(every)}] {name}"):
                for transformer in transformers:
                    if id(transformer) not in made:
                        started = time.perf_counter()
                        block = _in_one_scale(transformer.fit_transform(histories))
                        made[id(transformer)] = block, time.perf_counter() - started
                blocks, seconds = zip(*(made[id(one)] for one in transformers), strict=True)
                block = blocks[0] if len(blocks) == 1 else np.hstack(blocks)
                scores = cross_val_score(
                    _model(labels.kind),
                    block[labels.rows],
                    labels.values,
                    cv=_folds(labels.kind),
                    scoring=_SCORING[labels.kind],
                )
            estimator = transformers[0] if len(transformers) == 1 else None
            row = Prediction(name, estimator, block.shape[1], scores.tolist(), sum(seconds))
            if rows:
                row.against = interval_over_folds(scores, rows[0].scores)
            rows.append(row)
            if len(rows) > 1:
                on_row(predictions)
    except BaseException as reason:
        if not rows:
            raise
        predictions.stopped = reason
    return predictions


def interval_over_folds(ours: Any, theirs: Any) -> tuple[float, float, float]:
    """Return the mean difference over folds and its 95 % interval.

    Folds share most of their training users, so the variance of the mean of J differences is not
    1 / J of theirs, but 1 / J + n_test / n_train (C. Nadeau and Y. Bengio, Inference for the
    Generalization Error, Machine Learning 52, 2003).
    """
    differences = np.subtract(ours, theirs)
    share = 1 / len(differences) + 1 / (_N_FOLDS - 1)
    error = np.sqrt(share * differences.var(ddof=1)) * student.ppf(0.975, len(differences) - 1)
    middle = differences.mean()
    return float(middle), float(middle - error), float(middle + error)


def _in_one_scale(block: Any) -> Any:
    """Centre a dense block and divide it by one number, so that its rows have length 1 on average.

    To divide each column by its own spread would make the least important ones as large as the
    others. Rows of a sparse table have length 1 already.
    """
    if sp.issparse(block):
        return sp.csr_array(block)
    centred = np.asarray(block, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    return centred / max(np.sqrt((centred**2).sum(axis=1).mean()), np.finfo(float).tiny)


def _model(kind: str) -> GridSearchCV:
    if kind == "classes":
        grid: dict[str, Any] = {"C": [0.1, 1, 10, 100]}
        return GridSearchCV(LogisticRegression(max_iter=2000), grid, scoring=_SCORING[kind], cv=3)
    return GridSearchCV(Ridge(), {"alpha": np.logspace(-3, 2, 6)}, scoring=_SCORING[kind], cv=3)


def _folds(kind: str) -> Any:
    folds = RepeatedStratifiedKFold if kind == "classes" else RepeatedKFold
    return folds(n_splits=_N_FOLDS, n_repeats=_N_REPEATS, random_state=0)
