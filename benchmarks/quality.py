"""Measure how well encoders find the next item: on a log, in generated worlds, and in ablations.

    python benchmarks/quality.py LOG                     # the published protocol, three seeds
    python benchmarks/quality.py --worlds                # generated users, no log needed
    python benchmarks/quality.py LOG --ablation --seeds 1
    python benchmarks/quality.py --worlds steady-3000 --ablation

With ``--json``, ``python docs/measured_tables.py`` then writes the tables of the page.

On a log (by default amazon-beauty.txt in the folder SKUE_DATA), each user's last event is the
test target, and the one before it is the validation target. Everything, including item vectors,
is learned from the rest. The whole catalogue is ranked. Items that the user already has are left
out, unless the log contains repeats. The best average is chosen on validation. With times, whole
instants are held out, and recall is hits / min(k, held out).

In a generated world, the item vectors are given and frozen. Encoders learn from the first 21
events of some people. For the others, they predict the 21st event from the 20 before it. The best
average is chosen on the people learned from. Differences are paired by user, over all generator
seeds.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from _log_file import log_path
from _quality_parts import VARIANTS, Ablated, average_grid, run_of
from _result_file import write
from _tables import BESIDE, log_table, short, world_table
from threadpoolctl import threadpool_info

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    MixedUserEncoder,
    TwoTowerUserEncoder,
    leave_last_out,
    load_interactions,
)
from skue.compare._comparison import paired_interval
from skue.datasets import make_user_histories

N_PREFIX = 20
# Name: users, users learned from, further arguments of the generator.
WORLDS = {
    "steady-3000": (3000, 2200, {}),
    "steady-12000": (12_000, 8_000, {}),
    # Tastes move after the 16th event: the newest four of the query and the target are new.
    "fast-3000": (3000, 2200, {"drift_scale": 1.0, "drift_after": 15}),
    # Tastes move after the 17th event, and people with the same taste move alike.
    "fast-shared-12000": (
        12_000,
        8_000,
        {"drift_scale": 2.0, "drift_after": 16, "drift_shared": True},
    ),
}
FIRST_WORLD_SEED = 3


def say(text):
    print(text, file=sys.stderr, flush=True)


class Log:
    """A log split twice: the last event (or instant), and the one before it, are held out."""

    def __init__(self, path, k):
        histories = load_interactions(path)
        self.k, self.by = k, "event" if histories.timestamps is None else "instant"
        self.unit = "step" if self.by == "event" else "instant"
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            self.test = leave_last_out(histories, by=self.by)
            self.validation = leave_last_out(self.test[0], by=self.by)
        self.train = self.validation[0]
        seen = run_of(DecayAverageUserEncoder().fit(self.train), *self.validation, self.k)
        self.exclude_seen = seen["repeats"] == 0

    def run(self, encoder, *, name, seed=None, seconds=0.0):
        """Fit the encoder and score it on validation and test."""
        started = time.perf_counter()
        encoder.fit(self.train)
        seconds += time.perf_counter() - started
        run = {"encoder": name, "seed": seed, "fit_seconds": seconds}
        for part, held_out in (("validation", self.validation), ("test", self.test)):
            scores = run_of(encoder, *held_out, self.k, 20, exclude_seen=self.exclude_seen)
            names = {"R": "R", "N": "N", "R2": "R20"}
            run |= {f"{part}_{name}": float(np.mean(scores[at])) for at, name in names.items()}
        if hasattr(encoder, "best_iter_"):
            run |= {"best_iter": encoder.best_iter_, "n_iter": encoder.n_iter_}
        say(", ".join(f"{key} {short(value)}" for key, value in run.items()))
        return run

    def averages(self):
        """Yield the runs of fixed averages and of the best average of a grid on validation."""
        fixed = {f"decay {decay}": {"decay": decay} for decay in (0.07, 0.5, 1.0)}
        for name, parameters in fixed.items():
            yield self.run(DecayAverageUserEncoder(age_unit=self.unit, **parameters), name=name)
        yield self.run(MixedUserEncoder(age_unit=self.unit), name="mix")
        best, best_recall = {}, -1.0
        started = time.perf_counter()
        for n_dims in (128, 256):
            items = CooccurrenceItemEmbedder(n_dims=n_dims).fit(self.train).item_embeddings_
            for parameters in average_grid():
                average = DecayAverageUserEncoder(items, age_unit=self.unit, **parameters)
                scores = run_of(
                    average.fit(self.train),
                    *self.validation,
                    self.k,
                    exclude_seen=self.exclude_seen,
                )
                if np.mean(scores["R"]) > best_recall:
                    best_recall = np.mean(scores["R"])
                    best = {"n_dims": n_dims, **parameters}
        seconds = time.perf_counter() - started
        embedder = CooccurrenceItemEmbedder(n_dims=best.pop("n_dims"))
        average = DecayAverageUserEncoder(embedder, age_unit=self.unit, **best)
        run = self.run(average, name="best average", seconds=seconds)
        yield run | {"chosen": {"n_dims": embedder.n_dims, **best}}


def log_part(arguments):
    """Measure every encoder, or every variant of the two-tower, on a log."""
    log = Log(arguments.log, arguments.k)
    runs = []
    if arguments.ablation:
        for name, change in VARIANTS.items():
            if arguments.only and name not in arguments.only:
                continue
            for seed in range(arguments.seeds):
                encoder = Ablated(random_state=seed).changed(change)
                runs.append(log.run(encoder, name=name, seed=seed))
    else:
        if "averages" in arguments.encoders:
            runs += log.averages()
        if "two-tower" in arguments.encoders:
            for seed in range(arguments.seeds):
                encoder = TwoTowerUserEncoder(random_state=seed)
                runs.append(log.run(encoder, name="two-tower", seed=seed))
    result = {
        "log": arguments.log.name,
        "k": log.k,
        "by": log.by,
        "exclude_seen": log.exclude_seen,
        "ablation": arguments.ablation,
        "runs": runs,
    }
    print(log_table(result), flush=True)
    return result


class World:
    """One generated world, with people to learn from and people to test on."""

    def __init__(self, name, seed):
        n_users, self.n_train, options = WORLDS[name]
        data = make_user_histories(n_users, random_state=seed, **options)
        self.items, events = data.item_embeddings, data.histories
        first = [row[: N_PREFIX + 1] for row in events]
        self.train = Histories.from_lists(first[: self.n_train])
        queries, held_out = leave_last_out(Histories.from_lists(first))
        self.learned_from = queries[: self.n_train], held_out[: self.n_train]
        self.others = queries[self.n_train :], held_out[self.n_train :]

    def scores(self, encoder, *, fit=True):
        """Return the recall at 20 and 50 of each person in the test part."""
        started = time.perf_counter()
        if fit:
            encoder.fit(self.train)
        seconds = time.perf_counter() - started
        found = run_of(encoder, *self.others, 20, 50)
        return {20: found["R"], 50: found["R2"], "seconds": seconds}

    def best_average(self):
        """Return the average with the highest recall for the people learned from."""
        averages = [DecayAverageUserEncoder(self.items, **chosen) for chosen in average_grid()]
        recalls = [
            np.mean(run_of(average.fit(self.train), *self.learned_from, 20)["R"])
            for average in averages
        ]
        return averages[int(np.argmax(recalls))]


def world_part(arguments):
    """Measure encoders, or variants of the two-tower, in generated worlds."""
    results = []
    for name in arguments.worlds:
        found = {}
        for world_seed in range(FIRST_WORLD_SEED, FIRST_WORLD_SEED + arguments.world_seeds):
            world = World(name, world_seed)
            best = world.best_average()
            scores = {"best average": [world.scores(best, fit=False)]}
            if not arguments.ablation:
                scores["decay 0.07"] = [world.scores(DecayAverageUserEncoder(world.items))]
                scores["mix"] = [world.scores(MixedUserEncoder(world.items))]
            variants = VARIANTS if arguments.ablation else {"two-tower": None}
            for variant, change in variants.items():
                if arguments.only and variant not in arguments.only:
                    continue
                scores[variant] = [
                    world.scores(Ablated(world.items, random_state=seed).changed(change))
                    for seed in range(arguments.seeds)
                ]
            for encoder, runs in scores.items():
                found.setdefault(encoder, []).append(runs)
                say(
                    f"{name} seed {world_seed} {encoder}: "
                    + " ".join(f"{np.mean(run[20]):.4f}/{np.mean(run[50]):.4f}" for run in runs)
                    + f" {statistics.median(run['seconds'] for run in runs):.1f} s"
                    + (
                        f" (decay {best.decay}, exponent {best.repeat_exponent})"
                        if encoder == "best average"
                        else ""
                    )
                )
        results.append(world_result(name, found, arguments.seeds))
        print(world_table(results[-1]), flush=True)
    return results


def world_result(name, found, seeds):
    """Return recalls over worlds and seeds, and paired differences with intervals."""
    n_users, n_train, options = WORLDS[name]
    rows = []
    for encoder, worlds in found.items():
        row = {
            "encoder": encoder,
            "fit_seconds": [run["seconds"] for runs in worlds for run in runs],
        }
        for k in (20, 50):
            row[f"recall@{k}"] = [float(np.mean(run[k])) for runs in worlds for run in runs]
        for base in BESIDE:
            if base in found and base != encoder:
                row[f"less {base}"] = {
                    str(k): difference(mean_by_user(worlds, k), mean_by_user(found[base], k))
                    for k in (20, 50)
                }
        rows.append(row)
    return {
        "world": name,
        "options": options,
        "n_worlds": len(found["best average"]),
        "n_train": n_train,
        "n_others": n_users - n_train,
        "seeds": seeds,
        "rows": rows,
    }


def difference(ours, theirs):
    """Return the mean paired difference, its 95 % interval and its standard error."""
    mean, low, high = paired_interval(ours, theirs)
    error = float(np.std(ours - theirs) / np.sqrt(len(ours)))
    return {"mean": mean, "interval": [low, high], "standard_error": error}


def mean_by_user(worlds, k):
    """Return each user's mean recall over seeds, for the users of all worlds."""
    return np.concatenate([np.mean([run[k] for run in runs], axis=0) for runs in worlds])


