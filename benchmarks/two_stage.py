"""Measure the second stage on a log: quality, paired with its encoder, and the time it takes.

    python benchmarks/two_stage.py                       # online-retail: the last instant
    python benchmarks/two_stage.py --log amazon-beauty.txt
    python benchmarks/two_stage.py --log complete-journey  # or ml-100k, of packages
    python benchmarks/two_stage.py --earlier             # learned one instant earlier, then updated
    python benchmarks/two_stage.py --validation          # one instant earlier, for tuning
    python benchmarks/two_stage.py --people 1000         # a small log: random people of the log
    python benchmarks/two_stage.py --world steady-3000   # a generated world of quality.py
    python benchmarks/two_stage.py --world "943 people, 1680 items"  # a log of against.py
    python benchmarks/two_stage.py --json FILE           # write the figures, too

The logs are in the folder SKUE_DATA. On online-retail, everything but each user's last instant is
learned from and is the query. On a log without times (amazon-beauty), everything but the last two
events is learned from, and the query is everything but the last one; then the last but one events
are added with ``update``. Recall is hits / min(10, held out). Items that the user already has are
left out, unless the log contains repeats. In a generated world (steady-3000 is the notebook's
split), the item vectors are given, and the people that are measured are not learned from. The
recommender is fitted once for each seed. Differences are paired by user, with 95 % bootstrap
intervals.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from _log_file import log_of
from _result_file import write
from against import GENERATED
from quality import FIRST_WORLD_SEED, WORLDS, World, machine
from scale import N_REQUESTS, generated_log, ms_of_one_request, numbered
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skue import (
    Histories,
    NDCGAtK,
    OwnFrequencyRanker,
    RecallAtK,
    SimilarUsersRanker,
    TransitionItemRanker,
    TwoStageRecommender,
    TwoTowerUserEncoder,
    leave_last_out,
)
from skue.compare._comparison import paired_interval
from skue.metrics._evaluation import evaluate
from skue.ranking._rankers import default_rankers

METRICS = ("R@10", "N@10")
COUNTING = {
    "own frequency": OwnFrequencyRanker(beta=0.5),
    "own count + popularity": OwnFrequencyRanker(),
    "similar users (UP-CF)": SimilarUsersRanker(),
}


def split(histories, by, n_last):
    """Return prefixes and held-out items after leaving out the last ``n_last`` instants."""
    X, y = histories, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(n_last):
            X, y = leave_last_out(X, by=by)
    return X, y


def newest_events(longer, shorter):
    """Return the events of ``longer`` that ``shorter`` does not have, for the same users."""
    row = {user: at for at, user in enumerate(shorter.user_ids.tolist())}
    n_had = np.array([shorter.lengths[row[u]] if u in row else 0 for u in longer.user_ids.tolist()])
    position = np.arange(len(longer.codes)) - np.repeat(longer.offsets[:-1], longer.lengths)
    return longer._keep_events(position >= np.repeat(n_had, longer.lengths))


def figures(estimator, X, y, exclude_seen):
    found = evaluate(estimator, X, y, exclude_seen=exclude_seen)
    return RecallAtK(10, normalize="min").per_user(found), NDCGAtK(10).per_user(found)


class Rows:
    """The figures of every row, one for each seed, and the differences between rows."""

    def __init__(self):
        self.by_name = {}

    def add(self, name, ours, less=None):
        """Print and keep the figures of a row, and how much they are above those of others."""
        row = self.by_name.setdefault(name, {"R@10": [], "N@10": [], "less": {}})
        line = f"{name:25}"
        for metric, values in zip(METRICS, ours, strict=True):
            row[metric].append(float(values.mean()))
            line += f"  {metric} {values.mean():.4f}"
        for other, theirs in (less or {}).items():
            kept = row["less"].setdefault(other, {metric: [] for metric in METRICS})
            for metric, one, two in zip(METRICS, ours, theirs, strict=True):
                gap = paired_interval(one, two)
                kept[metric].append(gap)
                line += "\n    {} less {} {:+.4f} [{:+.4f}, {:+.4f}]".format(metric, other, *gap)
        print(line, flush=True)

    def summary(self):
        """Return the rows with the medians of their seeds."""
        return [
            {
                "name": name,
                **{metric: float(np.median(row[metric])) for metric in METRICS},
                "by seed": {metric: row[metric] for metric in METRICS},
                "less": row["less"],
            }
            for name, row in self.by_name.items()
        ]


def latency(model, X):
    """Return the median milliseconds of one recommendation."""
    return ms_of_one_request(model.recommend, X[:N_REQUESTS])


def measure(rows, name, model, X, y, exclude_seen, less, newer=None):
    """Add the figures of a fitted recommender, and those after an update."""
    print(model.second_stage_, model.validation_scores_, flush=True)
    rows.add(name, figures(model, X, y, exclude_seen), less)
    if newer is not None:
        started = time.perf_counter()
        model.update(newer)
        print(f"update: {time.perf_counter() - started:.1f} s")
        rows.add(f"{name}, updated", figures(model, X, y, exclude_seen), less)


def measure_each(rows, encoder, seed, train, X, y, exclude_seen, less, newer=None, timed=False):
    """Add the figures of every ranker behind a fitted encoder."""
    for name, ranker in default_rankers(np.random.RandomState(0)).items():
        each = TwoStageRecommender(FrozenEstimator(encoder), clone(ranker), random_state=seed)
        each.fit(train)
        measure(rows, f"two-stage, {name}", each, X, y, exclude_seen, less, newer)
        if timed:
            print(f"{name}: {latency(each, X):.2f} ms a user, encoder alone", end=" ")
            print(f"{latency(encoder, X):.2f} ms", flush=True)


class Task(NamedTuple):
    """What is learned from, what is measured, and what is added afterwards."""

    train: Histories
    X: Histories
    y: np.ndarray
    exclude_seen: bool
    newer: Histories | None = None


def task_of_log(histories, arguments):
    by = "event" if histories.timestamps is None else "instant"
    if arguments.people:
        chosen = np.random.default_rng(0).permutation(len(histories))[: arguments.people]
        histories = histories[np.sort(chosen)]
    X, y = split(histories, by, 1 + arguments.validation)
    train, newer = X, None
    if (arguments.earlier or by == "event") and not arguments.validation:
        train, _ = split(histories, by, 2)
        newer = newest_events(X, train)
    repeats = evaluate(TransitionItemRanker().fit(train), X, y).repeated.any()
    return Task(train, X, y, not repeats, newer)


def task_of_world(world):
    X, y = world.others
    return Task(world.train, X, y, exclude_seen=False)


def run(task, encoder, arguments):
    """Measure everything, with every seed."""
    train, X, y, exclude_seen, newer = task
    rows, others = Rows(), None
    rows.add("transitions", figures(TransitionItemRanker().fit(train), X, y, exclude_seen))
    for seed in range(arguments.seeds):
        print(f"seed {seed}")
        started = time.perf_counter()
        model = TwoStageRecommender(encoder, random_state=seed).fit(train)
        print(f"fit: {time.perf_counter() - started:.1f} s", flush=True)
        if others is None:
            others = {}
            for name, ranker in () if exclude_seen else COUNTING.items():
                others[name] = figures(ranker.fit(train), X, y, exclude_seen)
                rows.add(name, others[name])
        less = {"encoder": figures(model.encoder_, X, y, exclude_seen), **others}
        rows.add("encoder", less["encoder"])
        measure(rows, "two-stage", model, X, y, exclude_seen, less, newer)
        if arguments.each:
            each = train, X, y, exclude_seen, less, newer
            measure_each(rows, model.encoder_, seed, *each, timed=arguments.latency)
    return {
        "exclude_seen": exclude_seen,
        "validation": arguments.validation,
        "learned_earlier": newer is not None,
        "seeds": arguments.seeds,
        "n_people": len(X),
        "n_learned_from": len(train.codes),
        "rows": rows.summary(),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--log",
        default="online-retail.csv.gz",
        help="a file, one in SKUE_DATA, or a log of a package",
    )
    parser.add_argument("--validation", action="store_true", help="one instant earlier")
    parser.add_argument("--people", type=int, help="this many random people of the log")
    parser.add_argument("--world", choices=[*WORLDS, *GENERATED], help="generated, not a log")
    parser.add_argument("--earlier", action="store_true", help="learn from all but the last two")
    parser.add_argument("--seeds", type=int, default=3, help="fits, with the seeds 0, 1, ...")
    parser.add_argument("--encoder", help="a fitted encoder (.joblib) to use as it is")
    parser.add_argument("--each", action="store_true", help="measure both rankers, not the choice")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    encoder = None
    name = arguments.world
    if name in WORLDS:
        world = World(name, FIRST_WORLD_SEED)
        encoder, task = TwoTowerUserEncoder(world.items), task_of_world(world)
    elif name in GENERATED:
        task = task_of_log(numbered(generated_log(**GENERATED[name])), arguments)
    else:
        task, name = task_of_log(log_of(arguments.log), arguments), Path(arguments.log).name
    if arguments.encoder:
        encoder = FrozenEstimator(joblib.load(arguments.encoder))
    found = {"log": name, **machine(), **run(task, encoder, arguments)}
    for row in found["rows"]:
        print(f"{row['name']:25}  median R@10 {row['R@10']:.4f}  N@10 {row['N@10']:.4f}")
    if arguments.json:
        write(arguments.json, found)


if __name__ == "__main__":
    main()
