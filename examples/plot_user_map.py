"""
Plotting how users move
=======================

User vectors are in the space of the items, so people and items can be plotted on the same map. In
this example, tastes change once, halfway. The map shows how the user vectors move, and how far a
slow average lags behind a fast one.
"""

# %%
# We generate five people with 60 events each, in eight dimensions. Tastes change strongly after
# event 30.
import numpy as np

from skue import DecayAverageUserEncoder, Histories
from skue.datasets import make_user_histories

data = make_user_histories(
    n_users=5,
    n_events=60,
    n_items=600,
    n_dims=8,
    drift_scale=3.0,
    drift_after=29,
    random_state=0,
)
lists = np.array(list(data.histories))
moments = np.arange(1, 61)


def paths(decay):
    """Return everyone's vector after each number of events."""
    encoder = DecayAverageUserEncoder(data.item_embeddings, decay=decay).fit(data.histories)
    return np.stack(
        [encoder.transform(Histories.from_lists(lists[:, :n])) for n in moments], axis=1
    )


# %%
# The map shows the two directions in which the tastes, before and after the change, differ most.
# Distances in two dimensions reflect cosines only roughly, so do not measure them in the plot.
from sklearn.decomposition import PCA


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


before = unit(data.true_user_vectors)
after = unit(data.true_user_vectors + data.drift_vectors)
plane = PCA(2).fit(np.concatenate([before, after]))
cloud = plane.transform(data.item_embeddings.vectors)

# %%
import matplotlib.pyplot as plt

_, axes = plt.subplots(1, 2, figsize=(10, 5.6), layout="constrained", sharex=True, sharey=True)
for ax, decay in zip(axes, (0.01, 0.1), strict=True):
    ax.scatter(*cloud.T, s=4, color="0.85")
    for person, path in enumerate(paths(decay)):
        colour = f"C{person}"
        at = plane.transform(path)
        ax.plot(*at[4:30].T, color=colour, lw=1, alpha=0.35)
        ax.plot(*at[29:].T, color=colour, lw=1.8)
        ax.plot(*at[29], "o", color=colour, ms=7)
        ax.plot(*at[-1], "s", color=colour, ms=7)
        ax.plot(*plane.transform(after[person : person + 1])[0], "*", color=colour, ms=13)
    ax.set(title=f"decay {decay:g}", xticks=[], yticks=[])
marks = {
    "an item": ".",
    "when the taste changes": "o",
    "30 events later": "s",
    "the new taste": "*",
}
for name, mark in marks.items():
    axes[0].plot([], [], mark, color="0.75" if mark == "." else "0.3", ms=8, label=name)
axes[0].figure.legend(loc="outside lower center", ncols=4, frameon=False)
plt.show()

# %%
# Each colour is a person. With a small decay, the paths stop well before the stars, because old
# events still have much weight. With a larger decay, they come close to the stars but fluctuate.
# The next plot shows the mean cosine to the current taste:
_, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
true = np.where(moments[None, :, None] <= 30, before[:, None], after[:, None])
for decay in (0.0, 0.01, 0.1, 0.3):
    cosines = np.einsum("upd,upd->up", paths(decay), true)
    ax.plot(moments, cosines.mean(axis=0), label=f"decay {decay:g}")
ax.axvline(30, color="0.5", ls=":")
ax.set(xlabel="events seen", ylabel="cosine to the true taste")
ax.legend(ncols=2)
plt.show()
