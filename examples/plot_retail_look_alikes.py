"""
Customers like the best ones
============================

A shop has a list of good customers and looks for more of the same kind.
:meth:`~skue.ProfileUserEncoder.similar_users` finds the nearest users to a seed, or to a whole
list of seeds. How many of them are really of that kind is measured here on seeds whose fellows
are hidden.

This page runs on a real log, Online Retail (D. Chen, S. L. Sain, K. Guo, 2012), in the folder that
the environment variable ``SKUE_DATA`` names. :ref:`How to get it <public-logs>`.
"""

# %%
# The kind to be found: customers whose orders of the next three months are mostly things for
# children. Vectors and seeds come from the months before.
import os
from pathlib import Path

import numpy as np
import pandas as pd

from skue import load_interactions, split_at

folder = Path(os.environ["SKUE_DATA"])
log = load_interactions(folder / "online-retail.csv.gz")
past, future = split_at(log, "2011-09-01")
known = (past.lengths > 1) & (future.lengths > 0)
past, future = past[known], future[known]
titles = pd.read_csv(folder / "online-retail-items.csv", dtype=str).set_index("item_id")["title"]
named = titles.reindex(log.item_ids).fillna("")
for_children = named.str.contains("LUNCH|CHILD|DOLLY|CIRCUS|SPACEBOY|TOY|SKITTLES").to_numpy()
share = np.array(
    [for_children[codes].mean() for codes in np.split(future.codes, future.offsets[1:-1])]
)
wanted = share > np.quantile(share, 0.9)
print(f"{wanted.sum()} of {len(past)} customers")

# %%
# Half of the customers of that kind are the seeds. The others are hidden among everybody else. The
# lift is how much more often they are among the first k than by chance. The rival is the TF-IDF of
# the items with ``TruncatedSVD``.
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize

from skue import ProfileUserEncoder

counts = csr_array((np.ones(len(past.codes)), past.codes, past.offsets)).astype(float)
factors = make_pipeline(TfidfTransformer(sublinear_tf=True), TruncatedSVD(64, random_state=0))
vectors = {
    "profile": ProfileUserEncoder(64).fit_transform(past),
    "SVD of TF-IDF": normalize(factors.fit_transform(counts)),
}
ks = np.arange(10, 501, 10)
rng = np.random.default_rng(0)
lifts = {name: [] for name in vectors}
for _ in range(20):
    seeds = rng.permutation(np.flatnonzero(wanted))[: wanted.sum() // 2]
    others = np.setdiff1d(np.arange(len(past)), seeds)
    for name, rows in vectors.items():
        order = np.argsort(-(rows[others] @ rows[seeds].mean(axis=0)))
        found = np.cumsum(wanted[others][order])[ks - 1] / ks
        lifts[name].append(found / wanted[others].mean())

# %%
import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, curves in lifts.items():
    middle, spread = np.mean(curves, axis=0), np.std(curves, axis=0)
    ax.plot(ks, middle, label=name)
    ax.fill_between(ks, middle - spread, middle + spread, alpha=0.15)
ax.axhline(1, color="0.5", ls=":", label="chance")
ax.set(xlabel="customers chosen (k)", ylabel="lift", xlim=(ks[0], ks[-1]), ylim=(0, None))
ax.legend()
plt.show()

# %%
# Bands are one standard deviation over 20 draws of the seeds. Both kinds of vectors know only who
# bought what, and from 100 customers on their lifts are the same. In production, the call is one
# line. ``together=True`` looks for users like the seeds as a whole, and leaves the seeds out.
encoder = ProfileUserEncoder(64).fit(past)
ids, cosines = encoder.similar_users(past[seeds], past, k=5, together=True)
print(ids[0].tolist(), cosines[0].round(2).tolist())
