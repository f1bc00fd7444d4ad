"""Measure how the figures of one model move with the protocol of the evaluation.

    python benchmarks/protocol.py --json benchmarks/protocol.json
    python docs/measured_tables.py                   # writes the tables of the page

reads amazon-beauty.txt and online-retail.csv.gz from the folder SKUE_DATA. The model is a decayed
average of co-occurrence vectors, which takes seconds. In the first row, each person's last event
(with times, the last instant) is the test target, and the one before it is the validation target.
Item vectors are learned from the rest, settings are chosen on validation, the whole catalogue is
ranked without the items that a person has had (unless the log contains repeats), and tied items
count with the expectation over their orders. Each other row changes one thing.

Sampled negatives are drawn one by one, with replacement, from the items that the person has not
had. Their figures are exact expectations, not one draw: of n negatives of which each scores above
the target with probability p, the number above it is binomial.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _log_file import log_of
from _quality_parts import run_of
from _result_file import write
from _tables import protocol
from quality import machine, say
from scipy.sparse.csgraph import connected_components
from scipy.stats import binom

from skue import CooccurrenceItemEmbedder, DecayAverageUserEncoder, Histories, leave_last_out

K = 10
N_NEGATIVES = 100
GRID = [
    {"n_dims": n_dims, "window": window, "decay": decay}
    for n_dims in (128, 256)
    for window in (1, 3, 5, 10)
    for decay in (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
]
SEEN_LEFT_OUT = "items of the history left out, repeats in the test are misses"
# The threshold of ConsRec's scripts/build_graph.sh.
LEAST_SIMILARITY = 0.3
TOLERANCE = 1e-6
BLOCK = 512


class Split(NamedTuple):
    """What is learned from, and (queries, held-out items) of validation and test."""

    train: Histories
    validation: tuple
    test: tuple


def split(histories, by="event"):
    """Hold out the last event or instant, and the one before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # people with too few events
        test = leave_last_out(histories, by=by)
        validation = leave_last_out(test[0], by=by)
    return Split(validation[0], validation, test)


class Places(NamedTuple):
    """Where the held-out item of each person stands among the items not in the history.

    ``above`` items score above it, and ``tied`` ones, itself included, as high. ``share_above`` is
    the share of the others above it, and ``popular_above`` their share of all events. Tied items
    count half in both.
    """

    above: np.ndarray
    tied: np.ndarray
    share_above: np.ndarray
    popular_above: np.ndarray


def places(encoder, X, y, n_events, *, bfloat16=False):
    """Rank the whole catalogue without the history, from all scores at once.

    ``n_events`` has the events of each item. Scores in bfloat16 are tied if they are equal, others
    if they differ by at most one millionth.
    """
    items = encoder.item_embeddings_
    users, seen = encoder.transform(X), items.lookup(X.item_ids)[X.codes]
    targets, found = items.lookup(y), []
    for start in range(0, len(X), BLOCK):
        stop = min(start + BLOCK, len(X))
        rows, target = np.arange(stop - start), targets[start:stop]
        scores = users[start:stop] @ items.vectors.T
        if bfloat16:
            scores = as_bfloat16(scores)
        own = np.where(target < 0, -np.inf, scores[rows, target])[:, None]
        left_out = seen[X.offsets[start] : X.offsets[stop]]
        owners = np.repeat(rows, np.diff(X.offsets[start : stop + 1]))
        scores[owners[left_out >= 0], left_out[left_out >= 0]] = -np.inf
        ranked = np.isfinite(scores)
        tolerance = 0 if bfloat16 else TOLERANCE
        above, reached = scores > own + tolerance, ranked & (scores >= own - tolerance)
        half = (above.astype(np.float32) + reached) / 2
        half[rows, target] = 0
        ranked[rows, target] = False
        found.append(
            (
                above.sum(axis=1),
                np.maximum(reached.sum(axis=1) - above.sum(axis=1), 1),
                half.sum(axis=1) / ranked.sum(axis=1),
                half @ n_events / (ranked @ n_events),
            )
        )
    return Places(*map(np.concatenate, zip(*found, strict=True)))


