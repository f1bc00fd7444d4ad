"""Make a shop to try the night job and the server on: two days of events of generated users.

python examples/server/make_shop.py shop
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from skue.datasets import make_user_histories

DAYS = ("2026-11-29", "2026-11-30")


def main(shop, n_users=1000, n_items=500):
    """Write the events of each day to Parquet, and all to the database that the server asks."""
    shop = Path(shop)
    (shop / "events").mkdir(parents=True)
    histories = make_user_histories(int(n_users), n_events=20, n_items=int(n_items)).histories
    log = histories.to_frame()
    # The last three events of each user are of the second day.
    n_back = log.groupby("user").cumcount(ascending=False)
    start = np.where(n_back < 3, np.datetime64(DAYS[1]), np.datetime64(DAYS[0]))
    log = pd.DataFrame(
        {
            "user": "u" + log["user"].astype(str),
            "item": "i" + log["item"].astype(str),
            "time": start + (1000 - n_back).to_numpy() * np.timedelta64(60, "s"),
        }
    )
    for day, events in log.groupby(log["time"].dt.date.astype(str)):
        events.to_parquet(shop / "events" / f"{day}.parquet", index=False)
    with closing(sqlite3.connect(shop / "shop.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
        times = log["time"].dt.strftime("%Y-%m-%dT%H:%M:%S")
        log.assign(time=times).to_sql("events", database, index=False)
        database.execute("CREATE INDEX events_of_user ON events (user)")
        database.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
