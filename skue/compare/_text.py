"""A comparison as text: the table, the notes, the verdict, and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from skue.compare._run import USUAL_KS, Comparison, Row, paired_interval
from skue.compare._split import Split

# With fewer users, the intervals are wide. A small share of users may differ from the others.
_FEW_USERS = 100
# With fewer users, an interval may claim a difference that is due to chance.
_TOO_FEW_USERS = 20
_SMALL_SHARE = 0.1
AGE_UNITS = {"step": "events", "instant": "instants", "D": "days"}


def table(comparison: Comparison) -> str:
    """Return the table of all contenders in columns of fixed width."""
    rows, ks = comparison.rows, comparison.ks
    columns = {"": [row.name for row in rows]}
    columns |= {f"recall@{k}": [figure(row.recall[k]) for row in rows] for k in ks}
    columns |= {f"ndcg@{k}": [figure(row.ndcg[k]) for row in rows] for k in ks}
    for other in (comparison.best_ranker, "plain average"):
        columns[f"against {other}"] = [interval(row.against.get(other)) for row in rows]
    columns["repeat"] = [figure(row.repeat) for row in rows]
    columns["explore"] = [figure(row.explore) for row in rows]
    columns["fit s"] = [f"{row.fit_seconds:.2f}" for row in rows]
    columns["µs/user"] = [figure(row.microseconds_per_user, ".1f") for row in rows]
    names = max(len(contender.name) for contender in comparison.contenders)
    return in_columns(columns, {"": names, "fit s": 9, "µs/user": 9})


def in_columns(columns: dict[str, list[str]], least: dict[str, int]) -> str:
    """Return cells in columns of fixed width. A column of dashes is left out.

    Some columns have at least a given width, so that later rows fit below the earlier ones.
    """
    lines = [[header, *cells] for header, cells in columns.items() if set(cells) != {"-"}]
    widths = [max(least.get(column[0], 0), *map(len, column)) for column in lines]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in zip(*lines, strict=True)
    )


def notes(comparison: Comparison) -> list[str]:
    """Return the notes that explain the table."""
    about = comparison.about
    period = " to ".join(dict.fromkeys(about["period"])) or "no times"
    size = f"{_count(about['n_users'], 'user')}, {_count(about['n_events'], 'event')}"
    learned = _count(len(comparison.split.train.codes), "event")
    lines = [
        f"Log: {about['log']} ({size}, {period}). Learned from: {learned} of "
        f"{_count(len(comparison.items), 'item')}."
    ]
    if about["late"]:
        lines.append(f"{about['late']} Check these times.")
    if comparison.columns:
        lines.append(comparison.columns)
    return [
        *lines,
        *_of_the_users(comparison.split),
        *_of_the_examples(comparison),
        *_of_k(comparison),
        *_of_the_split(comparison.split),
        *_of_seen_items(comparison),
        *_of_new_items(comparison),
        "recall@k is hits / min(k, held-out items), averaged over users, in the whole catalogue; "
        "[...] is a paired 95 % bootstrap interval over users.",
        *_of_the_search(comparison),
        "The last line follows a rule: ship the simplest encoder that is not significantly below "
        "the best one, if it is significantly above the best ranker without vectors; otherwise "
        "ship that ranker.",
        "The page 'Which encoder?' of the user guide says what to expect on which log.",
    ]


def _of_the_users(split: Split) -> list[str]:
    n_scored = len(split.queries)
    reasons = [f"{n} {reason}" for reason, n in split.left_out.items() if n]
    scored = f"Scored: {_count(n_scored, 'user')}"
    if split.n_not_scored:
        scored += f", drawn at random; {split.n_not_scored} others only took part in training"
    lines = [scored + (f". Left out: {listed(reasons)}." if reasons else ".")]
    n_possible = n_scored + split.n_not_scored
    share = n_possible / (n_possible + sum(split.left_out.values()))
    if share < _SMALL_SHARE:
        lines.append(
            f"Only {share:.1%} of all users are scored, and the others may differ from them."
        )
    if n_possible < _FEW_USERS:
        lines.append("Few users are scored, so the intervals are wide.")
    return lines


def _of_the_examples(comparison: Comparison) -> list[str]:
    estimators = {contender.name: contender.estimator for contender in comparison.encoders}
    lines = []
    if "two-tower" in estimators:
        encoder = estimators["two-tower"]
        n_seen, n_examples = encoder.n_examples_seen_, encoder.n_examples_
        if 0 < n_seen < n_examples:
            share = f"{n_seen / n_examples:.1%}"
            lines.append(
                f"The two-tower learned from {n_seen} examples, drawn from {n_examples} ({share})."
            )
    if "two-stage" in estimators:
        lines.append(
            "The encoder of 'two-stage' is the two-tower, which is fitted once; its seconds count "
            "in both rows."
        )
    return lines


def _of_k(comparison: Comparison) -> list[str]:
    n_items, k = len(comparison.items), comparison.ks[0]
    if n_items == 1:
        return ["There is only one item, so recall is the same for all contenders."]
    if k >= n_items:
        return [
            f"k is {k}, but there are only {n_items} items, so recall is the same for all "
            "contenders. Choose a smaller k with -k."
        ]
    if not comparison.ks_given and comparison.ks != USUAL_KS:
        chosen = listed([str(k) for k in comparison.ks])
        return [f"There are only {n_items} items, so k is {chosen} (change it with -k)."]
    return []


def _of_the_split(split: Split) -> list[str]:
    leaks = (
        "Later events of other users are in the training data, which leaks a little of the future."
    )
    if split.cutoff is not None:
        held_out = f"Held out: each user's first instant after {split.cutoff}."
    elif split.unit == "event":
        held_out = f"Held out: each user's last event. {leaks}"
    else:
        held_out = (
            f"Held out: all events at each user's last time. {leaks} --split time avoids this."
        )
    if split.unit == "event":
        order = "There are no times, so the order of the lines is used (--time names a column)."
    else:
        order = (
            f"{split.simultaneous_share:.1%} of users' last events have the same time as the event "
            "before. Simultaneous events have the same age, and their order in the file is ignored."
        )
    lines = [held_out, order]
    if split.has_dislikes:
        lines.append(
            "Events with a weight of zero or less are not held out, and do not count as chosen."
        )
    return lines


def _of_seen_items(comparison: Comparison) -> list[str]:
    """Tell whether items of the history are ranked, and why."""
    again = f"{comparison.split.again_share:.1%} of all events repeat an item of the same user"
    if not comparison.exclude_seen:
        ranked = (
            "Items of the history are ranked like all others (change this with --seen exclude)."
        )
        treated = [f"{again}. {ranked}"]
    else:
        left_out = (
            ", so items of the history are left out of the ranking (change this with --seen keep)."
            if comparison.seen == "auto"
            else ". Items of the history are left out of the ranking (--seen exclude)."
        )
        treated = [
            again + left_out,
            "'last item', 'own frequency' and 'own count + popularity' differ from 'popularity' "
            "only in items of the history, so they are left out here.",
        ]
    return [
        f"{comparison.shares['repeat']:.1%} of held-out items are in the history already (repeat), "
        f"{comparison.shares['unknown']:.1%} are not in the catalogue (misses).",
        *treated,
    ]


def _of_new_items(comparison: Comparison) -> list[str]:
    """Tell how features were encoded, and how well items without events are found."""
    if comparison.feature_file is None:
        return []
    new_share = comparison.shares["new"]
    lines = [
        f"Item features: {comparison.feature_file.encoding}.",
        f"{new_share:.1%} of held-out items are new: no training history has them.",
    ]
    if new_share:
        found = [f"{row.name} {row.new_items:.3f}" for row in comparison.rows if row.is_encoder]
        lines.append(f"Recall@{comparison.ks[0]} of new items: {', '.join(found)}.")
    return lines


def _of_the_search(comparison: Comparison) -> list[str]:
    search = comparison.search
    if search is None:
        return []
    shown = ", ".join(f"{name}={value!r}" for name, value in sorted(search.found.items()))
    done = "Searched" if search.trials else "No history is long enough to search, so the default"
    lines = [f"{done}: {shown}; {half_life(search.found)}."]
    if search.on_edge:
        lines.append("The best decay is on the edge of the grid, so a better one may be beyond.")
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
    if comparison.missing:
        return f"{stopped_before(comparison.missing)} Of the others: {_verdict(comparison)}"
    return _verdict(comparison)


def stopped_before(missing: list[str]) -> str:
    """Return a sentence that names the contenders that are missing."""
    are = "is" if len(missing) == 1 else "are"
    return f"Stopped before {listed([repr(name) for name in missing])}, which {are} missing."


def _verdict(comparison: Comparison) -> str:
    k = comparison.ks[0]
    first, *others = comparison.per_user.values()
    if all(np.array_equal(first, other) for other in others):
        return f"There is no best contender: {_why_all_are_equal(comparison, first)}"
    averages = [row for row in comparison.rows if row.is_encoder]
    best = max(averages, key=lambda row: row.recall[k])
    ranker = next(row for row in comparison.rows if row.name == comparison.best_ranker)
    simplest, gap = _simplest(comparison, averages, best)
    _, low, high = gap
    measured = f"recall@{k} {simplest.recall[k]:.3f}"
    against = f"{ranker.name} {ranker.recall[k]:.3f}, difference {interval(gap)}"
    if len(first) < _TOO_FEW_USERS:
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


def _why_all_are_equal(comparison: Comparison, recall: np.ndarray) -> str:
    k, n_items = comparison.ks[0], len(comparison.items)
    found = f"(recall@{k} {recall.mean():.3f}). Give a longer log"
    if not recall.any():
        larger = f", or try a larger k with -k (there are {n_items} items)" if k < n_items else ""
        return f"none finds any held-out item {found}{larger}."
    return f"all find the same held-out items {found}" + (
        ", or choose a smaller k with -k." if k > 1 else "."
    )


def _simplest(
    comparison: Comparison, encoders: list[Row], best: Row
) -> tuple[Row, tuple[float, float, float]]:
    """Return the simplest encoder not worse than the best, and its difference from the ranker.

    Encoders above the best ranker come first, then those that may be equal to it, then those
    below it: an encoder that is not worse than the best one can still be worse than the ranker.
    """
    per_user = comparison.per_user
    gaps = [
        (row, paired_interval(per_user[row.name], per_user[comparison.best_ranker]))
        for row in encoders
        if row is best or not paired_interval(per_user[best.name], per_user[row.name])[1] > 0
    ]
    return max(gaps, key=lambda pair: (pair[1][1] > 0, pair[1][2] >= 0))


def as_json(comparison: Comparison) -> str:
    """Return the table, the notes and the recommendation as one JSON object.

    NaN is null. Figures that are NaN for all contenders are left out.
    """
    rows = [_plain(dataclasses.asdict(row)) for row in comparison.rows]
    empty = {name for name in rows[0] if all(row[name] is None for row in rows)}
    content = {
        "about": comparison.about,
        "k": comparison.ks,
        "n_users": len(comparison.split.queries),
        "n_items": len(comparison.items),
        "n_left_out": comparison.split.left_out,
        "repeated_events": comparison.split.again_share,
        "exclude_seen": comparison.exclude_seen,
        "best_ranker": comparison.best_ranker,
        "rows": [{name: row[name] for name in row if name not in empty} for row in rows],
        "missing": comparison.missing,
        "search": [] if comparison.search is None else comparison.search.trials,
        "notes": notes(comparison),
        "what_to_ship": what_to_ship(comparison),
    }
    return json.dumps(content, indent=2)


def interval(values: tuple[float, float, float] | None) -> str:
    """Return a difference with its interval, or a dash."""
    if values is None:
        return "-"
    difference, low, high = values
    if math.isnan(low):
        return f"{difference:+.3f}"
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def figure(value: float, form: str = ".3f") -> str:
    """Return a number, or a dash for NaN."""
    return "-" if math.isnan(value) else format(value, form)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def listed(parts: list[str]) -> str:
    """Return parts as "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
