"""What item features add: for known items, and for items without an event.

    python benchmarks/features.py                        # all parts, three seeds, test split
    python benchmarks/features.py --only beauty new --seeds 1 --split validation
    python benchmarks/features.py --log LOG.txt --attributes ATTRIBUTES.json
    python benchmarks/features.py --only beauty --json FILE    # write the figures, too

reads amazon-beauty.txt, beauty-attributes.json (item to list of attribute numbers),
online-retail.csv.gz and online-retail-items.csv (item_id, title) from the folder SKUE_DATA, and
prints one line of JSON for each figure. The file has the same lines as a list.

The protocol is that of quality.py: everything is learned without the validation and the test event,
the whole catalogue is ranked without the items that the user has (unless the log contains repeats),
and differences are paired by user, over the means of all seeds.

- ``beauty``: the two-tower with and without features, and the time of both fits.
- ``new``: 10 % of the items are taken out of all training histories. The queries are unchanged.
  The content-only vector is the decayed mean of the feature vectors of the history.
- ``retail``: the two-tower with and without the TF-IDF of titles.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from _result_file import write
from quality import machine
from sklearn.feature_extraction.text import TfidfVectorizer

from skue import (
    DecayAverageUserEncoder,
    ItemEmbeddings,
    ItemFeatures,
    NDCGAtK,
    RecallAtK,
    TwoTowerUserEncoder,
    leave_last_out,
    load_interactions,
)
from skue.compare._comparison import paired_interval
from skue.items._item_features import scale_of
from skue.metrics._evaluation import evaluate

CONTENT_DECAYS = (0.0, 0.1, 0.3)

said = []


class Log:
    """A log split as in quality.py, and what is known of its items."""

    def __init__(self, path, features, split):
        histories = load_interactions(path)
        by = "event" if histories.timestamps is None else "instant"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test = leave_last_out(histories, by=by)
            validation = leave_last_out(test[0], by=by)
        self.train, self.features = validation[0], features
        self.queries, self.held_out = test if split == "test" else validation
        seen = evaluate(DecayAverageUserEncoder().fit(self.train), *validation)
        self.exclude_seen = not seen.repeated.any()

    def without(self, ids):
        """Return the training histories without these items."""
        gone = np.isin(self.train.item_ids, ids)
        return self.train._keep_events(~gone[self.train.codes])

    def scores(self, encoder, k):
        """Return the recall and NDCG at k of each user."""
        found = evaluate(encoder, self.queries, self.held_out, exclude_seen=self.exclude_seen)
        return RecallAtK(k, normalize="min").per_user(found), NDCGAtK(k).per_user(found)

    def fitted(self, histories, seeds, ks, **parameters):
        """Fit a two-tower for each seed. Return mean scores of users, those of seeds, seconds."""
        runs, seconds = [], []
        for seed in range(seeds):
            started = time.perf_counter()
            encoder = TwoTowerUserEncoder(random_state=seed, **parameters).fit(histories)
            seconds.append(time.perf_counter() - started)
            runs.append([score for k in ks for score in self.scores(encoder, k)])
        by_seed = [[float(run[i].mean()) for run in runs] for i in range(2 * len(ks))]
        return np.mean(runs, axis=0), by_seed, float(np.median(seconds))


def attributes_of(path, item_ids):
    """Return indicators from a JSON file: item to list of attribute numbers."""
    held = json.loads(Path(path).read_text())
    ids = list(held) if item_ids.dtype == object else [int(item) for item in held]
    rows = np.repeat(np.arange(len(ids)), [len(values) for values in held.values()])
    _, columns = np.unique(np.concatenate(list(held.values())), return_inverse=True)
    return ItemFeatures(sp.csr_array((np.ones(len(rows)), (rows, columns))), ids)


def titles_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        titles = {row["item_id"]: row["title"] or "" for row in csv.DictReader(file)}
    return ItemFeatures(TfidfVectorizer(min_df=2).fit_transform(titles.values()), list(titles))


def say(**figures):
    said.append(figures)
    print(json.dumps(figures), flush=True)


def known_items(name, log, seeds, k):
    """Print the figures with and without features."""
    found = {}
    for part, features in (("without", None), ("with", log.features)):
        users, by_seed, seconds = log.fitted(log.train, seeds, [k], item_features=features)
        found[part] = users, seconds
        say(
            log=name,
            features=part,
            k=k,
            recall=float(np.median(by_seed[0])),
            ndcg=float(np.median(by_seed[1])),
            by_seed={"recall": by_seed[0], "ndcg": by_seed[1]},
            seconds=seconds,
        )
    for place, metric in enumerate(("recall", "ndcg")):
        difference = paired_interval(found["with"][0][place], found["without"][0][place])
        say(log=name, metric=f"{metric}@{k}", with_less_without=difference)
    say(log=name, time_with_by_without=found["with"][1] / found["without"][1])


def new_items(name, log, seeds, k):
    """Print the figures of items that no training history has."""
    ids = log.features.ids
    gone = np.random.default_rng(0).choice(ids, len(ids) // 10, replace=False)
    sought = np.array([np.isin(np.atleast_1d(y), gone).all() for y in log.held_out])
    histories = log.without(gone)
    users = {}
    for part, train, features in (
        ("without features", histories, None),
        ("with features", histories, log.features),
        ("trained on them", log.train, log.features),
    ):
        users[part] = log.fitted(train, seeds, [10, k], item_features=features)[0]
    scale = scale_of(log.features)
    rows = scale.rows(log.features.values)
    rows = rows.toarray() if sp.issparse(rows) else rows
    has_features = rows.any(axis=1)
    content = ItemEmbeddings(rows[has_features], ids[has_features])
    for decay in CONTENT_DECAYS:
        average = DecayAverageUserEncoder(content, decay=decay).fit(histories)
        users[f"content, decay {decay}"] = [
            score for each in (10, k) for score in log.scores(average, each)
        ]
    for part, scores in users.items():
        say(
            log=name,
            encoder=part,
            n_sought=int(sought.sum()),
            **{f"new_recall@{k}": float(scores[2][sought].mean())},
            **{f"known_recall@{k}": float(scores[2][~sought].mean())},
            **{"known_recall@10": float(scores[0][~sought].mean())},
        )
    best = max(
        (part for part in users if part.startswith("content")),
        key=lambda part: users[part][2][sought].mean(),
    )
    ours = users["with features"]
    say(log=name, new_less_content=paired_interval(ours[2][sought], users[best][2][sought]))
    for at, each in ((0, 10), (2, k)):
        without = users["without features"][at][~sought]
        say(log=name, known_less_without=paired_interval(ours[at][~sought], without), k=each)
    share = ours[2][sought].mean() / users["trained on them"][2][sought].mean()
    say(log=name, new_by_trained_on=float(share))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["beauty", "new", "retail"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--log", help="another log, in place of amazon-beauty.txt")
    parser.add_argument("--attributes", help="the attributes of its items")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    folder = Path(os.environ.get("SKUE_DATA", "."))
    path = Path(options.log or folder / "amazon-beauty.txt")
    if {"beauty", "new"} & set(options.only):
        ids = load_interactions(path).item_ids
        attributes = attributes_of(options.attributes or folder / "beauty-attributes.json", ids)
        log = Log(path, attributes, options.split)
        if "beauty" in options.only:
            known_items(path.stem, log, options.seeds, 10)
        if "new" in options.only:
            new_items(path.stem, log, options.seeds, 50)
    if "retail" in options.only and options.log is None:
        titles = titles_of(folder / "online-retail-items.csv")
        log = Log(folder / "online-retail.csv.gz", titles, options.split)
        known_items("online-retail", log, options.seeds, 20)
    if options.json:
        about = {"log": path.name, "split": options.split, "seeds": options.seeds}
        write(options.json, {**about, **machine(), "figures": said})


if __name__ == "__main__":
    main()
