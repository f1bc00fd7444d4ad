"""Searching the decay of the decay average."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sklearn.model_selection import ParameterGrid

from skue.compare._task import Task, inner_task, with_at_most
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.items._embedders import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.metrics._scorers import RecallAtK

_DECAYS = [0.0, 0.03, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0]
_HALF_LIVES_IN_DAYS = [7, 14, 30, 60, 120, 365]
_REPEAT_EXPONENTS = [1.0, 0.5, 0.3, 0.0]
_SEARCHED_USERS = 10_000
# How often the grid is widened, each time by a factor of 2.
_WIDENINGS = 3


@dataclass
class Search:
    """The result of the search.

    Attributes
    ----------
    found : dict
        The best parameters of DecayAverageUserEncoder.
    trials : list of dict
        Every candidate with its recall; empty if no history is long enough to hold out twice.
    widened_to : list of float
        Decays that were added because the best one was on the edge of the grid.
    on_edge : bool
        Whether the best decay is still on the edge.
    """

    found: dict[str, Any]
    trials: list[dict[str, Any]] = field(default_factory=list)
    widened_to: list[float] = field(default_factory=list)
    on_edge: bool = False


def search_decay(
    task: Task,
    given: ItemEmbeddings | None,
    *,
    k: int,
    exclude_seen: bool,
    on_trial: Callable[[int, int], None] = lambda n_done, n_trials: None,
) -> Search:
    """Find decay, age unit and repeat exponent by a second hold-out inside the training data.

    If the best decay is the largest or smallest of the grid, the grid is widened, up to three
    times.
    """
    try:
        inner = inner_task(task)
    except ValueError:
        # No history is long enough to hold out twice.
        unit = "step" if task.unit == "event" else "instant"
        return Search({"age_unit": unit, "decay": 0.07, "repeat_exponent": 1.0})
    items = given or CooccurrenceItemEmbedder().fit(inner.train).item_embeddings_
    inner = with_at_most(_SEARCHED_USERS, inner)
    scorer = RecallAtK(k, exclude_seen=exclude_seen, normalize="min")
    trials: list[dict[str, Any]] = []

    def try_all(grid: Any) -> None:
        candidates = list(ParameterGrid(grid))
        n_trials = len(trials) + len(candidates)
        for parameters in candidates:
            on_trial(len(trials), n_trials)
            encoder = DecayAverageUserEncoder(items, cold_start="popular", **parameters)
            recall = scorer(encoder.fit(inner.queries), inner.queries, inner.held_out)
            trials.append({**parameters, "recall": recall})

    try_all(_grids(task.unit))
    widened_to: list[float] = []
    while (decay := beyond(trials)) is not None and len(widened_to) < _WIDENINGS:
        # With exponent 0 the decay has no effect.
        exponents = [exponent for exponent in _REPEAT_EXPONENTS if exponent > 0]
        unit = best_of(trials)["age_unit"]
        try_all({"age_unit": [unit], "decay": [decay], "repeat_exponent": exponents})
        widened_to.append(decay)
    found = {name: value for name, value in best_of(trials).items() if name != "recall"}
    return Search(found, trials, widened_to, beyond(trials) is not None)


def best_of(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the trial with the highest recall, the first one if there are several."""
    return max(trials, key=lambda trial: trial["recall"])


def beyond(trials: list[dict[str, Any]]) -> float | None:
    """Return the next decay to try if the best one is the largest or smallest tried, else None.

    A decay of 0 is not an edge, as there is no smaller one.
    """
    best = best_of(trials)
    if best["repeat_exponent"] == 0:
        return None
    decay = best["decay"]
    tried = [trial["decay"] for trial in trials if trial["age_unit"] == best["age_unit"]]
    if decay == max(tried):
        return round(2 * decay, 6)
    if decay == min(tried) > 0:
        return round(decay / 2, 6)
    return None


def _grids(unit: str) -> list[dict[str, list[Any]]]:
    if unit == "event":
        return [{"age_unit": ["step"], "decay": _DECAYS, "repeat_exponent": _REPEAT_EXPONENTS}]
    per_day = [round(math.log(2) / days, 6) for days in _HALF_LIVES_IN_DAYS]
    return [
        {"age_unit": ["instant"], "decay": _DECAYS, "repeat_exponent": _REPEAT_EXPONENTS},
        {"age_unit": ["D"], "decay": per_day, "repeat_exponent": _REPEAT_EXPONENTS},
    ]
