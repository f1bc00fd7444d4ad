"""
Grid search: from the decay to the size of a hidden layer
=========================================================

A single grid search compares averages with different decays and two-tower encoders with different
hidden layers. Rows are people, so each fold scores people that the encoders have not seen. The
data are generated so that averages fail: the next item is not more of the same.
"""

# %%
# Items belong to 40 groups. In six of ten cases, the next item is from the group that *follows*
# the group of the last item (a case after a phone, a film after a camera). Otherwise, it is from
# one of three favourite groups. The order of the groups is independent of their positions in the
# space.
import numpy as np

from skue import Histories, ItemEmbeddings, leave_last_out

rng = np.random.default_rng(0)
n_groups, n_items, n_dims = 40, 400, 16
group = np.arange(n_items) % n_groups
centres = rng.normal(size=(n_groups, n_dims))
items = ItemEmbeddings(centres[group] + 0.5 * rng.normal(size=(n_items, n_dims)))
follows = rng.permutation(n_groups)


def draw_history(n_events):
    favourites = rng.integers(n_groups, size=3)
    current, history = favourites[0], []
    for _ in range(n_events):
        current = follows[current] if rng.random() < 0.6 else rng.choice(favourites)
        history.append(rng.integers(n_items // n_groups) * n_groups + current)
    return history


X, y = leave_last_out(Histories.from_lists([draw_history(12) for _ in range(800)]))

# %%
# The first step of the pipeline is itself a parameter of the search. The two-tower encoder has a
# high learning rate and little dropout, because the log is small and clean. Its other parameters
# are the defaults.
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skue import DecayAverageUserEncoder, RecallAtK, TwoTowerUserEncoder

tower = TwoTowerUserEncoder(
    items,
    learning_rate_init=0.01,
    batch_size=128,
    dropout=0.1,
    event_dropout=0.1,
    max_iter=10,
    n_iter_no_change=3,
    random_state=0,
)
search = GridSearchCV(
    Pipeline([("encode", tower)]),
    [
        {
            "encode": [DecayAverageUserEncoder(items)],
            "encode__decay": [0.0, 0.1, 0.5, 2.0],
        },
        {
            "encode": [tower],
            "encode__hidden_layer_sizes": [(), (16,), (64,)],
            "encode__decays": [(0.0,), (0.0, 0.5, 8.0)],
        },
    ],
    scoring=RecallAtK(20),
    cv=2,
).fit(X, y)

# %%
import matplotlib.pyplot as plt

results = search.cv_results_


def describe(parameters):
    if "encode__decay" in parameters:
        return f"average, decay {parameters['encode__decay']:g}"
    sizes = parameters["encode__hidden_layer_sizes"]
    decays = ", ".join(f"{decay:g}" for decay in parameters["encode__decays"])
    return f"two-tower, {f'{sizes[0]} hidden' if sizes else 'no hidden layer'}, decays {decays}"


labels = [describe(parameters) for parameters in results["params"]]
_, ax = plt.subplots(figsize=(8, 4), layout="constrained")
colours = ["C0" if label.startswith("average") else "C1" for label in labels]
ax.barh(labels, results["mean_test_score"], color=colours)
for fold in ("split0_test_score", "split1_test_score"):
    ax.plot(results[fold], labels, "k.", ms=4)
ax.invert_yaxis()
ax.set(xlabel="Recall@20 on unseen people (dots: the two folds)")
plt.show()

# %%
# No decay helps, because an average points to past items and the next item is elsewhere. Linear
# maps of the averages learn some of the order of the groups, and a hidden layer learns more. If
# an average is as good as a two-tower encoder, ship the average. Here, the two-tower encoder is
# better.
for label, score in zip(labels, results["mean_test_score"], strict=True):
    print(f"{label:44} {score:.3f}")

# %%
# The training curve of the best encoder. Training starts from the best plain average. The last
# epoch within one standard error of the best recall on held-out events is kept.
from skue import TrainingCurveDisplay

TrainingCurveDisplay.from_estimator(search.best_estimator_["encode"])
plt.show()
