"""With scikit-learn's array API dispatch, histories are still split."""

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from skue import DecayAverageUserEncoder, Histories, ItemEmbeddings

pytest.importorskip("scipy", minversion="1.14")  # what the dispatch needs


def test_splits_are_the_same_with_array_api_dispatch(monkeypatch):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 60)
    histories = Histories.from_lists([rng.integers(0, 10, 5) + 10 * k for k in kind])
    encoder = DecayAverageUserEncoder(ItemEmbeddings(rng.normal(size=(20, 8))))
    classifier = make_pipeline(encoder, LogisticRegression())
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # scikit-learn asks for it
    found = []
    for dispatch in (False, True):
        with sklearn.config_context(array_api_dispatch=dispatch):
            part = train_test_split(histories, kind, random_state=0, stratify=kind)[0]
            found.append(cross_val_score(classifier, histories, kind, cv=3).tolist())
            found.append([row.tolist() for row in part])
    assert found[:2] == found[2:]
