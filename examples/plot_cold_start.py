"""
Cold starts and unknown items
=============================

Some people are new, and others have only bought items without a vector. Every encoder still
returns a vector for them, never NaN, and tells which people got the fallback vector.
"""

# %%
# ``cold_start`` sets the vector of people without a known event: the mean vector of the people in
# ``fit``, the mean of the item vectors weighted by popularity, a given vector, zeros, or an error.
import numpy as np

from skue import DecayAverageUserEncoder, ItemEmbeddings, RecallAtK

items = ItemEmbeddings([[1, 0], [0.8, 0.6], [0, 1]], ids=["tea", "cup", "saw"])
encoder = DecayAverageUserEncoder(items).fit([["tea", "cup"], ["cup"], ["saw", "tea"]])
histories = [["tea"], [], ["teapot"], ["teapot", "cup"]]
print(encoder.transform(histories))

# %%
# ``coverage`` tells how much of each history is known, and who gets the fallback vector.
coverage = encoder.coverage(histories)
for row in range(len(histories)):
    print(
        f"{histories[row]!s:18} {coverage.status[row]:8} {coverage.n_known[row]} of "
        f"{coverage.n_events[row]} events known"
    )

# %%
# How much does recall improve with each event? We generate 3,000 people whose tastes have
# something in common, so that recommendations for new people are possible. We keep the last n of
# their first 15 events and predict the 16th.
rng = np.random.default_rng(0)
vectors = rng.normal(size=(400, 16))
tastes = 0.5 * rng.normal(size=16) + rng.normal(size=(3000, 16))
chances = np.exp(tastes @ vectors.T)
cumulative = (chances / chances.sum(axis=1, keepdims=True)).cumsum(axis=1)
draws = rng.random((3000, 16))
lists = np.stack([row.searchsorted(draw) for row, draw in zip(cumulative, draws, strict=True)])
items = ItemEmbeddings(vectors)
train, test = lists[:2000], lists[2000:]
n_kept = [0, 1, 2, 3, 5, 8, 12, 15]
recall = {
    cold_start: [
        RecallAtK(20)(
            DecayAverageUserEncoder(items, cold_start=cold_start).fit(train[:, :15]),
            [history[15 - n : 15] for history in test.tolist()],
            test[:, 15],
        )
        for n in n_kept
    ]
    for cold_start in ("mean", "popular", "zero")
}

# %%
# Next, some items are unknown: each event has an unknown item with the probability on the axis.
# Unknown items are ignored, and the vector is computed from the others.
shares = [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0]
encoder = DecayAverageUserEncoder(items).fit(train[:, :15])
recall_by_share, fallback_by_share = [], []
for share in shares:
    # Ids from 10,000 on are not in the space.
    masked = np.where(rng.random((1000, 15)) < share, test[:, :15] + 10_000, test[:, :15])
    recall_by_share.append(RecallAtK(20)(encoder, masked, test[:, 15]))
    fallback_by_share.append(np.mean(encoder.coverage(masked).status != "encoded"))

# %%
import matplotlib.pyplot as plt

_, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
# The curves coincide from the first event on, so the lowest line is the widest.
styles = [("-", 6, 0.35), ("--", 2.5, 1), (":", 2, 1)]
for (cold_start, values), (style, width, alpha) in zip(recall.items(), styles, strict=True):
    label = f"cold_start={cold_start!r}"
    left.plot(n_kept, values, style, lw=width, alpha=alpha, marker="o", ms=width + 2, label=label)
left.axhline(20 / 400, color="0.5", lw=1)
left.annotate("20 random items", (15, 20 / 400), ha="right", va="bottom", color="0.4")
left.set(xlabel="known events per person", ylabel="Recall@20", ylim=(0, 1.03))
left.legend(loc="center right")
right.plot(shares, recall_by_share, marker="o", ms=4, color="C0", label="Recall@20")
right.plot(shares, fallback_by_share, color="0.5", label="share of people with the fallback")
right.set(xlabel="share of events of unknown items")
right.legend(loc="center left")
plt.show()

# %%
# Without events, a zero vector has the recall of chance, because all items are tied. The two
# means find what most people like. A single event is better than either. Unknown items reduce
# recall little until hardly any known item is left.
for cold_start, values in recall.items():
    print(f"cold_start={cold_start!r:10} no event {values[0]:.3f}   one event {values[1]:.3f}")
