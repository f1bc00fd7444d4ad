"""Show what is recommended to three people of a real shop, beside what they bought then.

    python benchmarks/people.py --json benchmarks/people.json

The log is online-retail.csv.gz in the folder SKUE_DATA, with titles in online-retail-items.csv. A
two-stage recommender learns from everything but each person's last invoice. The three are drawn at
random, by the seed 0, from those with 5 to 30 purchases before the last invoice, for which
at least one item is found; how many that is stands in the file, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas
from _log_file import log_path
from _result_file import write

from skue import TwoStageRecommender, leave_last_out, load_interactions

K, N_PEOPLE, N_SHOWN = 10, 3, 4
FEWEST, MOST = 5, 30


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="file to write what is shown to")
    arguments = parser.parse_args()
    titles = pandas.read_csv(log_path("online-retail-items.csv"), dtype=str)
    titles = titles.set_index("item_id")["title"]
    X, y = leave_last_out(load_interactions(log_path("online-retail.csv.gz")), by="instant")
    model = TwoStageRecommender(random_state=0).fit(X)
    some = np.flatnonzero((X.lengths >= FEWEST) & (X.lengths <= MOST))
    found, _ = model.recommend(X[some], k=K)
    bought = [np.atleast_1d(y[row]) for row in some]
    hits = [np.isin(own, later) for own, later in zip(found, bought, strict=True)]
    are_found = np.flatnonzero([own.any() for own in hits])
    chosen = np.random.default_rng(0).choice(are_found, N_PEOPLE, replace=False)

    def titles_of(items):
        return [titles[item].strip().capitalize() for item in items]

    people = []
    for at in chosen.tolist():
        history = X[some[at : at + 1]]
        newest = history.item_ids[history.codes[-N_SHOWN:]]
        shown = zip(titles_of(found[at]), hits[at].tolist(), strict=True)
        people.append(
            {
                "newest": titles_of(newest[::-1]),
                "recommended": [{"title": title, "bought": hit} for title, hit in shown],
                "n_bought": len(bought[at]),
            }
        )
    result = {
        "log": "online-retail",
        "k": K,
        "n_people": len(some),
        "share_found": len(are_found) / len(some),
        "people": people,
    }
    for person in people:
        print(person)
    print(f"at least one of {K} is bought next by {result['share_found']:.0%} of {len(some)}")
    if arguments.json:
        write(arguments.json, result)


if __name__ == "__main__":
    main()
