"""The parts of benchmarks/profiles.py, against scikit-learn."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

profiles = pytest.importorskip("profiles")

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n_columns", [6, 60], ids=["narrow", "wide"])
def test_ridge_scores_are_those_of_the_penalty_with_the_least_leave_one_out_error(
    n_columns, monkeypatch
):
    monkeypatch.setattr(profiles, "PENALTIES", profiles.PENALTIES[::5])
    X = RNG.normal(size=(50, n_columns))
    y = X[:, 0] + RNG.normal(size=50)
    train, test = np.arange(40), np.arange(40, 50)
    found = profiles.ridge_scores(X, y[:, None], train, test)[:, 0]
    trace = ((X[train] - X[train].mean(axis=0)) ** 2).sum()
    models = [Ridge(alpha=penalty * trace) for penalty in profiles.PENALTIES]
    errors = [
        ((cross_val_predict(model, X[train], y[train], cv=LeaveOneOut()) - y[train]) ** 2).mean()
        for model in models
    ]
    best = models[int(np.argmin(errors))].fit(X[train], y[train])
    assert np.ptp(errors) > 0.01
    np.testing.assert_allclose(found, best.predict(X[test]), atol=1e-6)


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    scores, classes = RNG.integers(5, size=40).astype(float), RNG.integers(2, size=40)
    assert profiles.auc(scores, classes) == pytest.approx(roc_auc_score(classes, scores))
