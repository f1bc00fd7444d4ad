"""The comparison as text: the table, the notes, and what to ship."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from skue.compare._contenders import learned_by
from skue.compare._run import Comparison, Row, paired_interval


def table(comparison: Comparison) -> str:
    """Return the table of all contenders, in monospaced columns."""
    ks = comparison.ks
    ranker = comparison.best_ranker
    header = [
        "",
        *[f"recall@{k}" for k in ks],
        *[f"ndcg@{k}" for k in ks],
        f"against {ranker}",
        "against plain average",
        "repeat",
        "explore",
        "fit s",
        "µs/user",
    ]
    lines = [
        [
            row.name,
            *[_figure(row.recall[k]) for k in ks],
            *[_figure(row.ndcg[k]) for k in ks],
            interval(row.against.get(ranker)),
            interval(row.against.get("plain average")),
            _figure(row.repeat),
            _figure(row.explore),
            f"{row.fit_seconds:.2f}",
            "-" if math.isnan(row.microseconds_per_user) else f"{row.microseconds_per_user:.1f}",
        ]
        for row in comparison.rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *lines]
    )


def notes(comparison: Comparison) -> list[str]:
    """Return what one has to know to read the table."""
    task = comparison.task
    what = "last event" if task.unit == "event" else "whole last instant"
    lines = [
        f"{len(task.queries)} users, {len(comparison.items)} items, "
        f"{len(task.train.codes)} training events; {task.n_left_out} users left out as too short."
    ]
    if comparison.ks[0] >= len(comparison.items):
        lines.append(
            f"The {comparison.ks[0]} nearest are all of the items there are, so recall tells "
            "nothing apart: choose a smaller k with -k."
        )
    if task.n_not_scored:
        lines.append(
            f"Scored: {len(task.queries)} users drawn at random; {task.n_not_scored} others only "
            "took part in training."
        )
    learned = learned_by("two-tower", task)
    if len(learned) < len(task.train):
        lines.append(
            f"The two-tower learned from {len(learned)} of {len(task.train)} users, drawn at "
            "random; with more it may do better."
        )
    if task.cutoff is None:
        lines.append(
            f"Held out: each user's {what}. Other users' later events are in the training data, "
            "which leaks a little of the future"
            + ("." if task.unit == "event" else "; --split time does not.")
        )
    else:
        lines.append(f"Held out: each user's first instant after {task.cutoff}.")
    if task.unit == "event":
        lines.append(
            "There are no times: events are taken in the order given (--time names a column)."
        )
    else:
        lines.append(
            f"{task.simultaneous_share:.1%} of users' last events share their time with the event "
            "before; simultaneous events have one age, and their order in the file is not used."
        )
    lines.append(
        f"{comparison.repeat_share:.1%} of held-out items are in the history already (repeat), "
        f"{comparison.unknown_share:.1%} are not in the catalogue (misses)."
        + (" Items of the history are not recommended." if comparison.exclude_seen else "")
    )
    lines.append(
        "recall@k is hits / min(k, held-out items), averaged over users, in the whole catalogue; "
        "[...] is a paired 95 % bootstrap interval over users."
    )
    found = next(row.parameters for row in comparison.rows if row.parameters)
    shown = ", ".join(f"{name}={value!r}" for name, value in sorted(found.items()))
    done = "Searched" if comparison.trials else "No history is long enough to search in"
    lines.append(f"{done}: {shown}; {half_life(found)}.")
    return lines


def half_life(parameters: dict[str, Any]) -> str:
    """Return in words when one event has lost half of its pull."""
    rate = parameters["decay"] * parameters["repeat_exponent"]
    if rate == 0:
        return "all events count the same, however old"
    unit = {"step": "events", "instant": "instants", "D": "days"}[parameters["age_unit"]]
    return f"one event loses half of its pull in {math.log(2) / rate:.3g} {unit}"


def what_to_ship(comparison: Comparison) -> str:
    """Return the sentence that follows from the numbers."""
    k = comparison.ks[0]
    first, *others = comparison.per_user.values()
    if all(np.array_equal(first, other) for other in others):
        if not first.any():
            return (
                f"Nothing to choose by: no contender finds any held-out item (recall@{k} 0.000). "
                "Give a longer log, or try a larger k with -k."
            )
        return (
            f"Nothing to choose by: all contenders find the same held-out items (recall@{k} "
            f"{first.mean():.3f}). Give a longer log, or choose a smaller k with -k."
        )
    averages = [row for row in comparison.rows if row.is_encoder]
    best = max(averages, key=lambda row: row.recall[k])
    ranker = next(row for row in comparison.rows if row.name == comparison.best_ranker)
    simplest, (difference, low, high) = _simplest(comparison, averages, best)
    measured = f"recall@{k} {simplest.recall[k]:.3f}"
    gap = interval((difference, low, high))
    against = f"{ranker.name} {ranker.recall[k]:.3f}, difference {gap}"
    if low > 0:
        return (
            f"Ship '{simplest.name}': {measured}, above the best ranker without vectors "
            f"({against})."
        )
    finder = _best_at_new_items(averages)
    rival = _best_at_new_items([row for row in comparison.rows if not row.is_encoder])
    if high < 0 and finder.explore > rival.explore:
        return (
            f"Ship '{ranker.name}' for what people buy again, and '{finder.name}' for what is new "
            f"to them: no vector is as good over all ({simplest.name}: {measured}; {against}), but "
            f"'{finder.name}' finds {finder.explore:.3f} of the new items, where the best ranker "
            f"for these, '{rival.name}', finds {rival.explore:.3f}."
        )
    if high < 0:
        return f"Ship '{ranker.name}': no vector is as good here ({measured}; {against})."
    return (
        f"'{simplest.name}' and '{ranker.name}' cannot be told apart here ({measured}; {against}): "
        f"ship '{ranker.name}', which needs no vectors, unless you need vectors for other uses."
    )


def as_json(comparison: Comparison) -> str:
    """Return the table, the notes and the sentence as one JSON object (NaN is null)."""
    content = {
        "k": comparison.ks,
        "n_users": len(comparison.task.queries),
        "n_items": len(comparison.items),
        "exclude_seen": comparison.exclude_seen,
        "best_ranker": comparison.best_ranker,
        "rows": [_plain(dataclasses.asdict(row)) for row in comparison.rows],
        "search": comparison.trials,
        "notes": notes(comparison),
        "what_to_ship": what_to_ship(comparison),
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def interval(values: tuple[float, float, float] | None) -> str:
    """Return a difference with its interval, or a dash."""
    if values is None:
        return "-"
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*values)


def _best_at_new_items(rows: list[Row]) -> Row:
    """Return the first of the best; NaN, where no held-out item is new, is never better."""
    return max(rows, key=lambda row: -1.0 if math.isnan(row.explore) else row.explore)


def _simplest(
    comparison: Comparison, encoders: list[Row], best: Row
) -> tuple[Row, tuple[float, float, float]]:
    """Return the first encoder as good as the best, and its difference from the best ranker.

    One that is above the ranker goes before one that may be equal to it, and that before one that
    is below: what is as good as the best encoder may yet be worse than a ranker.
    """
    theirs = comparison.per_user[comparison.best_ranker]
    gaps = [
        (row, paired_interval(comparison.per_user[row.name], theirs))
        for row in encoders
        if _not_worse(comparison, row, best)
    ]
    return max(gaps, key=lambda pair: (pair[1][1] > 0, pair[1][2] >= 0))


def _not_worse(comparison: Comparison, row: Row, best: Row) -> bool:
    if row is best:
        return True
    _, low, _ = paired_interval(comparison.per_user[best.name], comparison.per_user[row.name])
    return low <= 0


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
