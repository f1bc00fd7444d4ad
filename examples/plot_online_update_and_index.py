"""
Serving: index, online update, switch
=====================================

A person clicks, and the next page should know. This example serves ten thousand events one by one:
each is taken into its user's state, the state becomes a vector, the vector searches an index. In
the middle a new encoder of another space takes over, and not one vector meets the wrong items.
"""

# %%
# The data are generated: 3,000 people with 30 events each. The first 20 of each are history, what
# follows is the stream.
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
# ``export_index`` writes vectors, ids and a manifest with their checksums as a version of its own,
# and then makes it the current one; ``open_index`` compares the checksums and reads the vectors.
folder = tempfile.mkdtemp()
export_index(encoder, folder)
index = open_index(folder)
print(index)

# %%
# The state of a person is a decayed sum: a few hundred bytes, from which the vector follows, and
# into which the next event goes without the events before.
states = encoder.make_state(history)
print(f"{len(states[0].to_bytes())} bytes a person")
print(
    "same vectors as from the events:",
    np.allclose(encoder.transform_state(states), encoder.transform(history), atol=1e-5),
)

# %%
# What belongs together is held together: an encoder, its index and its states are one object, and
# switching is one assignment. (For histories that are loaded when they are needed, ``Retriever``
# is that object, with a cache instead of states.)
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
# The stream: 10,000 events, people in random order, each person's own in theirs. Before an event is
# taken in, its person is given 20 items, and we note whether the one taken next was among them.
# After half of the stream a new version is ready: a mix of two averages, in a space that is learned
# from what happened so far. Its index is exported to the same folder.
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
# That is no matter of care. Vectors of one version and the index of another raise an error that
# names both, and so do the states of another encoder.
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
# After the stream every state equals what the whole history gives:
import matplotlib.pyplot as plt

from skue import UserStates

streamed = serving.encoder.transform_state(UserStates.concatenate(serving.states))
whole = serving.encoder.transform([lists[p][: n_seen[p]] for p in people])
print(f"largest difference to the whole histories: {np.abs(streamed - whole).max():.0e}")

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
# The new version finds fewer of the next items: it had to learn its space from a short log, where
# the old one was given the space that generated the data. The old version is still there:
from skue import rollback

rollback(folder)
print(open_index(folder).space_id == old.encoder.space_id_)
