"""
Grid search: from the decay to the size of a hidden layer
=========================================================

One search over everything: an average and its decay, the two-tower and the size of its hidden
layer. Rows are people, so each fold scores people whom no encoder has seen. The data are made so
that an average must fail: what comes next is not more of the same.
"""

# %%
# Items belong to 40 groups. In six of ten cases the next item is of the group that *follows* the
# last one (a case after a phone, a film after the camera); otherwise of one of three favourites.
# Which group follows which has nothing to do with where the groups lie in the space.
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
# A pipeline whose first step is itself a choice. The tower steps fast and drops out little, because
# the log is small and clean; its other parameters stay as they are.
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
ax.set(xlabel="Recall@20 on people not seen (dots: the two folds)")
plt.show()

# %%
# No decay helps: an average points at what was there, and what comes next lies elsewhere. Linear
# maps of the averages learn some of it; a hidden layer learns which group follows which. Where an
# average is as good as a tower, ship the average; here the numbers say otherwise.
for label, score in zip(labels, results["mean_test_score"], strict=True):
    print(f"{label:44} {score:.3f}")

# %%
# How the winner learned. Its first weights are the best plain average, and the weights kept are
# those of the best epoch on held-out events.
from skue import TrainingCurveDisplay

TrainingCurveDisplay.from_estimator(search.best_estimator_["encode"])
plt.show()
