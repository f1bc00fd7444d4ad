"""
Items by their titles in place of co-occurrence
===============================================

By default skue learns the items' vectors from the log: items that appear near one another lie near
one another. An item that is new has no neighbours yet. Its title it has from the first day: TF-IDF
and a truncated SVD turn titles into vectors, and any other model of text would do as well.
"""

# %%
# A small shop: titles are made of a colour, a material and a thing, and each customer likes one
# colour, one material and a few things. One item in five arrives late and is in no training
# history.
import numpy as np

rng = np.random.default_rng(0)
colours = ["red", "blue", "green", "white", "black", "amber", "rose", "grey"]
materials = ["glass", "oak", "wool", "tin", "linen", "steel"]
things = ["lamp", "cup", "bowl", "rug", "clock", "frame", "vase", "tray", "box", "hook", "stool"]
parts = [(c, m, t) for c in colours for m in materials for t in things]
titles = np.array([f"{m} {t}, {c}" for c, m, t in parts])
is_new = rng.random(len(titles)) < 0.2


def draw_customer(n_events):
    colour, material = rng.choice(colours), rng.choice(materials)
    liked = rng.choice(things, size=3, replace=False)
    chances = np.exp(
        [3.0 * (c == colour) + 1.5 * (m == material) + 3.0 * (t in liked) for c, m, t in parts]
    )
    # Newcomers are taken last only: they have to be found without an event to learn from.
    old = np.where(is_new, 0, chances)
    history = rng.choice(titles, size=n_events, p=old / old.sum())
    return [*history, rng.choice(titles, p=chances / chances.sum())]


X_lists = [draw_customer(12) for _ in range(2500)]

# %%
# The space from titles. ``ItemEmbeddings`` brings its rows to unit length; its ids are those of the
# log (here the titles themselves).
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skue import (
    CooccurrenceItemEmbedder,
    DecayAverageUserEncoder,
    Histories,
    ItemEmbeddings,
    RetrievalScores,
    leave_last_out,
)

X, y = leave_last_out(Histories.from_lists(X_lists))
text_model = make_pipeline(TfidfVectorizer(), TruncatedSVD(24, random_state=0))
by_title = ItemEmbeddings(text_model.fit_transform(titles), ids=titles)
by_log = CooccurrenceItemEmbedder(n_dims=24).fit(X).item_embeddings_
print(f"{len(by_title)} items have a title, {len(by_log)} of them are in the training histories")

# %%
# The third space is that of the log, with the newcomers placed in it: a regression from title to
# log vector learns from the items that have both. ``extend`` keeps the name of the space, so user
# vectors and an index made before stay valid.
from sklearn.neighbors import KNeighborsRegressor

place = KNeighborsRegressor(10, weights="distance", metric="cosine")
place.fit(by_title.vectors[by_title.lookup(by_log.ids)], by_log.vectors)
absent = by_log.lookup(titles) < 0
extended = by_log.extend(place.predict(by_title.vectors[absent]), titles[absent])
assert extended.space_id == by_log.space_id
spaces = {"co-occurrence": by_log, "titles": by_title, "log, newcomers by title": extended}

# %%
# Recall@20, for held-out items that the log knows and for newcomers.
newcomers = set(titles[is_new].tolist())
target_is_new = np.array([target in newcomers for target in y.tolist()])
recall = {}
for name, items in spaces.items():
    encoder = DecayAverageUserEncoder(items, decay=0.02).fit(X)
    recall[name] = [
        RetrievalScores(k=(20,))(encoder, X[rows], y[rows])["recall@20"]
        for rows in (~target_is_new, target_is_new)
    ]
    print(f"{name:24} known items {recall[name][0]:.3f}   newcomers {recall[name][1]:.3f}")

# %%
import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
places = np.arange(2)
for offset, (name, values) in zip((-0.27, 0, 0.27), recall.items(), strict=True):
    bars = ax.bar(places + offset, values, width=0.25, label=name)
    ax.bar_label(bars, fmt="%.2f", fontsize="small")
ax.set_xticks(places, ["items in the log", "items new since"])
ax.set(ylabel="Recall@20", ylim=(0, 0.8))
ax.legend(title="item space", ncols=3, fontsize="small")
plt.show()

# %%
# Co-occurrence cannot find what it has never seen. In this shop titles say nearly all about an
# item; in a real one the log knows what titles do not say, and to try each space is one line.
