"""Item spaces learned from the log, for the towers to start from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.base import clone

from skue.histories._histories import Histories
from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._item_embeddings import ItemEmbeddings

# Dimensions of each space, of which validation chooses.
_N_DIMS = (192, 96, 48)
# Two spaces, of near and of wide neighbourhoods: towers that start apart err apart, and scores
# added up over both are better than those of either.
_EMBEDDERS = (
    CooccurrenceItemEmbedder(_N_DIMS[0]),
    CooccurrenceItemEmbedder(_N_DIMS[0], window=10, smoothing=1.0),
)


def learned_spaces(histories: Histories) -> Iterator[tuple[ItemEmbeddings, int]]:
    """Yield spaces to choose from, and how many spaces stand side by side in each.

    Fewer dimensions are the first of more: singular vectors come in the order of their weight.
    """
    first, second = (clone(each).fit(histories).item_embeddings_ for each in _EMBEDDERS)
    tables = [first.vectors]
    if first.n_dims == second.n_dims:
        tables.append(_vectors_of(second, first.ids))
    yield ItemEmbeddings(np.hstack(tables), first.ids), len(tables)
    for n_dims in _N_DIMS[1:]:
        parts = [table[:, :n_dims] for table in tables]
        norms = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
        if n_dims < first.n_dims and all(norm.min() > 1e-6 for norm in norms):
            shorter = [part / norm for part, norm in zip(parts, norms, strict=True)]
            yield ItemEmbeddings(np.hstack(shorter), first.ids), len(tables)


def _vectors_of(items: ItemEmbeddings, ids: np.ndarray) -> np.ndarray:
    """Return the vectors of these ids; unknown ones get a random direction."""
    rows = items.lookup(ids)
    random = np.random.default_rng(0).standard_normal((int((rows < 0).sum()), items.n_dims))
    vectors = items.vectors[rows]
    vectors[rows < 0] = random / np.linalg.norm(random, axis=1, keepdims=True)
    return vectors
