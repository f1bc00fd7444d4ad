"""
Drift: when a mix helps
=======================

Tastes may change suddenly. A fast average follows a new taste but forgets the old one. A slow
average remembers the old taste but follows late. :class:`skue.MixedUserEncoder` combines the two.
"""

# %%
# We generate 1,500 people with 60 events each, whose taste changes strongly after the 30th.
import numpy as np

from skue import DecayAverageUserEncoder, Histories, MixedUserEncoder, RecallAtK
from skue.datasets import make_user_histories

data = make_user_histories(
    n_users=1500,
    n_events=60,
    n_items=800,
    n_dims=32,
    drift_scale=1.5,
    drift_after=29,
    random_state=1,
)
items, histories = data.item_embeddings, data.histories
encoders = {
    "slow average (decay 0.01)": DecayAverageUserEncoder(items, decay=0.01),
    "default average (decay 0.07)": DecayAverageUserEncoder(items, decay=0.07),
    "fast average (decay 0.5)": DecayAverageUserEncoder(items, decay=0.5),
    "mix of slow and fast": MixedUserEncoder(
        items, long_decay=0.01, short_decay=0.5, short_weight=0.5
    ),
}

# %%
# After each number of events, we predict the next one. From people, an average only learns the
# vector for cold users, so one ``fit`` is enough for all numbers of events.
lists = np.array(list(histories))
n_seen = [1, 2, 3, 5, 8, 12, 16, 20, 25, 29, 30, 31, 32, 33, 34, 36, 38, 41, 45, 50, 55, 59]
recall = {}
for name, encoder in encoders.items():
    encoder.fit(histories)
    recall[name] = [
        RecallAtK(20)(encoder, Histories.from_lists(lists[:, :n]), lists[:, n]) for n in n_seen
    ]

# %%
import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, values in recall.items():
    ax.plot(n_seen, values, label=name, lw=2.5 if "mix" in name else 1.2)
ax.axvline(30, color="0.5", ls=":")
ax.annotate("taste changes", (30, 0.05), xytext=(-70, 0), textcoords="offset points")
ax.set(xlabel="events seen", ylabel="Recall@20 of the next event", ylim=(0, None))
ax.legend()
plt.show()

# %%
# No encoder predicts the first event of a new taste. The question is how fast it follows. After
# two events, the mix is nearly as good as the fast average, and it loses hardly any recall while
# tastes are steady. A single decay can match it in one of the two cases, but not in both.
at = {moment: n_seen.index(moment) for moment in (29, 32, 59)}
for name, values in recall.items():
    print(
        f"{name:30} steady {values[at[29]]:.3f}   two events after the shift {values[at[32]]:.3f}"
        f"   long after {values[at[59]]:.3f}"
    )

# %%
# If tastes change less, a mix has no advantage. With the default drift of
# ``make_user_histories``, a mix and a single average find about the same share.
from skue import leave_last_out

mild = make_user_histories()
X, y = leave_last_out(mild.histories)
for encoder in (
    DecayAverageUserEncoder(mild.item_embeddings),
    MixedUserEncoder(mild.item_embeddings),
):
    print(f"{encoder.fit(X)!r:>60} {RecallAtK(20)(encoder, X, y):.3f}")
