"""
Drift: where a mix helps
========================

People change their minds at once, averages do so slowly. A quick average follows but forgets what
it knew; a slow one knows but does not follow. :class:`skue.MixedUserEncoder` adds the two.
"""

# %%
# 1,500 generated people with 60 events each, whose taste moves far after the 30th.
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
    "quick average (decay 0.5)": DecayAverageUserEncoder(items, decay=0.5),
    "mix of slow and quick": MixedUserEncoder(
        items, long_decay=0.01, short_decay=0.5, short_weight=0.5
    ),
}

# %%
# After each number of events the next one is to be found. An average learns nothing from people
# but the vector for newcomers, so that one ``fit`` serves all.
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
ax.annotate("taste moves", (30, 0.05), xytext=(-70, 0), textcoords="offset points")
ax.set(xlabel="events seen", ylabel="Recall@20 of the next event", ylim=(0, None))
ax.legend()
plt.show()

# %%
# Nobody foresees the first event of a new taste. What counts is how fast it is followed: with two
# events of it seen, the mix is nearly as good as the quick average, at hardly any loss while tastes
# are steady. A single decay can be as good in steady times or as quick, not both.
at = {moment: n_seen.index(moment) for moment in (29, 32, 59)}
for name, values in recall.items():
    print(
        f"{name:30} steady {values[at[29]]:.3f}   two events after the shift {values[at[32]]:.3f}"
        f"   long after {values[at[59]]:.3f}"
    )

# %%
# Where tastes do not move that far, there is nothing to gain: on the mild shift that
# ``make_user_histories`` makes by default a mix and a single average find the same share.
from skue import leave_last_out

mild = make_user_histories()
X, y = leave_last_out(mild.histories)
for encoder in (
    DecayAverageUserEncoder(mild.item_embeddings),
    MixedUserEncoder(mild.item_embeddings),
):
    print(f"{encoder.fit(X)!r:>60} {RecallAtK(20)(encoder, X, y):.3f}")
