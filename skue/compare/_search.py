"""Searching the decay of the decay average."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.model_selection import ParameterGrid

from skue.compare._split import Split, inner_split, with_at_most
from skue.encoders._average_search import recall_of_averages
from skue.encoders._events import known_events
from skue.items._embedders import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._ranking import Products
from skue.metrics._evaluation import Evaluation
from skue.metrics._scorers import RecallAtK

_DECAYS = [0.0, 0.03, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0]
_HALF_LIVES_IN_DAYS = [1, 3, 7, 14, 30, 60, 120, 365, 730]
_REPEAT_EXPONENTS = [1.0, 0.5, 0.3, 0.0]
_SEARCHED_USERS = 10_000
_SEARCHED = ("age_unit", "decay", "repeat_exponent")


@dataclass
class Search:
    """The result of the search.

    Attributes
    ----------
    found : dict
        The best parameters of DecayAverageUserEncoder.
    trials : list of dict
        Every candidate with its recall; empty if no history is long enough to hold out twice.
    """

    found: dict[str, Any]
    trials: list[dict[str, Any]] = field(default_factory=list)


def search_decay(
    split: Split,
    given: ItemEmbeddings | None,
    *,
    k: int,
    exclude_seen: bool,
    on_trial: Callable[[int, int], None] = lambda n_done, n_trials: None,
) -> Search:
    """Find decay, age unit and repeat exponent by a second hold-out inside the training data."""
    try:
        inner = inner_split(split)
    except ValueError:
        # No history is long enough to hold out twice.
        unit = "step" if split.unit == "event" else "instant"
        return Search({"age_unit": unit, "decay": 0.07, "repeat_exponent": 1.0})
    items = given or CooccurrenceItemEmbedder().fit(inner.train).item_embeddings_
    inner = with_at_most(_SEARCHED_USERS, inner)
    events = known_events(items, inner.queries)
    recall_at_k = RecallAtK(k, normalize="min")
    trials: list[dict[str, Any]] = []
    candidates = list(ParameterGrid(_grids(split.unit)))

    def recall(vectors: np.ndarray) -> np.ndarray:
        scores, held_out = Products(vectors[0], items.vectors), inner.held_out
        found = Evaluation(scores, items, inner.queries, held_out, exclude_seen=exclude_seen)
        return recall_at_k.per_user(found).mean(keepdims=True)

    for parameters in candidates:
        on_trial(len(trials), len(candidates))
        # One decay at a time: numba compiles the pooling of several anew for every number.
        unit, decay, exponent = (parameters[name] for name in _SEARCHED)
        found = recall_of_averages(events, unit, items.vectors, [decay], [exponent], recall)
        trials.append({**parameters, "recall": float(found[0, 0])})
    best = max(trials, key=lambda trial: trial["recall"])
    return Search({name: best[name] for name in _SEARCHED}, trials)


def _grids(unit: str) -> list[dict[str, list[Any]]]:
    exponents = {"repeat_exponent": _REPEAT_EXPONENTS}
    if unit == "event":
        return [{"age_unit": ["step"], "decay": _DECAYS, **exponents}]
    per_day = [round(math.log(2) / days, 6) for days in _HALF_LIVES_IN_DAYS]
    return [
        {"age_unit": ["instant"], "decay": _DECAYS, **exponents},
        {"age_unit": ["D"], "decay": per_day, **exponents},
    ]