def as_bfloat16(values):
    """Return float32 values rounded to the 8 significant bits of bfloat16."""
    return ((values.view(np.uint32) + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32)


def hits(above, tied, k=K):
    """Return the expected recall and NDCG at k of each person, over the orders of tied items."""
    discounts = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    first, last = np.minimum(above, k), np.minimum(above + tied, k)
    return (last - first) / tied, (discounts[last] - discounts[first]) / tied


def sampled_hits(share_above, n=N_NEGATIVES, k=K):
    """Return the expected recall and NDCG at k among the target and n sampled items."""
    n_above = np.arange(k)
    chances = binom.pmf(n_above, n, np.asarray(share_above)[:, None])
    return chances.sum(axis=1), chances @ (1 / np.log2(n_above + 2))


def in_largest_component(codes, items, item_ids):
    """Return which events of one person are in the largest component of a graph of their items.

    Two items are joined if their cosine is above the threshold. An item without an edge is in no
    component, as in ConsRec's src/build_graph.py.
    """
    rows = items.lookup(item_ids[codes])
    cosines = items.vectors[rows] @ items.vectors[rows].T
    cosines[rows < 0] = cosines[:, rows < 0] = 0
    component = connected_components(cosines > LEAST_SIMILARITY)[1]
    sizes = np.bincount(component)
    return (component == sizes.argmax()) & (sizes.max() > 1)


def denoised(histories, items, *, keep_unconnected=False):
    """Return the histories with only the events of each person's largest component.

    Where no two items are joined, nothing is kept, or else everything.
    """
    kept = []
    for start, stop in itertools.pairwise(histories.offsets):
        own = in_largest_component(histories.codes[start:stop], items, histories.item_ids)
        kept.append(own | (keep_unconnected and not own.any()))
    return histories._keep_events(np.concatenate(kept))


def keeps_last(histories, cut):
    """Return which people still have their last event in the cut histories, and one before it."""
    cut_last = np.maximum(cut.offsets[1:] - 1, 0)
    same = cut.codes[cut_last] == histories.codes[histories.offsets[1:] - 1]
    return same & (cut.lengths > 1)


class Audit:
    """The rows of one log."""

    def __init__(self, name, histories, grid=GRID):
        self.name, self.histories, self.grid = name, histories, grid
        self.by = "event" if histories.timestamps is None else "instant"
        self.unit = "step" if self.by == "event" else "instant"
        self.split = split(histories, self.by)
        self.exclude_seen = not any(
            np.isin(held_out, row).any()
            for row, held_out in zip(*self.split.validation, strict=True)
        )
        self.rows = []

    def run(self):
        """Return all rows."""
        self.choose()
        self.measure_history()
        if self.by == "event":
            self.measure_negatives_and_ties()
        else:
            self.measure_last_event()
        self.measure_leaks()
        if self.by == "event":
            self.measure_graphs()
        return {
            "log": self.name,
            "by": self.by,
            "exclude_seen": self.exclude_seen,
            "settings": self.settings,
            "n_grid": len(self.grid),
            "rows": self.rows,
        }

    def add(self, name, recall, ndcg, n_people=None):
        row = {"name": name, "R@10": float(np.mean(recall)), "N@10": float(np.mean(ndcg))}
        self.rows.append(row | {"n_people": n_people or len(self.split.test[0])})
        say(f"{self.name}, {name}: {row['R@10']:.4f} / {row['N@10']:.4f}")

    def items(self, histories, settings=None):
        """Learn item vectors."""
        settings = settings or self.settings
        embedder = CooccurrenceItemEmbedder(n_dims=settings["n_dims"], window=settings["window"])
        return embedder.fit(histories).item_embeddings_

    def average(self, items, train, settings=None, **options):
        """Return the fitted average of these item vectors."""
        decay = (settings or self.settings)["decay"]
        return DecayAverageUserEncoder(items, decay=decay, age_unit=self.unit, **options).fit(train)

    def scores(self, encoder, part, exclude_seen=None):
        """Return the recall and NDCG of each person."""
        exclude_seen = self.exclude_seen if exclude_seen is None else exclude_seen
        found = run_of(encoder, *part, K, exclude_seen=exclude_seen)
        return found["R"], found["N"]

    def choose(self):
        """Score the grid on validation and on test."""
        validation, test, train = [], [], self.split.train
        for _, runs in itertools.groupby(self.grid, key=lambda one: (one["n_dims"], one["window"])):
            runs = list(runs)
            items = self.items(train, runs[0])
            for settings in runs:
                encoder = self.average(items, train, settings)
                for figures, part in ((validation, self.split.validation), (test, self.split.test)):
                    figures.append(tuple(map(np.mean, self.scores(encoder, part))))
        best = max(range(len(self.grid)), key=validation.__getitem__)
        self.settings = self.grid[best]
        self.encoder = self.average(self.items(train), train)
        self.add("as everywhere in this documentation", *test[best])
        self.add("the settings that are best on test", *max(test))

    def measure_history(self):
        """The history left out or not, and only its last five events."""
        name = "items of the history not left out" if self.exclude_seen else SEEN_LEFT_OUT
        scores = self.scores(self.encoder, self.split.test, exclude_seen=not self.exclude_seen)
        self.add(name, *scores)
        recent = self.average(self.encoder.item_embeddings_, self.split.train, max_history=5)
        self.add("only the last five events of the history", *self.scores(recent, self.split.test))

    def measure_negatives_and_ties(self):
        """Sampled negatives, and what ties count."""
        items, train = self.encoder.item_embeddings_, self.split.train
        rows = items.lookup(train.item_ids)[train.codes]
        n_events = np.bincount(rows[rows >= 0], minlength=len(items)).astype(np.float32)
        exact = places(self.encoder, *self.split.test, n_events)
        rounded = places(self.encoder, *self.split.test, n_events, bfloat16=True)
        self.add("100 sampled negatives", *sampled_hits(exact.share_above))
        self.add("100 negatives sampled by popularity", *sampled_hits(exact.popular_above))
        self.add("ties count as hits", *hits(exact.above, 1))
        self.add("scores in bfloat16", *hits(rounded.above, rounded.tied))
        self.add("scores in bfloat16, ties count as hits", *hits(rounded.above, 1))

    def measure_last_event(self):
        """The last event of the file in place of the last instant."""
        parts = split(self.histories, "event")
        encoder = self.average(self.items(parts.train), parts.train)
        scores = self.scores(encoder, parts.test)
        self.add("the last event held out, not the last basket", *scores, len(parts.test[0]))

    def measure_leaks(self):
        """Item vectors that know the held-out events."""
        for name, events in (
            ("item vectors learned from the validation event, too", self.split.test[0]),
            ("item vectors that know the test events", self.histories),
        ):
            encoder = self.average(self.items(events), self.split.train)
            self.add(name, *self.scores(encoder, self.split.test))

    def measure_graphs(self):
        """Histories that are cut to the largest component of a graph of each person's items."""
        (X, y), items = self.split.test, self.encoder.item_embeddings_
        query = denoised(X, items, keep_unconnected=True)
        scores = self.scores(self.encoder, (query, y))
        self.add("histories cut by a graph without the test item", *scores)
        cut = denoised(self.histories, items)
        parts = split(cut)
        encoder = self.average(self.items(parts.train), parts.train)
        scores = self.scores(encoder, parts.test)
        self.add("log cut by a graph with the test item in it", *scores, len(parts.test[0]))
        kept = np.flatnonzero(keeps_last(self.histories, cut)[self.histories.lengths > 1])
        scores = self.scores(self.encoder, (X[kept], y[kept]))
        self.add("only people whose test item that graph keeps", *scores, len(kept))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("logs", nargs="*", default=["amazon-beauty.txt", "online-retail.csv.gz"])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    logs = [Audit(Path(name).name.partition(".")[0], log_of(name)).run() for name in arguments.logs]
    result = {**machine(), "logs": logs}
    print(protocol(result))
    if arguments.json:
        write(arguments.json, result)


if __name__ == "__main__":
    main()
