"""
Choosing a decay
================

How fast should old events lose weight? If the decay is too small, the vector describes the person's
past. If it is too large, the vector depends on one or two events only. This example holds out each
person's last event and checks which decay finds it best.
"""

# %%
# The data are generated: 3,000 people with 30 events each, whose taste shifts once, halfway. The
# item vectors are given.
from skue import DecayAverageUserEncoder, DecayCurveDisplay, leave_last_out
from skue.datasets import make_user_histories

data = make_user_histories()
X, y = leave_last_out(data.histories)

# %%
# Plot recall@20 against the decay for three values of ``repeat_exponent``. At 1, every repeat of
# an item counts fully; below 1, repeats are damped. The band is one standard error over five
# folds of people. All curves use the same people, so their differences are more certain than the
# bands suggest.
import matplotlib.pyplot as plt

decays = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)
_, ax = plt.subplots(layout="constrained")
displays = {}
for exponent in (1.0, 0.5, 0.3):
    encoder = DecayAverageUserEncoder(data.item_embeddings, repeat_exponent=exponent)
    displays[exponent] = DecayCurveDisplay.from_estimator(
        encoder, X, y, decays=decays, name=f"repeat exponent {exponent:g}", ax=ax
    )
ax.set_title("Share of held-out items found, by decay")
plt.show()

# %%
# The curves are flat near their maximum, so the exact value matters little and a small grid is
# enough. Both ends are worse. Damping repeats improves recall more than tuning the decay.
import math

for exponent, display in displays.items():
    best = display.scores.mean(axis=1).max()
    half_life = math.log(2) / (exponent * display.best_decay)
    print(
        f"repeat exponent {exponent:g}: decay {display.best_decay:g} (one event loses half of its "
        f"weight in {half_life:.0f} steps), recall@20 {best:.3f}"
    )

# %%
# The decay was chosen on these people, so its recall is slightly too optimistic for other people.
# For a figure to quote, choose the decay within each training part with ``GridSearchCV``:
from sklearn.model_selection import GridSearchCV, cross_val_score

from skue import RecallAtK

search = GridSearchCV(
    DecayAverageUserEncoder(data.item_embeddings),
    {"decay": [0.02, 0.05, 0.1, 0.2], "repeat_exponent": [1.0, 0.5, 0.3]},
    scoring=RecallAtK(20),
    cv=3,
)
scores = cross_val_score(search, X, y, cv=3)
print(f"recall@20 on people not used for the choice: {scores.mean():.3f}")
