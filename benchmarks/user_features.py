"""What user features add, on generated logs where the tastes of people are known.

    python benchmarks/user_features.py                    # three worlds

Items belong to 30 groups with Zipf popularity. Each person has a taste (8 numbers), which gives
the probability of each group, and chooses items by group, then by popularity. User features are
the taste plus noise. Histories have a geometric length. The last event is held out, so some people
have no event. A quarter of the people are not fitted; the figures are theirs.

*Oracle* ranks items by their true probabilities for the person. Recall is recall@20 among all
items, split by the number of events of the person; differences are paired by person, with 95 %
bootstrap intervals.
"""

from __future__ import annotations

import argparse

import numpy as np

from skue import Histories, RecallAtK, TwoTowerUserEncoder, leave_last_out
from skue.compare._comparison import paired_interval
from skue.metrics._evaluation import evaluate

N_USERS, N_ITEMS, N_GROUPS, N_FEATURES = 6000, 1500, 30, 8
NOISES = (0.0, 0.5, 1.0, 2.0)
K = 20
PARTS = (("0 events", 0, 0), ("1-2", 1, 2), ("3-9", 3, 9), ("10 and more", 10, None))


def make_world(seed):
    """Return histories, the tastes, and the true probabilities of items for each person."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(N_GROUPS, size=N_ITEMS)
    tastes = rng.standard_normal((N_USERS, N_FEATURES))
    logits = tastes @ rng.standard_normal((N_FEATURES, N_GROUPS))
    of_group = np.exp(logits - logits.max(axis=1, keepdims=True))
    popularity = rng.permutation(1 / np.arange(1, N_ITEMS + 1) ** 0.7)
    popularity /= np.bincount(groups, popularity, minlength=N_GROUPS)[groups]
    chances = of_group[:, groups] * popularity
    chances /= chances.sum(axis=1, keepdims=True)
    cumulative = chances.cumsum(axis=1)
    lists = [
        np.minimum(own.searchsorted(rng.random(rng.geometric(0.2))), N_ITEMS - 1).tolist()
        for own in cumulative
    ]
    return Histories.from_lists(lists, user_ids=np.arange(N_USERS)), tastes, chances


def oracle_hits(chances, y):
    """Return whether the held-out item is among the K most probable ones."""
    best = np.argsort(-chances, axis=1, kind="stable")[:, :K]
    return (best == y[:, None]).any(axis=1).astype(float)


def measured(seed):
    """Return the recall of each person not fitted, by encoder, and the lengths of prefixes."""
    histories, tastes, chances = make_world(seed)
    X, y = leave_last_out(histories, min_prefix=0)
    is_test = np.arange(N_USERS) >= 3 * N_USERS // 4
    noise = np.random.default_rng(seed + 1).standard_normal(tastes.shape)
    features = {f"features, noise {scale:g}": tastes + scale * noise for scale in NOISES}
    features["features without meaning"] = noise
    found = {"oracle": oracle_hits(chances[is_test], y[is_test])}
    for name, given in {"without features": None, **features}.items():
        batch = X if given is None else X.with_user_features(given)
        encoder = TwoTowerUserEncoder(random_state=seed).fit(batch[~is_test])
        scores = evaluate(encoder, batch[is_test], y[is_test], exclude_seen=False)
        found[name] = RecallAtK(K, normalize="min").per_user(scores)
        if encoder.user_map_ is not None:
            print(f"world {seed}, {name}: count as {encoder.user_map_.n_events:g} events")
    return found, X[is_test].lengths


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", type=int, default=3)
    runs = [measured(seed) for seed in range(parser.parse_args().worlds)]
    lengths = np.concatenate([run[1] for run in runs])
    found = {name: np.concatenate([run[0][name] for run in runs]) for name in runs[0][0]}
    parts = [
        (name, (lengths >= low) & (lengths <= (lengths.max() if high is None else high)))
        for name, low, high in PARTS
    ]
    names = [f"{name} ({part.sum():,} people)" for name, part in parts]
    print("\n| | " + " | ".join(names) + " |\n| --- |" + " ---: |" * len(parts))
    plain = found["without features"]
    for name, recall in found.items():
        cells = []
        for _, part in parts:
            cell = f"{recall[part].mean():.3f}"
            if name.startswith("features"):
                cell += " ({:+.3f} [{:+.3f}, {:+.3f}])".format(
                    *paired_interval(recall[part], plain[part])
                )
            cells.append(cell)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
