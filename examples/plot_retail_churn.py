"""
Which customers will not come back?
===================================

A shop wants to know who will order nothing in the next 90 days. What each customer did becomes
columns of a table: named numbers from :class:`~skue.HistoryStatistics`, and a vector of what they
buy from :class:`~skue.ProfileUserEncoder`. The rest is a pipeline of scikit-learn.

This page runs on a real log, Online Retail (D. Chen, S. L. Sain, K. Guo, 2012), in the folder that
the environment variable ``SKUE_DATA`` names. :ref:`How to get it <public-logs>`.
"""

# %%
# Cut the log before the labels
# -----------------------------
# :func:`~skue.split_at` puts everything until a cut-off into the past, and the 90 days after it
# into the future. Both have the same customers in the same rows, so a label is one line. Whatever
# is learned or described comes from the past alone.
import os
from pathlib import Path

import numpy as np

from skue import load_interactions, split_at

log = load_interactions(Path(os.environ["SKUE_DATA"]) / "online-retail.csv.gz", weight="quantity")
cutoff = log.timestamps.max() - np.timedelta64(90, "D")
past, future = split_at(log, cutoff)
known = past.lengths > 0  # the others are not customers yet
past, future = past[known], future[known]
churned = future.lengths == 0
print(f"{len(past)} customers, {churned.mean():.0%} of them order nothing in the next 90 days")

# %%
# Two blocks of columns
# ---------------------
# The statistics have long tails, so they become quantiles. **The vectors are used as they are**:
# all their columns have one scale. ``StandardScaler`` would make the least important directions,
# which are mostly noise, as large as the most important ones.
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import QuantileTransformer

from skue import HistoryStatistics, ProfileUserEncoder

statistics = make_pipeline(
    HistoryStatistics(now=cutoff),
    QuantileTransformer(n_quantiles=500, output_distribution="normal"),
)
profile = ProfileUserEncoder(n_dims=32)
columns = {
    "statistics": FeatureUnion([("statistics", statistics)]),
    "profile": FeatureUnion([("profile", profile)]),
    "both": FeatureUnion([("statistics", statistics), ("profile", profile)]),
}
models = {
    name: make_pipeline(union, LogisticRegression(max_iter=2000)) for name, union in columns.items()
}

# %%
# Choose with labels of the training customers only
# -------------------------------------------------
# A grid search chooses the width of the vectors and the regularisation together. In each fold, the
# encoder learns its item vectors from the training customers of the fold.
from sklearn.model_selection import GridSearchCV, train_test_split

train, test, y_train, y_test = train_test_split(
    np.arange(len(past)), churned, test_size=0.4, stratify=churned, random_state=0
)
strengths = {"logisticregression__C": [0.01, 0.1, 1.0]}
grids = {
    "statistics": strengths,
    "profile": strengths,
    "both": strengths | {"featureunion__profile__n_dims": [16, 64]},
}
searches = {
    name: GridSearchCV(model, grids[name], scoring="roc_auc", cv=3).fit(past[train], y_train)
    for name, model in models.items()
}
for name, search in searches.items():
    print(f"{name:<11} AUC {search.best_score_:.3f} in the folds, {search.best_params_}")

# %%
# How well the others are predicted
# ---------------------------------
import matplotlib.pyplot as plt
from sklearn.metrics import RocCurveDisplay

_, ax = plt.subplots(figsize=(5, 5), layout="constrained")
for name, search in searches.items():
    RocCurveDisplay.from_estimator(search, past[test], y_test, name=name, ax=ax)
ax.plot([0, 1], [0, 1], color="0.5", ls=":")
plt.show()

# %%
# How lately and how often somebody ordered tells most of churn, and what they order adds a little.
# :ref:`The table of the user guide <labels-of-people>` has other questions, for which the vectors
# tell more than the statistics.
#
# The same can be measured for your own labels, with more contenders and intervals, by ``python -m
# skue compare log.csv --target labels.csv``.
