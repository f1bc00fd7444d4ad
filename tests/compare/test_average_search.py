"""The search for the decay."""

import numpy as np
import pytest

from skue import Histories, ItemEmbeddings
from skue.compare._search import Search, search_decay
from skue.compare._split import split_log


def test_the_decay_with_the_best_recall_is_found_and_progress_is_reported():
    # The held-out item is the newest one, after another item 1 to 3 times. The newest item is the
    # nearest for decays above 0, 0.48 and 0.61: where exp(-d) + exp(-2 d) + ... is below 1.
    lists = [
        [n, *[n] * extra, 9 - n, 9 - n, 9 - n] for extra in range(3) for n in range(4)
    ]  # fmt: skip
    items = ItemEmbeddings(np.eye(10), ids=range(10))
    reported = []
    result = search_decay(
        split_log(Histories.from_lists(lists), "last"),
        items,
        k=1,
        exclude_seen=False,
        on_trial=lambda *done: reported.append(done),
    )
    recalls = {t["decay"]: t["recall"] for t in result.trials if t["repeat_exponent"] == 1}
    expected = {0.0: 1 / 6, 0.3: 1 / 3, 0.5: 2 / 3, 1.0: 1.0, 8.0: 1.0}
    assert {decay: recalls[decay] for decay in expected} == pytest.approx(expected)
    assert result.found == {"age_unit": "step", "decay": 1.0, "repeat_exponent": 1.0}
    assert reported == [(n, len(result.trials)) for n in range(len(result.trials))]


def test_without_a_history_that_is_long_enough_the_default_is_used():
    split = split_log(Histories.from_lists([[1, 2], [2, 3]]), "last")
    items = ItemEmbeddings(np.eye(4), ids=range(4))
    result = search_decay(split, items, k=1, exclude_seen=False)
    assert result == Search({"age_unit": "step", "decay": 0.07, "repeat_exponent": 1.0}, [])
