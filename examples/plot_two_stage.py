"""
Retrieve, then rank
===================

On baskets, people come back to their own items, and everybody buys the popular ones. A cosine of
unit vectors knows neither. The second stage of :class:`~skue.TwoStageRecommender` does.
"""

# %%
# A shop where each person has a few items of their own, bought again and again, and buys others by
# their popularity.

import matplotlib.pyplot as plt
import numpy as np

from skue import (
    DecayAverageUserEncoder,
    Histories,
    RecallAtK,
    TransitionItemRanker,
    TwoStageRecommender,
    leave_last_out,
)

rng = np.random.default_rng(0)
n_users, n_items = 400, 200
popularity = 1 / np.arange(1, n_items + 1)
popularity /= popularity.sum()
baskets, days = [], []
for _ in range(n_users):
    own = rng.choice(n_items, size=6, replace=False)
    user_baskets, user_days = [], []
    for day in np.sort(rng.choice(120, size=int(rng.integers(4, 12)), replace=False)):
        again = rng.choice(own, size=2, replace=False)
        others = rng.choice(n_items, size=2, p=popularity)
        user_baskets += [*again, *others]
        user_days += [float(day) * 86400] * 4
    baskets.append([int(item) for item in user_baskets])
    days.append(user_days)

histories = Histories.from_lists(baskets, timestamps=days)
X, y = leave_last_out(histories, by="instant")

# %%
# The encoder alone, transitions alone, and both as candidates and features of a second stage.

encoder = DecayAverageUserEncoder(age_unit="instant")
recommender = TwoStageRecommender(encoder, random_state=0).fit(X)
print(recommender.second_stage_, recommender.validation_scores_)

contenders = {
    "transitions": TransitionItemRanker().fit(X),
    "encoder": recommender.encoder_,
    "two-stage": recommender,
}
recalls = {name: RecallAtK(10)(one, X, y) for name, one in contenders.items()}

figure, axes = plt.subplots(figsize=(5, 2.5), layout="constrained")
axes.barh(list(recalls), list(recalls.values()))
axes.set_xlabel("Recall@10")
plt.show()

# %%
# ``explain`` shows the features behind each recommendation.

recommender.explain(X[:1], k=3)[["item", "score", "own_instants", "popularity", "cosine"]]
