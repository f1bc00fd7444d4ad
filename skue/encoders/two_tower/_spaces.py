"""Where items start: spaces learned from the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skue.histories._histories import Histories
from skue.items._cooccurrence import CooccurrenceItemEmbedder
from skue.items._embedded import learned_vectors
from skue.items._feature_rows import ScaledFeatures
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._rows import unit_rows
from skue.kernels._segments import kept_offsets

# Candidate dimensions of each space; validation chooses.
_N_DIMS = (192, 96, 48)
# One space of wide neighbourhoods, and one of what follows what. Towers with different starting
# points make different errors, so averaging them helps.
_WIDE: dict[str, Any] = {"window": 10, "smoothing": 1.0}
_TRANSITIONS: dict[str, Any] = {"window": 5, "smoothing": 0.1, "directed": True}
# Of a longer log, pairs are counted in the histories of some users.
_MOST_EVENTS = 2**24
# Further users are added for items with fewer events than this among those users.
_ENOUGH_EVENTS = 50


def learned_spaces(
    histories: Histories, n_jobs: int | None = None, features: ScaledFeatures | None = None
) -> Iterator[tuple[ItemEmbeddings, int]]:
    """Yield candidate spaces, and how many spaces are concatenated in each.

    A space with fewer dimensions has the first ones of a larger space, because singular vectors
    are sorted by singular value.
    """
    histories = some_users(histories)
    n_dims = _N_DIMS[0]
    wide = learned_vectors(histories, n_dims, **_WIDE, n_jobs=n_jobs, features=features)
    if wide is None:  # random directions, with a warning
        first = CooccurrenceItemEmbedder(n_dims).fit(histories).item_embeddings_
    else:
        first = wide.to_items()
    transitions = learned_vectors(
        histories, n_dims, **_TRANSITIONS, n_jobs=n_jobs, features=features
    )
    second = None if transitions is None else transitions.to_items()
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


def some_users(histories: Histories) -> Histories:
    """Return the histories of random users, with about 16 million events at most.

    Users are added until every item has at least 50 events, or all that it has.
    """
    if len(histories.codes) <= _MOST_EVENTS:
        return histories
    rng = np.random.default_rng(0)
    share = _MOST_EVENTS / len(histories.codes)
    chosen = rng.random(len(histories)) < share
    counts = np.bincount(histories[chosen].codes, minlength=len(histories.vocabulary))
    for users in np.array_split(rng.permutation(np.flatnonzero(~chosen)), 1024):
        part = histories[users]
        is_rare = counts[part.codes] < _ENOUGH_EVENTS
        is_needed = np.diff(kept_offsets(part.offsets, is_rare)) > 0
        chosen[users[is_needed]] = True
        counts += np.bincount(part[is_needed].codes, minlength=len(counts))
    return histories[chosen]


def vectors_of(items: ItemEmbeddings, ids: np.ndarray) -> np.ndarray:
    """Return the vectors of these ids, and random directions for unknown ids."""
    rows = items.lookup(ids)
    random = np.random.default_rng(0).standard_normal((int((rows < 0).sum()), items.n_dims))
    vectors = items.vectors[rows]
    vectors[rows < 0] = unit_rows(random)
    return vectors
