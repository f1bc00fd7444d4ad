"""Who takes part in the comparison, simplest first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sklearn.model_selection import ParameterGrid

from skue.compare._rankers import LastItem, OwnFrequency, Popularity
from skue.compare._task import Task, drawn_users, inner_task, with_at_most
from skue.encoders._choices import AgeUnit
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._mixed import MixedUserEncoder
from skue.encoders._two_tower import TwoTowerUserEncoder
from skue.histories._histories import Histories
from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings
from skue.metrics._scorers import RecallAtK

_DECAYS = [0.0, 0.03, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0]
_HALF_LIVES_IN_DAYS = [7, 14, 30, 60, 120, 365]
_REPEAT_EXPONENTS = [1.0, 0.5, 0.3, 0.0]
_SEARCHED_USERS = 10_000
# An epoch of the two-tower ranks every item for every event: so many pairs take minutes.
_LEARNED_PAIRS = 4_000_000_000

RANKERS: dict[str, Callable[[], Popularity]] = {
    "popularity": Popularity,
    "last item": LastItem,
    "own frequency": OwnFrequency,
}


def encoders(
    task: Task, items: ItemEmbeddings, found: dict[str, Any], *, items_given: bool
) -> dict[str, Any]:
    """Return the encoders by name; to add one, add its line."""
    unit: AgeUnit = "step" if task.unit == "event" else "instant"
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
    if items_given:
        contenders["two-tower"] = TwoTowerUserEncoder(items, random_state=0)
    elif len(learned_by("two-tower", task)) < len(task.train):
        # Items that the drawn users have not had are in the space all the same.
        contenders["two-tower"] = TwoTowerUserEncoder(items, item_tower="trained", random_state=0)
    else:
        contenders["two-tower"] = TwoTowerUserEncoder(random_state=0)
    return contenders


def learned_by(name: str, task: Task) -> Histories:
    """Return the histories that a contender learns from."""
    n_pairs = len(task.train.codes) * len(task.train.item_ids)
    if name != "two-tower" or n_pairs <= _LEARNED_PAIRS:
        return task.train
    n_drawn = max(1, len(task.train) * _LEARNED_PAIRS // n_pairs)
    return task.train[drawn_users(len(task.train), n_drawn)]


def search_decay(
    task: Task, given: ItemEmbeddings | None, *, k: int, exclude_seen: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Find decay, age unit and repeat exponent by a second hold-out inside the training data.

    Returns
    -------
    found : dict
        Parameters of DecayAverageUserEncoder.
    trials : list of dict
        Every candidate with its recall, for the report; empty, and the default found, where no
        history is long enough.
    """
    try:
        inner = inner_task(task)
    except ValueError:
        # Nobody has enough events to hold out twice.
        unit: AgeUnit = "step" if task.unit == "event" else "instant"
        return {"age_unit": unit, "decay": 0.07, "repeat_exponent": 1.0}, []
    items = given or CooccurrenceItemEmbedder().fit(inner.train).item_embeddings_
    inner = with_at_most(_SEARCHED_USERS, inner)
    queries, held_out = inner.queries, inner.held_out
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
