"""A comparison as text: the table, the notes, and the recommendation."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from skue.compare._run import Comparison, Row, paired_interval, usual_ks
from skue.compare._task import Task

# With fewer users, the intervals are wide. A small share of users may differ from the others.
_FEW_USERS = 100
# With fewer users, an interval may claim a difference that is due to chance.
_TOO_FEW_USERS = 20
_SMALL_SHARE = 0.1
AGE_UNITS = {"step": "events", "instant": "instants", "D": "days"}


def table(comparison: Comparison) -> str:
    """Return the table of all contenders in columns of fixed width."""
    rows, ks, ranker = comparison.rows, comparison.ks, comparison.best_ranker
    columns = {"": [row.name for row in rows]}
    columns |= {f"recall@{k}": [_figure(row.recall[k]) for row in rows] for k in ks}
    columns |= {f"ndcg@{k}": [_figure(row.ndcg[k]) for row in rows] for k in ks}
    for other in (ranker, "plain average"):
        columns[f"against {other}"] = [interval(row.against.get(other)) for row in rows]
    columns["repeat"] = [_figure(row.repeat) for row in rows]
    columns["explore"] = [_figure(row.explore) for row in rows]
    columns["fit s"] = [f"{row.fit_seconds:.2f}" for row in rows]
    columns["µs/user"] = [_figure(row.microseconds_per_user, ".1f") for row in rows]
    lines = [[header, *cells] for header, cells in columns.items() if set(cells) != {"-"}]
    widths = [max(map(len, column)) for column in lines]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in zip(*lines, strict=True)
    )


def notes(comparison: Comparison) -> list[str]:
    """Return the notes that explain the table."""
    return [
        _of_the_log(comparison),
        *_of_the_users(comparison.task),
        *_of_the_examples(comparison),
        *_of_k(comparison),
        *_of_the_split(comparison.task),
        *_of_seen_items(comparison),
        "recall@k is hits / min(k, held-out items), averaged over users, in the whole catalogue; "
        "[...] is a paired 95 % bootstrap interval over users.",
        *_of_the_search(comparison),
        "The page 'Which encoder?' of the user guide says what to expect on which log.",
    ]


def _of_the_log(comparison: Comparison) -> str:
    about = comparison.about
    period = " to ".join(dict.fromkeys(about.period)) or "no times"
    return (
        f"Log: {about.log} ({_count(about.n_users, 'user')}, {_count(about.n_events, 'event')}, "
        f"{period}). Learned from: {_count(len(comparison.task.train.codes), 'event')} of "
        f"{_count(len(comparison.items), 'item')}."
    )


def _of_the_users(task: Task) -> list[str]:
    n_scored = len(task.queries)
    n_left_out = sum(task.left_out.values())
    reasons = [f"{n} {reason}" for reason, n in task.left_out.items() if n]
    scored = f"Scored: {_count(n_scored, 'user')}"
    if task.n_not_scored:
        scored += f", drawn at random; {task.n_not_scored} others only took part in training"
    lines = [scored + (f". Left out: {_listed(reasons)}." if reasons else ".")]
    n_possible = n_scored + task.n_not_scored
    n_all = n_possible + n_left_out
    if n_possible < _SMALL_SHARE * n_all:
        lines.append(
            f"Only {n_possible / n_all:.1%} of all users are scored, and the others may differ "
            "from them."
        )
    if n_possible < _FEW_USERS:
        lines.append("Few users are scored, so the intervals are wide.")
    return lines


def _of_the_examples(comparison: Comparison) -> list[str]:
    encoder = comparison.encoders["two-tower"]
    n_seen, n_examples = encoder.n_examples_seen_, encoder.n_examples_
    if not 0 < n_seen < n_examples:
        return []
    return [
        f"The two-tower learned from {n_seen} examples, drawn from {n_examples} "
        f"({n_seen / n_examples:.1%})."
    ]


def _of_k(comparison: Comparison) -> list[str]:
    n_items = len(comparison.items)
    if n_items == 1:
        return ["There is only one item, so recall is the same for all contenders."]
    if comparison.ks[0] >= n_items:
        return [
            f"k is {comparison.ks[0]}, but there are only {n_items} items, so recall is the same "
            "for all contenders. Choose a smaller k with -k."
        ]
    if not comparison.ks_given and comparison.ks != usual_ks():
        chosen = _listed([str(k) for k in comparison.ks])
        return [f"There are only {n_items} items, so k is {chosen} (change it with -k)."]
    return []


def _of_the_split(task: Task) -> list[str]:
    if task.cutoff is not None:
        held_out = f"Held out: each user's first instant after {task.cutoff}."
    elif task.unit == "event":
        held_out = (
            "Held out: each user's last event. Later events of other users are in the training "
            "data, which leaks a little of the future."
        )
    else:
        held_out = (
            "Held out: all events at each user's last time. Later events of other users are in "
            "the training data, which leaks a little of the future. --split time avoids this."
        )
    if task.unit == "event":
        order = "There are no times, so the order of the lines is used (--time names a column)."
    else:
        order = (
            f"{task.simultaneous_share:.1%} of users' last events have the same time as the event "
            "before. Simultaneous events have the same age, and their order in the file is ignored."
        )
    lines = [held_out, order]
    if task.has_dislikes:
        lines.append(
            "Events with a weight of zero or less are not held out, and do not count as chosen."
        )
    return lines


def _of_seen_items(comparison: Comparison) -> list[str]:
    """Tell whether items of the history are ranked, and why."""
    lines = [
        f"{comparison.repeat_share:.1%} of held-out items are in the history already (repeat), "
        f"{comparison.unknown_share:.1%} are not in the catalogue (misses)."
    ]
    lines += _of_new_items(comparison)
    again = f"{comparison.task.again_share:.1%} of all events repeat an item of the same user"
    if not comparison.exclude_seen:
        lines.append(
            f"{again}. Items of the history are ranked like all others (change this with --seen "
            "exclude)."
        )
        return lines
    if comparison.seen == "auto":
        lines.append(
            f"{again}, so items of the history are left out of the ranking (change this with "
            "--seen keep)."
        )
    else:
        lines.append(f"{again}. Items of the history are left out of the ranking (--seen exclude).")
    lines.append(
        "'last item', 'own frequency' and 'own count + popularity' differ from 'popularity' only "
        "in items of the history, so they are left out here."
    )
    return lines


def _of_new_items(comparison: Comparison) -> list[str]:
    """Tell how features were encoded, and how well items without events are found."""
    if comparison.encoding is None:
        return []
    k = comparison.ks[0]
    lines = [
        f"Item features: {comparison.encoding}.",
        f"{comparison.new_share:.1%} of held-out items are new: no training history has them.",
    ]
    if comparison.new_share:
        found = [f"{row.name} {row.new_items:.3f}" for row in comparison.rows if row.is_encoder]
        lines.append(f"Recall@{k} of new items: {', '.join(found)}.")
    return lines


def _of_the_search(comparison: Comparison) -> list[str]:
    search = comparison.search
    shown = ", ".join(f"{name}={value!r}" for name, value in sorted(search.found.items()))
    done = "Searched" if search.trials else "No history is long enough to search, so the default"
    lines = [f"{done}: {shown}; {half_life(search.found)}."]
    if search.widened_to:
        tried = _listed([f"{decay:g}" for decay in search.widened_to])
        lines.append(
            f"The best decay was on the edge of the grid, so the grid was widened to {tried}"
            + (", but the best decay is still on the edge." if search.on_edge else ".")
        )
    return lines


def half_life(parameters: dict[str, Any]) -> str:
    """Return in words when an event has lost half of its weight."""
    if parameters["repeat_exponent"] == 0:
        return "all items of a history have the same weight, however often and whenever chosen"
    rate = parameters["decay"] * parameters["repeat_exponent"]
    if rate == 0 and parameters["repeat_exponent"] < 1:
        return "all ages have the same weight, and repeats of an item are damped"
    if rate == 0:
        return "all events have the same weight, whatever their age"
    unit = AGE_UNITS[parameters["age_unit"]]
    return f"an event loses half of its weight in {math.log(2) / rate:.3g} {unit}"


def what_to_ship(comparison: Comparison) -> str:
    """Return the recommendation that follows from the figures.

    It is the simplest encoder that is not significantly below the best one, if it is significantly
    above the best ranker without vectors. Otherwise it is that ranker.
    """
    k = comparison.ks[0]
    first, *others = comparison.per_user.values()
    if all(np.array_equal(first, other) for other in others):
        if not first.any():
            return (
                f"There is no best contender: none finds any held-out item (recall@{k} 0.000). "
                "Give a longer log, or try a larger k with -k if there are many more items."
            )
        return (
            f"There is no best contender: all find the same held-out items (recall@{k} "
            f"{first.mean():.3f}). "
            + (
                "Give a longer log, or choose a smaller k with -k."
                if k > 1
                else "Give a longer log."
            )
        )
    averages = [row for row in comparison.rows if row.is_encoder]
    best = max(averages, key=lambda row: row.recall[k])
    ranker = next(row for row in comparison.rows if row.name == comparison.best_ranker)
    simplest, (difference, low, high) = _simplest(comparison, averages, best)
    measured = f"recall@{k} {simplest.recall[k]:.3f}"
    gap = interval((difference, low, high))
    against = f"{ranker.name} {ranker.recall[k]:.3f}, difference {gap}"
    if len(first) < _TOO_FEW_USERS and (low > 0 or high < 0):
        return (
            f"There is no best contender: {_count(len(first), 'user')} cannot tell "
            f"'{simplest.name}' and '{ranker.name}' apart ({measured}; {against}). Give a log with "
            f"{_TOO_FEW_USERS} users or more to score."
        )
    if simplest is not best:
        measured += f", not significantly below '{best.name}' {best.recall[k]:.3f}"
    if low > 0:
        return (
            f"Ship '{simplest.name}': {measured}, above the best ranker without vectors "
            f"({against})."
        )
    if high < 0:
        return f"Ship '{ranker.name}': no encoder is as good here ({measured}; {against})."
    return (
        f"'{simplest.name}' and '{ranker.name}' do not differ significantly ({measured}; "
        f"{against}): ship '{ranker.name}', which needs no vectors, unless you need vectors for "
        "other uses."
    )


def as_json(comparison: Comparison) -> str:
    """Return the table, the notes and the recommendation as one JSON object.

    NaN is null. Figures that are NaN for all contenders are left out.
    """
    rows = [_plain(dataclasses.asdict(row)) for row in comparison.rows]
    empty = {name for name in rows[0] if all(row[name] is None for row in rows)}
    content = {
        "about": dataclasses.asdict(comparison.about),
        "k": comparison.ks,
        "n_users": len(comparison.task.queries),
        "n_items": len(comparison.items),
        "n_left_out": comparison.task.left_out,
        "repeated_events": comparison.task.again_share,
        "exclude_seen": comparison.exclude_seen,
        "best_ranker": comparison.best_ranker,
        "rows": [{name: row[name] for name in row if name not in empty} for row in rows],
        "search": comparison.search.trials,
        "notes": notes(comparison),
        "what_to_ship": what_to_ship(comparison),
    }
    # Escaped letters are valid JSON in every encoding of the terminal.
    return json.dumps(content, indent=2)


def interval(values: tuple[float, float, float] | None) -> str:
    """Return a difference with its interval, or a dash."""
    if values is None:
        return "-"
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*values)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _listed(parts: list[str]) -> str:
    """Return parts as "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _simplest(
    comparison: Comparison, encoders: list[Row], best: Row
) -> tuple[Row, tuple[float, float, float]]:
    """Return the simplest encoder not worse than the best, and its difference from the ranker.

    Encoders above the best ranker come first, then those that may be equal to it, then those
    below it: an encoder that is not worse than the best one can still be worse than the ranker.
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


def _figure(value: float, form: str = ".3f") -> str:
    return "-" if math.isnan(value) else format(value, form)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
