"""Where items start: spaces learned from the log."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.base import clone

from skue.histories._histories import Histories
from skue.items._cooccurrence import CooccurrenceItemEmbedder, transition_embeddings
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._rows import unit_rows

# Candidate dimensions of each space; validation chooses.
_N_DIMS = (192, 96, 48)
# One space of wide neighbourhoods, and one of what follows what. Towers with different starting
# points make different errors, so averaging them helps.
_WIDE = CooccurrenceItemEmbedder(_N_DIMS[0], window=10, smoothing=1.0)


def learned_spaces(
    histories: Histories, n_jobs: int | None = None
) -> Iterator[tuple[ItemEmbeddings, int]]:
    """Yield candidate spaces, and how many spaces are concatenated in each.

    A space with fewer dimensions has the first ones of a larger space, because singular vectors
    are sorted by singular value.
    """
    first = clone(_WIDE).set_params(n_jobs=n_jobs).fit(histories).item_embeddings_
    second = transition_embeddings(histories, _N_DIMS[0], n_jobs=n_jobs)
    tables = [first.vectors]
    if second is not None and first.n_dims == second.n_dims:
        tables.append(vectors_of(second, first.ids))
    yield ItemEmbeddings(np.hstack(tables), first.ids), len(tables)
    for n_dims in _N_DIMS[1:]:
        parts = [table[:, :n_dims] for table in tables]
        norms = [np.linalg.norm(part, axis=1) for part in parts]
        if n_dims < first.n_dims and all(norm.min() > 1e-6 for norm in norms):
            shorter = list(map(unit_rows, parts, norms))
            yield ItemEmbeddings(np.hstack(shorter), first.ids), len(tables)


def vectors_of(items: ItemEmbeddings, ids: np.ndarray) -> np.ndarray:
    """Return the vectors of these ids, and random directions for unknown ids."""
    rows = items.lookup(ids)
    random = np.random.default_rng(0).standard_normal((int((rows < 0).sum()), items.n_dims))
    vectors = items.vectors[rows]
    vectors[rows < 0] = unit_rows(random)
    return vectors
