"""The night job: learn from the events of the day, and publish a new version.

python examples/server/night_job.py shop 2026-11-30
"""

import json
import os
import sys
from pathlib import Path

import joblib
import pyarrow as pa
import pyarrow.parquet as pq

from skue import (
    CooccurrenceItemEmbedder,
    Histories,
    TwoTowerUserEncoder,
    export_index,
    load_interactions,
    open_index,
    prune,
)


def joined_log(shop, day):
    """Return all events until the end of the day, and save them for the next night.

    Starts from the newest log of an earlier day. So a night that is repeated counts nothing twice,
    and a night that was missed is made up for.
    """
    logs = [path for path in sorted((shop / "log").glob("*.npz")) if path.stem < day][-1:]
    after = logs[0].stem if logs else ""
    events = [p for p in sorted((shop / "events").glob("*.parquet")) if after < p.stem <= day]
    log = Histories.concat([*map(Histories.load, logs), *map(load_interactions, events)])
    log.save(shop / "log" / f"{day}.npz")
    return log


def encoder_in_use(shop):
    """Return the encoder of the current version, to continue from, or a new one."""
    if (shop / "index").exists():
        encoder_id = open_index(shop / "index").encoder_id
        return joblib.load(shop / "encoders" / f"{encoder_id}.joblib")
    embedder = CooccurrenceItemEmbedder(n_dims=32)  # the width of the vectors stays the same
    return TwoTowerUserEncoder(embedder, warm_start=True, random_state=0)


def publish(shop, encoder):
    """Save the encoder, then the index: the server looks for both when ``CURRENT`` changes."""
    joblib.dump(encoder, shop / "encoders" / f"{encoder.encoder_id_}.joblib")
    version = export_index(encoder, shop / "index")
    prune(shop / "index", keep=2)
    manifests = (shop / "index" / "versions").glob("*/manifest.json")
    kept = {json.loads(path.read_text())["encoder_id"] for path in manifests}
    for path in (shop / "encoders").glob("*.joblib"):
        if path.stem not in kept:
            path.unlink()
    return version


def write_vectors(encoder, log, path):
    """Write the vectors of all users to Parquet, chunk by chunk, and put the file in place."""
    n_dims = len(encoder.fallback_vector_)
    columns = [
        ("user", pa.array(log.user_ids[:1]).type),
        ("vector", pa.list_(pa.float32(), n_dims)),
    ]
    spaces = {"space_id": encoder.space_id_, "encoder_id": encoder.encoder_id_}
    schema = pa.schema(columns, metadata=spaces)
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, schema) as file:
        for rows, vectors in encoder.iter_transform(log):
            users = pa.array(log.user_ids[rows])
            vectors = pa.FixedSizeListArray.from_arrays(vectors.ravel(), n_dims)
            file.write_table(pa.table([users, vectors], schema))
    os.replace(partial, path)


def main(shop, day):
    shop = Path(shop)
    for name in ("log", "encoders"):
        (shop / name).mkdir(exist_ok=True)
    log = joined_log(shop, day)
    encoder = encoder_in_use(shop).fit(log)
    version = publish(shop, encoder)
    write_vectors(encoder, log, shop / "vectors.parquet")
    print(f"{day}: {log}, version {version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
