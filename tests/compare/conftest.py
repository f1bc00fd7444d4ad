"""A comparison of a small log, made once."""

import numpy as np
import pytest

from skue import Histories
from skue.compare._command import _about
from skue.compare._progress import Progress
from skue.compare._run import compare
from skue.compare._split import split_log
from skue.kernels import _pooling

N_ITEMS = 12


@pytest.fixture(scope="session")
def small():
    rng = np.random.default_rng(0)
    lists = [list(rng.integers(N_ITEMS, size=8)) for _ in range(40)]
    times = [np.datetime64("2026-01-01") + np.arange(8) // 2 for _ in range(40)]
    users = [f"u{user}" for user in range(40)]
    histories = Histories.from_lists(lists, timestamps=times, user_ids=users)
    return compare(
        split_log(histories, "last"),
        None,
        None,
        about=_about("log.csv", histories, ["compare", "log.csv"]),
        seen="auto",
        progress=Progress(None),
    )


@pytest.fixture(scope="module", autouse=True)
def without_compilation():
    """Pool without numba, which compiles for seconds for every new number of dimensions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pooling, "_compiled", lambda: None)
        yield