def machine():
    """Return the machine and the versions, on which the times depend."""
    import sklearn

    import skue

    threads = {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": threads,
        "versions": {"numpy": np.__version__, "sklearn": sklearn.__version__}
        | {"python": platform.python_version(), "skue": skue.__version__},
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(map(os.path.basename, sys.argv[1:])),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "log",
        nargs="?",
        default="amazon-beauty.txt",
        help="a file, or the name of one in SKUE_DATA",
    )
    parser.add_argument("-k", type=int, default=10, help="k of the metrics on a log (default 10)")
    parser.add_argument("--seeds", type=int, default=3, help="fits of each two-tower (default 3)")
    parser.add_argument(
        "--encoders",
        nargs="+",
        default=["averages", "two-tower"],
        choices=["averages", "two-tower"],
    )
    parser.add_argument(
        "--worlds", nargs="*", choices=list(WORLDS), help="generated worlds (default: all)"
    )
    parser.add_argument("--world-seeds", type=int, default=3, help="worlds a kind (default 3)")
    parser.add_argument("--ablation", action="store_true", help="measure variants of the two-tower")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="only these variants")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    results = machine()
    if arguments.worlds is not None:
        arguments.worlds = arguments.worlds or list(WORLDS)
        results["worlds"] = world_part(arguments)
    else:
        arguments.log = log_path(arguments.log)
        results["log"] = log_part(arguments)
    if arguments.json:
        write(arguments.json, results)


if __name__ == "__main__":
    main()
