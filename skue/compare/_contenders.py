"""Who takes part in the comparison, simplest first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import ParameterGrid

from skue.compare._rankers import LastItem, OwnFrequency, Popularity
from skue.compare._task import Task, inner_task
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._mixed import MixedUserEncoder
from skue.encoders._two_tower import TwoTowerUserEncoder
from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.metrics._scorers import RecallAtK

_DECAYS = [0.0, 0.03, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0]
_HALF_LIVES_IN_DAYS = [7, 14, 30, 60, 120, 365]
_REPEAT_EXPONENTS = [1.0, 0.5, 0.3, 0.0]
_SEARCHED_USERS = 10_000

RANKERS: dict[str, Callable[[], Popularity]] = {
    "popularity": Popularity,
    "last item": LastItem,
    "own frequency": OwnFrequency,
}


def encoders(
    task: Task, items: ItemEmbeddings, found: dict[str, Any], *, items_given: bool
) -> dict[str, Any]:
    """Return the encoders by name; to add one, add its line."""
    unit = "step" if task.unit == "event" else "instant"
    contenders: dict[str, Any] = {
        "plain average": DecayAverageUserEncoder(items, decay=0.0, age_unit=unit),
        "decay average": DecayAverageUserEncoder(items, age_unit=unit),
    }
    if task.unit == "instant":
        contenders["decay average, 30 days"] = DecayAverageUserEncoder(
            items, decay=math.log(2) / 30, age_unit="D"
        )
    contenders["decay average, searched"] = DecayAverageUserEncoder(items, **found)
    contenders["mix"] = MixedUserEncoder(items, age_unit=unit)
    contenders["two-tower"] = TwoTowerUserEncoder(items if items_given else None, random_state=0)
    return contenders


def search_decay(
    task: Task, given: ItemEmbeddings | None, *, k: int, exclude_seen: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Find decay, age unit and repeat exponent by a second hold-out inside the training data.

    Returns
    -------
    found : dict
        Parameters of DecayAverageUserEncoder.
    trials : list of dict
        Every candidate with its recall, for the report.
    """
    inner = inner_task(task)
    queries, held_out = inner.queries, inner.held_out
    items = given or CooccurrenceItemEmbedder().fit(queries).item_embeddings_
    if len(queries) > _SEARCHED_USERS:
        chosen = np.sort(
            np.random.default_rng(0).choice(len(queries), _SEARCHED_USERS, replace=False)
        )
        queries, held_out = queries[chosen], held_out[chosen]
    scorer = RecallAtK(k, exclude_seen=exclude_seen, normalize="min")
    trials = []
    for parameters in ParameterGrid(_grids(task.unit)):
        encoder = DecayAverageUserEncoder(items, cold_start="popular", **parameters).fit(queries)
        trials.append({**parameters, "recall": scorer(encoder, queries, held_out)})
    best = max(trials, key=lambda trial: trial["recall"])
    return {name: value for name, value in best.items() if name != "recall"}, trials


def _grids(unit: str) -> list[dict[str, list[Any]]]:
    if unit == "event":
        return [{"age_unit": ["step"], "decay": _DECAYS, "repeat_exponent": _REPEAT_EXPONENTS}]
    per_day = [round(math.log(2) / days, 6) for days in _HALF_LIVES_IN_DAYS]
    return [
        {"age_unit": ["instant"], "decay": _DECAYS, "repeat_exponent": _REPEAT_EXPONENTS},
        {"age_unit": ["D"], "decay": per_day, "repeat_exponent": _REPEAT_EXPONENTS},
    ]
