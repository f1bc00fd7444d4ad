"""The figures of a comparison, its table, notes and recommendation."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skue.compare._contenders import Contender
from skue.compare._item_features import FeatureFile
from skue.compare._result import Result, counted, figure, interval, listed
from skue.compare._search import Search
from skue.compare._split import Split
from skue.items._item_embeddings import ItemEmbeddings

USUAL_KS = [20, 50]
_N_RESAMPLES = 2000
# With fewer users, the intervals are wide. A small share of users may differ from the others.
_FEW_USERS = 100
# With fewer users, an interval may claim a difference that is due to chance.
_TOO_FEW_USERS = 20
_SMALL_SHARE = 0.1
_N_EXAMPLES = 5
AGE_UNITS = {"step": "events", "instant": "instants", "D": "days"}


@dataclass
class Row:
    """The figures of one contender. NaN is a figure that it does not have."""

    name: str
    is_encoder: bool
    recall: dict[int, float]
    ndcg: dict[int, float]
    repeat: float
    explore: float
    cold: float
    warm: float
    curve: dict[int, float]
    fit_seconds: float
    microseconds_per_user: float
    recommend_microseconds: float = math.nan
    new_items: float = math.nan
    parameters: dict[str, Any] = field(default_factory=dict)
    against: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    average_precision: float = math.nan
    coverage: float = math.nan
    novelty: float = math.nan
    similarity: float = math.nan


@dataclass
class Comparison(Result):
    """The search for held-out items.

    Attributes
    ----------
    split : Split
    ks : list of int
        The first one decides which contender is best.
    ks_given : bool
        Whether the ks come from the command line.
    seen : {"auto", "keep", "exclude"}
        The option of the command line.
    exclude_seen : bool
        Whether items of the history are left out of the ranking.
    items : ItemEmbeddings
        The item vectors of the averages.
    contenders : list of Contender
    feature_file : FeatureFile or None
    per_user : dict
        Recall at the first k of each user, for each name of a contender that is done.
    search : Search or None
        None until it is done.
    lists : dict
        The best items of each of the users in ``examples``, for each contender that is done.
    shares : dict
        Share of the held-out items that are in the history (``"repeat"``), outside of the
        catalogue (``"unknown"``), or of no training history (``"new"``), and of the users without
        a known event (``"cold"``).
    """

    about: dict[str, Any]
    columns: str
    split: Split
    ks: list[int]
    ks_given: bool
    seen: str
    exclude_seen: bool
    items: ItemEmbeddings
    contenders: list[Contender]
    feature_file: FeatureFile | None = None
    rows: list[Row] = field(default_factory=list)
    per_user: dict[str, np.ndarray] = field(default_factory=dict)
    search: Search | None = None
    shares: dict[str, float] = field(default_factory=dict)
    lists: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = [contender.name for contender in self.contenders]

    @property
    def encoders(self) -> list[Contender]:
        """The contenders with vectors that are done, which the report saves."""
        return [c for c in self.contenders if c.kind != "ranker" and c.name in self.per_user]

    @property
    def files(self) -> dict[str, Any]:
        """The fitted encoders by the name of the file that the report saves them in."""
        return {contender.file: contender.estimator for contender in self.encoders}

    @property
    def examples(self) -> np.ndarray:
        """Rows of a few random users, whose lists the report shows."""
        n_users = len(self.split.queries)
        chosen = np.random.default_rng(0).permutation(n_users)[:_N_EXAMPLES]
        return np.sort(chosen)

    @property
    def has_rankers(self) -> bool:
        """Whether all rankers are done, so that the best one is known."""
        return all(each.name in self.per_user for each in self.contenders if each.kind == "ranker")

    @property
    def best_ranker(self) -> str:
        """Name of the best ranker without vectors."""
        names = [row.name for row in self.rows if not row.is_encoder]
        return max(names, key=lambda name: self.per_user[name].mean())

    def add(self, row: Row, recall: np.ndarray) -> None:
        """Add a contender that is done, with its recall for each user."""
        self.rows.append(row)
        self.rows.sort(key=lambda row: self.names.index(row.name))
        self.per_user[row.name] = recall

    def set_intervals(self) -> None:
        """Compare all rows with the best ranker and the plain average."""
        for row in self.rows:
            for other in dict.fromkeys([self.best_ranker, "plain average"]):
                if other not in (row.name, *row.against):
                    ours, theirs = self.per_user[row.name], self.per_user[other]
                    row.against[other] = paired_interval(ours, theirs)

    def row(self, name: str) -> Row:
        """Return the figures of a contender."""
        return next(row for row in self.rows if row.name == name)

    def cells(self) -> dict[str, list[str]]:
        """Return the table by column."""
        rows, ks = self.rows, self.ks
        columns = {"": [row.name for row in rows]}
        columns |= {f"recall@{k}": [figure(row.recall[k]) for row in rows] for k in ks}
        columns |= {f"ndcg@{k}": [figure(row.ndcg[k]) for row in rows] for k in ks}
        for other in (self.best_ranker, "plain average"):
            columns[f"against {other}"] = [interval(row.against.get(other)) for row in rows]
        if 0 < self.shares["repeat"] < 1:  # otherwise one is empty and the other is the recall
            columns["repeat"] = [figure(row.repeat) for row in rows]
            columns["explore"] = [figure(row.explore) for row in rows]
        columns["fit s"] = [f"{row.fit_seconds:.2f}" for row in rows]
        columns["µs/user"] = [figure(row.microseconds_per_user, ".1f") for row in rows]
        return columns

    def notes(self) -> list[str]:
        """Return the notes that explain the table."""
        about = self.about
        period = " to ".join(dict.fromkeys(about["period"])) or "no times"
        size = f"{counted(about['n_users'], 'user')}, {counted(about['n_events'], 'event')}"
        learned = counted(len(self.split.train.codes), "event")
        lines = [
            f"Log: {about['log']} ({size}, {period}). Learned from: {learned} of "
            f"{counted(len(self.items), 'item')}."
        ]
        if about["late"]:
            lines.append(f"{about['late']} Check these times.")
        if self.columns:
            lines.append(self.columns)
        return [
            *lines,
            *_of_the_users(self.split),
            "The encoder of 'two-stage' is the two-tower, which is fitted once; its seconds count "
            "in both rows.",
            *self._of_k(),
            *_of_the_split(self.split),
            *self._of_seen_items(),
            *self._of_new_items(),
            "recall@k is hits / min(k, held-out items), averaged over users, in the whole "
            "catalogue; [...] is a paired 95 % bootstrap interval over users.",
            *self._of_the_search(),
            "The last line follows a rule: ship the simplest encoder that is not significantly "
            "below the best one, if it is significantly above the best ranker without vectors; "
            "otherwise ship that ranker.",
            "The page 'Which encoder?' of the user guide says what to expect on which log.",
        ]

    def _of_k(self) -> list[str]:
        n_items, k = len(self.items), self.ks[0]
        if k >= n_items:
            return [
                f"k is {k}, but there are only {n_items} items, so recall is the same for all "
                "contenders. Choose a smaller k with -k."
            ]
        if not self.ks_given and self.ks != USUAL_KS:
            chosen = listed([str(k) for k in self.ks])
            return [f"There are only {n_items} items, so k is {chosen} (change it with -k)."]
        return []

    def _of_seen_items(self) -> list[str]:
        """Tell whether items of the history are ranked, and why."""
        again = f"{self.split.again_share:.1%} of all events repeat an item of the same user"
        if not self.exclude_seen:
            ranked = (
                "Items of the history are ranked like all others (change this with --seen exclude)."
            )
            treated = [f"{again}. {ranked}"]
        else:
            left_out = (
                ", so items of the history are left out of the ranking (change this with "
                "--seen keep)."
                if self.seen == "auto"
                else ". Items of the history are left out of the ranking (--seen exclude)."
            )
            treated = [
                again + left_out,
                "'last item', 'own frequency' and 'own count + popularity' differ from "
                "'popularity' only in items of the history, so they are left out here.",
            ]
        return [
            f"{self.shares['repeat']:.1%} of held-out items are in the history already (repeat), "
            f"{self.shares['unknown']:.1%} are not in the catalogue (misses).",
            *treated,
        ]

    def _of_new_items(self) -> list[str]:
        """Tell how features were encoded, and how well items without events are found."""
        if self.feature_file is None:
            return []
        new_share = self.shares["new"]
        lines = [
            f"Item features: {self.feature_file.encoding}.",
            f"{new_share:.1%} of held-out items are new: no training history has them.",
        ]
        if new_share:
            found = [f"{row.name} {row.new_items:.3f}" for row in self.rows if row.is_encoder]
            lines.append(f"Recall@{self.ks[0]} of new items: {', '.join(found)}.")
        return lines

    def _of_the_search(self) -> list[str]:
        search = self.search
        if search is None:
            return []
        shown = ", ".join(f"{name}={value!r}" for name, value in sorted(search.found.items()))
        done = (
            "Searched" if search.trials else "No history is long enough to search, so the default"
        )
        lines = [f"{done}: {shown}; {half_life(search.found)}."]
        unit, decay = search.found["age_unit"], search.found["decay"]
        tried = [trial["decay"] for trial in search.trials if trial["age_unit"] == unit]
        if tried and decay in (min(tried), max(tried)) and decay > 0:
            lines.append(
                "The best decay is on the edge of the grid, so a better one may be beyond."
            )
        return lines

    def recommendation(self) -> str:
        """Return the simplest encoder that is as good as the best one, or the best ranker."""
        k = self.ks[0]
        first = next(iter(self.per_user.values()))
        if self._all_find_the_same():
            found = (
                "all find the same held-out items"
                if first.any()
                else "none finds any held-out item"
            )
            return (
                f"There is no best contender: {found} (recall@{k} {first.mean():.3f}). Give a "
                f"longer log, or try another k with -k (there are {len(self.items)} items)."
            )
        simplest, best, ranker, gap = self._compared()
        _, low, high = gap
        measured = f"recall@{k} {simplest.recall[k]:.3f}"
        against = f"{ranker.name} {ranker.recall[k]:.3f}, difference {interval(gap)}"
        if len(first) < _TOO_FEW_USERS:
            return (
                f"There is no best contender: {counted(len(first), 'user')} cannot tell "
                f"'{simplest.name}' and '{ranker.name}' apart ({measured}; {against}). Give a "
                f"log with {_TOO_FEW_USERS} users or more to score."
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
            f"{against}): ship '{ranker.name}', which needs no vectors, unless you need vectors "
            "for other uses."
        )

    def plain_words(self) -> str:
        """Return how many more people find what they chose next, and what it costs."""
        if len(self.split.queries) < _TOO_FEW_USERS or self._all_find_the_same():
            return ""
        simplest, best, ranker, gap = self._compared()
        better, worse = (simplest, ranker) if gap[0] >= 0 else (ranker, simplest)
        middle, low, high = gap if gap[0] >= 0 else (-gap[0], -gap[2], -gap[1])
        # Of 1,000 people, a smaller difference would be shown as 0.
        n = 1_000 if middle >= 0.001 or middle == 0 else 100_000
        several = any(np.size(items) > 1 for items in self.split.held_out)
        find = (
            f"items that people chose next are among their {self.ks[0]} recommendations"
            if several
            else f"people find what they chose next among {self.ks[0]} recommendations"
        )
        likely = (
            f"{n * low:.0f} to {n * high:.0f} more"
            if low > 0
            else f"between {-n * low:.0f} fewer and {n * high:.0f} more, so it may be chance"
        )
        if several:
            likely += ", as a mean over people"
        told = (
            f"With '{better.name}', {n * middle:.0f} more of {n:,} {find} than with "
            f"'{worse.name}' ({likely}). Recommending takes {milliseconds(better)} ms a person in "
            f"place of {milliseconds(worse)}."
        )
        if best is not simplest:
            more = n * (self.per_user[best.name].mean() - self.per_user[simplest.name].mean())
            told += (
                f" '{best.name}' finds {more:.0f} more of {n:,} than '{simplest.name}', which may "
                f"be chance, and takes {milliseconds(best)} ms."
            )
        return told

    @property
    def shipped(self) -> str:
        """Name of the contender to ship, by the rule of the notes."""
        simplest, _, ranker, gap = self._compared()
        return simplest.name if gap[1] > 0 else ranker.name

    def _all_find_the_same(self) -> bool:
        first, *others = self.per_user.values()
        return all(np.array_equal(first, other) for other in others)

    def _compared(self) -> tuple[Row, Row, Row, tuple[float, float, float]]:
        """Return the simplest good encoder, the best encoder, the best ranker, and the difference.

        The difference is that of the simplest encoder from the ranker.
        """
        encoders = [row for row in self.rows if row.is_encoder]
        best = max(encoders, key=lambda row: row.recall[self.ks[0]])
        simplest, gap = self._simplest(encoders, best)
        return simplest, best, self.row(self.best_ranker), gap

    def _simplest(self, encoders: list[Row], best: Row) -> tuple[Row, tuple[float, float, float]]:
        """Return the simplest encoder not worse than the best, and its difference from the ranker.

        Encoders above the best ranker come first, then those that may be equal to it, then those
        below it: an encoder that is not worse than the best one can still be worse than the ranker.
        """
        per_user = self.per_user
        gaps = [
            (row, paired_interval(per_user[row.name], per_user[self.best_ranker]))
            for row in encoders
            if row is best or not paired_interval(per_user[best.name], per_user[row.name])[1] > 0
        ]
        return max(gaps, key=lambda pair: (pair[1][1] > 0, pair[1][2] >= 0))

    def content(self) -> dict[str, Any]:
        """Return the figures for JSON. Figures that are NaN for all contenders are left out."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        empty = {name for name in rows[0] if all(row[name] != row[name] for row in rows)}
        return {
            "k": self.ks,
            "n_users": len(self.split.queries),
            "n_items": len(self.items),
            "n_left_out": self.split.left_out,
            "repeated_events": self.split.again_share,
            "exclude_seen": self.exclude_seen,
            "best_ranker": self.best_ranker,
            "rows": [{name: row[name] for name in row if name not in empty} for row in rows],
            "search": [] if self.search is None else self.search.trials,
            "what_to_ship": self.verdict(),
            "in_plain_words": self.plain_words(),
        }


def _of_the_users(split: Split) -> list[str]:
    n_scored = len(split.queries)
    reasons = [f"{n} {reason}" for reason, n in split.left_out.items() if n]
    scored = f"Scored: {counted(n_scored, 'user')}"
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


def milliseconds(row: Row) -> str:
    """Return how long recommending takes for a person."""
    taken = row.recommend_microseconds / 1000
    return f"{taken:.0f}" if taken >= 10 else f"{taken:.2g}"


def paired_interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the mean difference over users and its 95 % bootstrap interval.

    Users are drawn with replacement. Users with the same difference are interchangeable, so the
    counts of the distinct differences follow a multinomial distribution. One user has no interval:
    its ends are NaN.
    """
    differences = np.round(ours - theirs, 12)
    n_users = len(differences)
    if n_users < 2:
        return float(differences.mean()), math.nan, math.nan
    values, counts = np.unique(differences, return_counts=True)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n_users, counts / n_users, size=_N_RESAMPLES)
    low, high = np.percentile(drawn @ values / n_users, [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)
