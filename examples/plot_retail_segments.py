"""
A map of a shop's customers
===========================

Segments are groups of customers who buy alike. ``KMeans`` finds them among user vectors, and the
items that set each group apart from the others give it a name.

This page runs on a real log, Online Retail (D. Chen, S. L. Sain, K. Guo, 2012), in the folder that
the environment variable ``SKUE_DATA`` names. :ref:`How to get it <public-logs>`.
"""

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

from skue import ProfileUserEncoder, load_interactions

folder = Path(os.environ["SKUE_DATA"])
log = load_interactions(folder / "online-retail.csv.gz")
log = log[log.lengths >= 10]
encoder = ProfileUserEncoder(64).fit(log)
vectors = encoder.transform(log)
groups = KMeans(8, n_init=10, random_state=0).fit_predict(vectors)

# %%
# What sets a group apart
# -----------------------
# For each item, the share of the group's customers who buy it is compared with the share of the
# others. The score is the log ratio of the two, each with one more buyer and one more who does not
# buy it, so that an item that two people bought does not come first. The most telling items must
# be bought by a tenth of the group.
titles = pd.read_csv(folder / "online-retail-items.csv", dtype=str).set_index("item_id")["title"]
users = np.repeat(np.arange(len(log)), log.lengths)
bought = np.zeros((len(log), len(log.item_ids)), dtype=bool)
bought[users, log.codes] = True
names = []
for group in range(8):
    inside = groups == group
    of_group = (bought[inside].sum(axis=0) + 1) / (inside.sum() + 2)
    of_others = (bought[~inside].sum(axis=0) + 1) / ((~inside).sum() + 2)
    score = np.where(of_group >= 0.1, np.log(of_group / of_others), -np.inf)
    best = titles.reindex(log.item_ids[np.argsort(-score)[:4]]).str.capitalize()
    names.append(best.iloc[0])
    print(f"{inside.sum():4d} customers: {', '.join(best)}")

# %%
# The map
# -------
# ``TSNE`` lays the vectors out on a sheet, so that customers who are alike are near each other.
from textwrap import fill

import matplotlib.pyplot as plt
from sklearn.manifold import TSNE

places = TSNE(metric="cosine", init="pca", random_state=0).fit_transform(vectors)
_, ax = plt.subplots(figsize=(9, 8), layout="constrained")
for group, name in enumerate(names):
    x, y = places[groups == group].T
    ax.scatter(x, y, s=5, color=f"C{group}", linewidths=0)
    ax.annotate(
        fill(name, 16),
        (np.median(x), np.median(y)),
        ha="center",
        va="center",
        fontsize=8,
        bbox={"boxstyle": "round", "fc": "white", "ec": f"C{group}", "alpha": 0.85},
    )
ax.set(xticks=[], yticks=[])
ax.set_frame_on(False)
plt.show()

# %%
# The groups are a summary, not a fact: people lie between them, too. Before a segment is used,
# look at whether it comes back when the shop is fitted again on other customers, and whether it
# tells more about what matters than the vectors themselves do.
