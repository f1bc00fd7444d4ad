"""
Serving: index, online update, switch
=====================================

The next page should reflect a person's last click. This example processes ten thousand events one
by one: each event updates its user's state, the state gives a vector, and the vector is used to
search an index. Halfway, a new encoder with another space takes over, and vectors and items of
the two spaces are never mixed.
"""

# %%
# The data are generated: 3,000 people with 30 events each. The first 20 of each are the history,
# the rest is the stream.
import tempfile

import numpy as np

from skue import DecayAverageUserEncoder, export_index, open_index
from skue.datasets import make_user_histories

data = make_user_histories()
people = range(len(data.histories))
lists = [data.histories[person].tolist() for person in people]
history = [events[:20] for events in lists]

encoder = DecayAverageUserEncoder(data.item_embeddings, decay=0.15).fit(history)

# %%
# ``export_index`` writes vectors, ids and a manifest with checksums as a new version, and then
# makes it the current one. ``open_index`` verifies the checksums and reads the vectors.
folder = tempfile.mkdtemp()
export_index(encoder, folder)
index = open_index(folder)
print(index)

# %%
# The state of a person is a weighted sum of a few hundred bytes. The user vector is computed from
# it, and the next event can be added without the events before.
states = encoder.make_state(history)
print(f"{len(states[0].to_bytes())} bytes per person")
print(
    "same vectors as from the events:",
    np.allclose(encoder.transform_state(states), encoder.transform(history), atol=1e-5),
)

# %%
# We keep an encoder, its index and its states in one object, so a switch is a single assignment.
# (If histories are loaded on demand, use ``Retriever``, which has a cache instead of states.)
from typing import Any, NamedTuple


class Version(NamedTuple):
    encoder: Any
    index: Any
    states: list


def version_of(encoder, folder, histories):
    states = encoder.make_state(histories)
    return Version(encoder, open_index(folder), [states[person] for person in people])


serving = version_of(encoder, folder, history)

# %%
# The stream has 10,000 events. People are in random order, and the events of each person are in
# their own order. Before each event, we recommend 20 items and record whether the next item is
# among them. After half of the stream, a new version is ready: a mix of two averages, in a space
# learned from the events so far. Its index is exported to the same folder.
from skue import CooccurrenceItemEmbedder, MixedUserEncoder

rng = np.random.default_rng(0)
order = rng.permutation(np.repeat(np.arange(len(lists)), 10))[:10_000]
n_seen = np.full(len(lists), 20)
hits, spaces = [], []
for event, person in enumerate(order):
    if event == 5_000:
        so_far = [lists[p][: n_seen[p]] for p in people]
        embedder = CooccurrenceItemEmbedder(random_state=0)
        new = MixedUserEncoder(embedder).fit(so_far)
        export_index(new, folder)
        old, serving = serving, version_of(new, folder, so_far)
    item = lists[person][n_seen[person]]
    vector = serving.encoder.transform_state(serving.states[person])
    ids, _ = serving.index.search(vector, 20, space_id=serving.encoder.space_id_)
    hits.append(item in ids[0])
    spaces.append((serving.encoder.space_id_, serving.index.space_id))
    serving.states[person] = serving.encoder.update_state(serving.states[person], [[item]])
    n_seen[person] += 1

mixed = sum(users != items for users, items in spaces)
print(f"{len(hits)} answers from {len(set(spaces))} versions, {mixed} of them mixed")

# %%
# This is enforced. Searching the index of one version with vectors of another raises an error
# that names both spaces. Using the states of another encoder raises an error too.
from skue import SpaceMismatchError

try:
    serving.index.search(vector, 20, space_id=old.encoder.space_id_)
except SpaceMismatchError as error:
    print(error)
try:
    serving.encoder.transform_state(old.states[0])
except ValueError as error:
    print(error)

# %%
# After the stream, every state gives the same vector as the whole history:
import matplotlib.pyplot as plt

from skue import UserStates

streamed = serving.encoder.transform_state(UserStates.concatenate(serving.states))
whole = serving.encoder.transform([lists[p][: n_seen[p]] for p in people])
print(f"largest difference from the whole histories: {np.abs(streamed - whole).max():.0e}")

window = 1_000
found = np.convolve(hits, np.ones(window) / window, mode="valid")
fig, ax = plt.subplots(layout="constrained")
ax.plot(np.arange(window, len(hits) + 1), found)
ax.axvline(5_000, color="0.5", ls=":")
ax.annotate("switch", (5_000, 0.02), xytext=(5, 0), textcoords="offset points")
ax.set(
    xlabel="events streamed",
    ylabel=f"next item among the 20, last {window:,} events",
    ylim=(0, None),
)
plt.show()

# %%
# The new version finds fewer of the next items. It had to learn its space from a short log, but
# the old version was given the space that generated the data. We can roll back to the old
# version:
from skue import rollback

rollback(folder)
print(open_index(folder).space_id == old.encoder.space_id_)
