"""A process that switched on scikit-learn's array API dispatch still splits histories."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("scipy", minversion="1.14")  # what the dispatch needs

SCRIPT = """
import numpy as np, sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import shuffle
from skue import *

rng = np.random.default_rng(0)
kind = rng.integers(0, 2, 60)
histories = Histories.from_lists(
    [rng.integers(0, 10, 5) + 10 * k for k in kind], user_ids=[f"u{n}" for n in range(60)]
)
X, y = leave_last_out(histories)
encoder = DecayAverageUserEncoder(ItemEmbeddings(rng.normal(size=(20, 8))))
classifier = make_pipeline(encoder, LogisticRegression())

def results():
    search = GridSearchCV(encoder, {"decay": [0, 0.1]}, scoring=RecallAtK(5), cv=3).fit(X, y)
    parts = train_test_split(histories, kind, random_state=0, stratify=kind)
    return [
        search.best_score_,
        cross_val_score(classifier, histories, kind, cv=3),
        parts[0].user_ids.tolist(),
        shuffle(histories, random_state=0).user_ids.tolist(),
    ]

plain = results()
sklearn.set_config(array_api_dispatch=True)
for expected, found in zip(plain, results(), strict=True):
    np.testing.assert_array_equal(found, expected)
print("same")
"""


def test_splits_and_searches_are_the_same_with_array_api_dispatch():
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "same", done.stderr
