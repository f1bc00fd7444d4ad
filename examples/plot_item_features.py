"""
Titles of a shop: new items on their first day
==============================================

Nobody has bought a new item yet, so a log cannot say where it belongs. Its title, brand and price
can. Here, scikit-learn's own transformers turn a table of items into
:class:`~skue.ItemFeatures`, and an encoder that knows them finds new items, at once and without
fitting again.
"""

# %%
# A generated shop: a title consists of a colour and a thing, and there are brands and prices. Each
# customer likes one colour, one brand and a few things. One item in eight is new: no training
# history has it.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skue import (
    Histories,
    ItemFeatures,
    RetrievalScores,
    TwoTowerUserEncoder,
    leave_last_out,
)

rng = np.random.default_rng(0)
colours = ["red", "blue", "green", "white", "black", "amber"]
things = ["lamp", "cup", "bowl", "rug", "clock", "frame", "vase", "tray", "box", "hook"]
brands = ["Aster", "Birk", "Corva", "Dune"]
items = pd.DataFrame(
    [(f"{c} {t}", c, t, b) for c in colours for t in things for b in brands],
    columns=["title", "colour", "thing", "brand"],
    index=[f"item-{number:03}" for number in range(240)],
)
items["price"] = rng.lognormal(3, 0.5, size=len(items)).round(2)
is_new = rng.random(len(items)) < 1 / 8


def draw_customer(n_events):
    chances = 4.0 * (items.colour == rng.choice(colours)) + 2.0 * (
        items.brand == rng.choice(brands)
    )
    chances += 3.0 * items.thing.isin(rng.choice(things, size=3, replace=False))
    chances = np.exp(chances.to_numpy())
    old = np.where(is_new, 0, chances)
    history = rng.choice(items.index, size=n_events, p=old / old.sum())
    return [*history, rng.choice(items.index, p=chances / chances.sum())]


X, y = leave_last_out(Histories.from_lists([draw_customer(9) for _ in range(1500)]))

# %%
# Text, categories and numbers each have a transformer of scikit-learn. The result may be sparse.
# Any model that gives an array, such as an encoder of pictures, fits in the same way.

table = ColumnTransformer(
    [
        ("title", TfidfVectorizer(), "title"),
        ("brand", OneHotEncoder(), ["brand"]),
        ("price", StandardScaler(), ["price"]),
    ]
)
features = ItemFeatures(table.fit_transform(items), ids=items.index)
print(features)

# %%
# With ``item_features``, all items of the table are in the catalogue. The scores are split into
# held-out items that the log knows and new ones.

scores = {}
for name, known in {"log alone": None, "log and features": features}.items():
    encoder = TwoTowerUserEncoder(item_features=known, max_iter=3, random_state=0).fit(X)
    scores[name] = RetrievalScores(k=(20,), breakdown=True)(encoder, X, y)
    parts = {part: scores[name][f"recall@20_{part}"] for part in ("known", "new")}
    print(name, {part: round(value, 3) for part, value in parts.items()})

# %%
# The next morning, three more items come in. The same fitted transformers encode them, and
# ``embed_items`` gives their vectors in the fitted space. The user vectors do not change.

later = pd.DataFrame(
    {"title": ["red lamp", "red cup", "blue rug"], "brand": "Aster", "price": 20.0},
    index=["item-900", "item-901", "item-902"],
)
new = encoder.embed_items(ItemFeatures(table.transform(later), ids=later.index))
catalogue = encoder.item_embeddings_.extend(new.vectors, new.ids)
assert catalogue.space_id == encoder.space_id_
similar, _ = catalogue.similar_items(["item-900"], k=3)
print(pd.concat([items, later]).title[similar[0]].tolist())

# %%

_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for offset, (name, values) in zip((-0.2, 0.2), scores.items(), strict=True):
    heights = [values["recall@20_known"], values["recall@20_new"]]
    bars = ax.bar(np.arange(2) + offset, heights, width=0.38, label=name)
    ax.bar_label(bars, fmt="%.2f", fontsize="small")
ax.set_xticks(range(2), ["items in the log", "new items"])
ax.set(ylabel="Recall@20", ylim=(0, 1))
ax.legend()
plt.show()

# %%
# Without features, a new item cannot be found. With them, new items are found from the first day.
# Items of the log are then found less often, because new ones take some of the twenty places. If
# only items of the log are recommended, the recall is nearly that without features:

in_log = items.index[~is_new]
of_log = np.isin(y, in_log)
found, _ = encoder.recommend(X[of_log], k=20, allow=in_log)
print(f"{np.mean((found == y[of_log, None]).any(axis=1)):.3f}")

# %%
# ``export_index(catalogue, folder)`` or :class:`~skue.Retriever` puts the larger catalogue live.
