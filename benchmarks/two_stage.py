"""Measure the second stage on a log: quality, paired with its encoder, and the time it takes.

    python benchmarks/two_stage.py                       # online-retail: the last instant
    python benchmarks/two_stage.py --log amazon-beauty.txt
    python benchmarks/two_stage.py --earlier             # learned one instant earlier, then updated
    python benchmarks/two_stage.py --validation          # one instant earlier, for tuning

The logs are in the folder SKUE_DATA. On online-retail, everything but each user's last instant is
learned from and is the query. On a log without times (amazon-beauty), everything but the last two
events is learned from, and the query is everything but the last one; then the last but one events
are added with ``update``. Recall is hits / min(10, held out). Items that the user already has are
left out, unless the log contains repeats. Differences are paired by user, with 95 % bootstrap
intervals.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skue import (
    TransitionItemRanker,
    TwoStageRecommender,
    leave_last_out,
    load_interactions,
)
from skue.compare._contenders import OwnFrequency
from skue.compare._counting import OwnCountAndPopularity, SimilarUsers
from skue.compare._run import paired_interval
from skue.metrics._evaluation import Evaluation, evaluate
from skue.ranking._choice import default_rankers


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
    return found.recall(10, "min"), found.ndcg(10)


def report(name, ours, theirs=None):
    line = f"{name:45} R@10 {ours[0].mean():.4f}  N@10 {ours[1].mean():.4f}"
    if theirs is not None:
        for metric, one, other in zip("RN", ours, theirs, strict=True):
            mean, low, high = paired_interval(one, other)
            line += f"  {metric} less encoder {mean:+.4f} [{low:+.4f}, {high:+.4f}]"
    print(line, flush=True)


def against(name, found, ranker, X, y):
    """Print the figures of a ranker that counts, and how much the second stage is above it."""
    scores, items = ranker.score_blocks(X), ranker.items_
    theirs = Evaluation(scores, items, X, y, tolerance=ranker.tolerance)
    report(name, (theirs.recall(10, "min"), theirs.ndcg(10)))
    mean, low, high = paired_interval(found[0], theirs.recall(10, "min"))
    print(f"two-stage less {name}: R {mean:+.4f} [{low:+.4f}, {high:+.4f}]", flush=True)


def latency(model, X, n=300):
    """Return the median milliseconds of one recommendation."""
    seconds = []
    for row in range(min(n, len(X))):
        one = X[row : row + 1]
        started = time.perf_counter()
        model.recommend(one, k=10)
        seconds.append(time.perf_counter() - started)
    return 1e3 * float(np.median(seconds))


def measure(model, X, y, exclude_seen, newer=None):
    """Print the figures of a fitted recommender, of its encoder, and after an update."""
    print(model.second_stage_, model.validation_scores_, flush=True)
    encoder = figures(model.encoder_, X, y, exclude_seen)
    report("encoder", encoder)
    report(f"two-stage ({model.second_stage_})", figures(model, X, y, exclude_seen), encoder)
    if newer is not None:
        started = time.perf_counter()
        model.update(newer)
        print(f"update: {time.perf_counter() - started:.1f} s")
        report("two-stage, updated", figures(model, X, y, exclude_seen), encoder)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", default="online-retail.csv.gz")
    parser.add_argument("--validation", action="store_true", help="one instant earlier")
    parser.add_argument("--earlier", action="store_true", help="learn from all but the last two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", help="a fitted encoder (.joblib) to use as it is")
    parser.add_argument("--each", action="store_true", help="measure both rankers, not the choice")
    parser.add_argument("--latency", action="store_true")
    arguments = parser.parse_args()
    folder = os.environ.get("SKUE_DATA")
    if not folder:
        raise SystemExit("set SKUE_DATA to the folder with the log")
    histories = load_interactions(Path(folder) / arguments.log)
    by = "event" if histories.timestamps is None else "instant"
    X, y = split(histories, by, 1 + arguments.validation)
    train, newer = X, None
    if (arguments.earlier or by == "event") and not arguments.validation:
        train, _ = split(histories, by, 2)
        newer = newest_events(X, train)
    exclude_seen = by == "event"
    report("transitions", figures(TransitionItemRanker().fit(train), X, y, exclude_seen))
    encoder = None
    if arguments.encoder:
        encoder = FrozenEstimator(joblib.load(arguments.encoder))
    started = time.perf_counter()
    model = TwoStageRecommender(encoder, random_state=arguments.seed).fit(train)
    print(f"fit: {time.perf_counter() - started:.1f} s", flush=True)
    measure(model, X, y, exclude_seen, newer)
    if by == "instant":
        counting = OwnFrequency(), OwnCountAndPopularity(), SimilarUsers()
        found = figures(model, X, y, exclude_seen)
        for ranker in counting:
            against(type(ranker).__name__, found, ranker.fit(train, model.item_embeddings_), X, y)
    if arguments.each:
        for name, ranker in default_rankers(np.random.RandomState(0)).items():
            frozen = FrozenEstimator(model.encoder_)
            each = TwoStageRecommender(frozen, clone(ranker), random_state=arguments.seed)
            print(name)
            each.fit(train)
            measure(each, X, y, exclude_seen, newer)
            if arguments.latency:
                print(f"{name}: {latency(each, X):.2f} ms a user, encoder alone", end=" ")
                print(f"{latency(model.encoder_, X):.2f} ms", flush=True)


if __name__ == "__main__":
    main()
