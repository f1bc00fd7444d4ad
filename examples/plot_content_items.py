"""
Item vectors from titles
========================

By default, skue learns item vectors from the log: items that appear near each other in histories
get similar vectors. A new item has no history yet, but it has a title. Here, TF-IDF and a
truncated SVD turn titles into vectors. Any other text model works as well.
"""

# %%
# The data are from a small generated shop. A title consists of a colour, a material and a thing.
# Each customer likes one colour, one material and a few things. One item in five is new and is in
# no training history.
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
    # New items are only taken last, so the training histories do not contain them.
    old = np.where(is_new, 0, chances)
    history = rng.choice(titles, size=n_events, p=old / old.sum())
    return [*history, rng.choice(titles, p=chances / chances.sum())]


X_lists = [draw_customer(12) for _ in range(2500)]

# %%
# The first space is learned from the log, the second from the titles. ``ItemEmbeddings``
# normalizes its rows to unit length. Its ids are those of the log (here, the titles).
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
# The third space is that of the log, extended by the new items. A regression from title vectors
# to log vectors is fitted on the items that have both. ``extend`` keeps the space id, so existing
# user vectors and indexes stay valid.
from sklearn.neighbors import KNeighborsRegressor

place = KNeighborsRegressor(10, weights="distance", metric="cosine")
place.fit(by_title.vectors[by_title.lookup(by_log.ids)], by_log.vectors)
absent = by_log.lookup(titles) < 0
extended = by_log.extend(place.predict(by_title.vectors[absent]), titles[absent])
assert extended.space_id == by_log.space_id
spaces = {"co-occurrence": by_log, "titles": by_title, "log, new items by title": extended}

# %%
# Compare recall@20 for held-out items that are in the log and for new items.
newcomers = set(titles[is_new].tolist())
target_is_new = np.array([target in newcomers for target in y.tolist()])
recall = {}
for name, items in spaces.items():
    encoder = DecayAverageUserEncoder(items, decay=0.02).fit(X)
    recall[name] = [
        RetrievalScores(k=(20,))(encoder, X[rows], y[rows])["recall@20"]
        for rows in (~target_is_new, target_is_new)
    ]
    print(f"{name:24} known items {recall[name][0]:.3f}   new items {recall[name][1]:.3f}")

# %%
import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
places = np.arange(2)
for offset, (name, values) in zip((-0.27, 0, 0.27), recall.items(), strict=True):
    bars = ax.bar(places + offset, values, width=0.25, label=name)
    ax.bar_label(bars, fmt="%.2f", fontsize="small")
ax.set_xticks(places, ["items in the log", "new items"])
ax.set(ylabel="Recall@20", ylim=(0, 0.8))
ax.legend(title="item space", ncols=3, fontsize="small")
plt.show()

# %%
# Co-occurrence cannot find items that are not in the log. With the new items in its space, known
# items are found less often, because new ones take some of the twenty places. In this shop, titles
# say nearly everything about an item. In a real shop, the log contains information that titles do
# not. Try each space: it takes one line.
