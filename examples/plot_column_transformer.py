"""
User vectors with tabular features in a classifier
==================================================

Will this person accept the offer? Age and region say a little, the history says more. In a
``ColumnTransformer``, an encoder transforms the list column of a frame, next to the usual scalers
and one-hot encoders.
"""

# %%
# The frame has one row per person, with two plain columns and the history as a list. The answer
# depends on age, on region and on the taste behind the history.
import numpy as np
import pandas as pd

from skue.datasets import make_user_histories

data = make_user_histories(n_users=2000, n_events=20, n_items=600, n_dims=24, random_state=0)
rng = np.random.default_rng(0)
frame = pd.DataFrame(
    {
        "age": rng.integers(18, 80, size=2000),
        "region": rng.choice(["north", "south", "east", "west"], size=2000),
        "items": [history.tolist() for history in data.histories],
    }
)
tendency = (
    0.03 * (frame["age"] - 49)
    + 0.8 * (frame["region"] == "south")
    + 0.9 * data.true_user_vectors[:, :3].sum(axis=1)
)
answered = rng.random(2000) < 1 / (1 + np.exp(-tendency))
frame.head(3)

# %%
# We compare three classifiers: the table alone, the user vectors alone, and both.
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skue import DecayAverageUserEncoder

table = [
    ("age", StandardScaler(), ["age"]),
    ("region", OneHotEncoder(), ["region"]),
]
vectors = [("history", DecayAverageUserEncoder(data.item_embeddings, decay=0.02), "items")]
classifiers = {
    name: make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=1000))
    for name, columns in {
        "table alone": table,
        "user vectors alone": vectors,
        "both": table + vectors,
    }.items()
}
train, test, y_train, y_test = train_test_split(frame, answered, test_size=0.4, random_state=0)

# %%
import matplotlib.pyplot as plt
from sklearn.metrics import RocCurveDisplay

_, ax = plt.subplots(figsize=(5, 5), layout="constrained")
for name, classifier in classifiers.items():
    classifier.fit(train, y_train)
    RocCurveDisplay.from_estimator(classifier, test, y_test, name=name, ax=ax)
ax.plot([0, 1], [0, 1], color="0.5", ls=":")
plt.show()

# %%
# The pipeline has the usual HTML representation of scikit-learn. One line of it shows the item
# vectors.
classifiers["both"]

# %%
# The decay can be chosen for the classifier. The best decay to predict an answer may differ from
# the best decay to find the next item.
from sklearn.model_selection import GridSearchCV

search = GridSearchCV(
    classifiers["both"],
    {"columntransformer__history__decay": [0.0, 0.02, 0.1, 0.5]},
    scoring="roc_auc",
    cv=3,
).fit(train, y_train)
for parameters, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"decay {parameters['columntransformer__history__decay']:<5} ROC AUC {score:.3f}")
