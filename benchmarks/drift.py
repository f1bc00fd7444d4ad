"""How far the people of a shop move in four weeks: ``skue.drift`` between periods of a log.

    python benchmarks/drift.py                            # online-retail.csv.gz from SKUE_DATA

Each period is compared with the four weeks before it. The encoder is the default average, fitted on
all events before both. The refitted one also knows the four weeks before the period.
"""

from __future__ import annotations

import argparse

import numpy as np
from _log_file import log_path

from skue import DecayAverageUserEncoder, drift, load_interactions, split_at

STARTS = ("2011-03-07", "2011-05-02", "2011-06-27", "2011-08-22", "2011-10-17")
HORIZON = np.timedelta64(28, "D")


def measures_of(histories, start):
    _, before_and_later = split_at(histories, start - HORIZON, horizon=2 * HORIZON)
    before, after = split_at(before_and_later, start)
    encoder, refitted = (
        DecayAverageUserEncoder().fit(split_at(histories, end)[0])
        for end in (start - HORIZON, start)
    )
    return drift(before, after, encoder, refitted=refitted)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", default="online-retail.csv.gz")
    histories = load_interactions(log_path(parser.parse_args().log))
    columns = [measures_of(histories, np.datetime64(start)) for start in STARTS]
    print(f"| four weeks from | {' | '.join(STARTS)} |\n| --- |{' ---: |' * len(STARTS)}")
    for name in columns[0]:
        print(f"| `{name}` | {' | '.join(f'{column[name]:.2f}' for column in columns)} |")


if __name__ == "__main__":
    main()
