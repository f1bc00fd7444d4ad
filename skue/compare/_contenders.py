"""Who takes part in the comparison, simplest first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from skue.compare._rankers import LastItem, OwnFrequency, Popularity
from skue.compare._task import Task, drawn_users
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._events import AgeUnit
from skue.encoders._mixed import MixedUserEncoder
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings

# An epoch of the two-tower ranks every item for every event: so many pairs take minutes.
_LEARNED_PAIRS = 4_000_000_000

_RANKERS: dict[str, Callable[[], Popularity]] = {
    "popularity": Popularity,
    "last item": LastItem,
    "own frequency": OwnFrequency,
}
ENCODER_NAMES = (
    "plain average",
    "decay average",
    "decay average, 30 days",
    "decay average, searched",
    "mix",
    "two-tower",
)
"""Every encoder that a comparison may have; each has a file in the report."""


def rankers(*, exclude_seen: bool) -> dict[str, Callable[[], Popularity]]:
    """Return the rankers by name.

    The last two put items of the history before all others, and rank the others by popularity.
    Without items of the history all three are one.
    """
    return {"popularity": Popularity} if exclude_seen else dict(_RANKERS)


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
