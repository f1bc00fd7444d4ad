"""A comparison of a small log, made once."""

import numpy as np
import pytest

from skue import Histories
from skue.compare._about import about
from skue.compare._progress import Progress
from skue.compare._run import compare
from skue.compare._task import make_task

N_ITEMS = 12


def small_histories(n_users=40, seed=0):
    rng = np.random.default_rng(seed)
    lists = [list(rng.integers(N_ITEMS, size=8)) for _ in range(n_users)]
    times = [np.datetime64("2026-01-01") + np.arange(8) // 2 for _ in range(n_users)]
    return Histories.from_lists(lists, timestamps=times)


def compare_quietly(histories, *, seen="auto", split="last", ks=None, log="log.csv"):
    return compare(
        make_task(histories, split),
        None,
        ks,
        about=about(log, histories, ["compare", log]),
        seen=seen,
        progress=Progress(None),
    )


@pytest.fixture(scope="session")
def small():
    return compare_quietly(small_histories())
