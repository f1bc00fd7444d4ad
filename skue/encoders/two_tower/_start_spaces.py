"""Where items start: spaces learned from the log, the choice among them, and new items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from skue._estimator import warn_caller
from skue.encoders._events import known_events
from skue.encoders.two_tower._examples import Targets, sequences_of, target_events
from skue.encoders.two_tower._training import BestAverage, Start, TrainingData, Validation
from skue.histories._fingerprints import LearnedHistories, share_learned
from skue.histories._histories import Histories
from skue.histories._splits import first_of_instant, liked, marked_from, newest_starts
from skue.items._embedders import CooccurrenceItemEmbedder, item_space
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ScaledFeatures
from skue.items._pair_counts import count_pairs
from skue.items._spectral import learned_items
from skue.kernels._arrays import LONGEST_HISTORY, kept_offsets, owners
from skue.kernels._unit_rows import unit_rows

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
    first = learned_items(histories, n_dims, **_WIDE, n_jobs=n_jobs, features=features)
    if first is None:  # random directions, with a warning
        first = CooccurrenceItemEmbedder(n_dims).fit(histories).item_embeddings_
    second = learned_items(histories, n_dims, **_TRANSITIONS, n_jobs=n_jobs, features=features)
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
    n_events = np.minimum(histories.lengths, LONGEST_HISTORY).sum()
    if n_events <= _MOST_EVENTS:
        return histories
    rng = np.random.default_rng(0)
    share = _MOST_EVENTS / n_events
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


_WINDOW = 5
_NEGLIGIBLE = 1e-6


def with_new_items(items: ItemEmbeddings, n_towers: int, histories: Histories) -> ItemEmbeddings:
    r"""Return a larger catalogue that also has the new items of a log.

    In the block of each tower, a new item :math:`i` starts at the normalised

    .. math:: \sum_j \frac{C_{ij}}{\sqrt{n_j}}\, v_j

    over its neighbours :math:`j`, where :math:`C_{ij}` counts how often both are near one another
    and :math:`n_j` the events of :math:`j`. As in :class:`CooccurrenceItemEmbedder`, if a share of
    the events are repeats, a random direction per item is mixed in, and items without neighbours
    stay unknown. Of items that are near one another alone, the first gets a random direction.
    """
    if items.vocabulary.map_of(histories.vocabulary)[1]:
        return items
    histories = liked(histories)._newest(LONGEST_HISTORY)._with_used_items()
    rows = items.lookup(histories.item_ids)
    n_events = np.bincount(histories.codes, minlength=len(rows))
    new = np.flatnonzero((rows < 0) & (n_events > 0))
    if not len(new):
        return items
    has_new = np.unique(owners(histories.offsets)[(rows < 0)[histories.codes]])
    counts = count_pairs(histories[has_new], window=_WINDOW)
    near = counts.pairs + counts.pairs.T
    weights = near[new].multiply(1 / np.sqrt(np.maximum(n_events, 1))).tocsr()
    blocks = np.zeros((len(rows), n_towers, items.n_dims // n_towers), dtype=np.float32)
    known = rows >= 0
    blocks[known] = items.vectors[rows[known]].reshape(-1, *blocks.shape[1:])
    for is_last in (False, True):
        n_placed = -1
        while n_placed:  # in later rounds, items whose neighbours are all new start at those
            means = (weights @ blocks.reshape(len(rows), -1)).reshape(-1, *blocks.shape[1:])
            norms = np.linalg.norm(means, axis=2)
            mass = np.asarray(weights @ known.astype(np.float32)).ravel()
            placed = ~known[new] & (norms > _NEGLIGIBLE * mass[:, None]).all(axis=1)
            blocks[new[placed]] = means[placed] / (norms[placed] * np.sqrt(n_towers))[:, :, None]
            known[new[placed]] = True
            n_placed = int(np.count_nonzero(placed))
        if not is_last:
            firsts = _firsts_of_islands(near[new][:, new], ~known[new])
            random = np.random.default_rng(0).standard_normal((len(firsts), *blocks.shape[1:]))
            random /= np.linalg.norm(random, axis=2, keepdims=True) * np.sqrt(n_towers)
            blocks[new[firsts]], known[new[firsts]] = random, True
    new = new[known[new]]
    if not len(new):
        return items
    vectors = _with_own_directions(blocks[new], counts.share_of_repeats)
    return items.extend(vectors, histories.item_ids[new])


def _firsts_of_islands(near: sp.csr_array, unplaced: np.ndarray) -> np.ndarray:
    """Return the first item of each group of unplaced items that are neighbours of one another."""
    able = np.flatnonzero(unplaced & (np.diff(near.indptr) > 0))
    _, labels = connected_components(near[able][:, able], directed=False)
    return able[np.unique(labels, return_index=True)[1]]


def _with_own_directions(blocks: np.ndarray, share: float) -> np.ndarray:
    """Mix a random direction into each block, and return the rows."""
    if share:
        own = np.random.default_rng(0).standard_normal(blocks.shape).reshape(-1, blocks.shape[2])
        own = unit_rows(own).reshape(blocks.shape) / np.sqrt(blocks.shape[1])
        blocks = np.sqrt(1 - share) * blocks + np.sqrt(share) * own
        lengths = np.linalg.norm(blocks, axis=2, keepdims=True) * np.sqrt(blocks.shape[1])
        blocks = blocks / np.where(lengths > 0, lengths, 1)
    return blocks.reshape(len(blocks), -1)


# At most this many held-out events are scored.
_MOST_VALIDATING = 5000


def data_from_scratch(
    item_embeddings: Any,
    histories: Histories,
    validation_fraction: float | None,
    rng: np.random.Generator,
    n_jobs: int | None = None,
    features: ScaledFeatures | None = None,
) -> TrainingData:
    """Return what to learn in the space whose best average has the highest validation recall.

    Spaces learned from the histories do not see the held-out events. If ``validation_fraction``
    is None, nothing is held out.
    """
    held_out = held_out_of(histories, validation_fraction, rng)
    _warn_if_learned(item_embeddings, histories, held_out)
    split_rng = np.random.default_rng(rng.integers(np.iinfo(np.int64).max))
    rest = histories._keep_events(~held_out)
    if item_embeddings is None:
        spaces = learned_spaces(rest, n_jobs, features)
    else:
        spaces = iter([(item_space(item_embeddings, rest), 1)])
    items, n_towers = next(spaces)
    learned = LearnedHistories.of(histories, held_out)
    best = data_in(items, n_towers, histories, held_out, learned, split_rng)
    # All candidate spaces have the same items, so the examples are the same for all.
    for items, _ in spaces:
        average = best.validation.best_average(items.vectors)
        if average.recall > best.best.recall:
            best = best._replace(items=items, best=average)
    return best


def held_out_of(
    histories: Histories,
    fraction: float | None,
    rng: np.random.Generator,
    n_new: np.ndarray | None = None,
) -> np.ndarray:
    """Mark the newest events of a fraction of the users for validation; none if it is None.

    The newest instant of users with at least two instants is held out. If that gives fewer than
    2,000 examples, up to five newest events per user are held out, and at most half of a history;
    with ``n_new``, at most this many newest events of each user.
    """
    offsets, lengths = histories.offsets, histories.lengths
    first_of = partial(first_of_instant, histories)
    n_new = lengths if n_new is None else n_new
    starts = newest_starts(offsets, first_of, n_new=n_new)
    able = np.flatnonzero(starts < offsets[1:])
    n_users = 0 if fraction is None else round(fraction * len(able))
    if not n_users:
        return np.zeros(len(histories.codes), dtype=bool)
    users = rng.choice(able, n_users, replace=False)
    each = min(5, -(-2000 // n_users))
    n_events = np.clip(np.minimum(lengths // 2, n_new), 1, each)
    starts = newest_starts(offsets, first_of, n_events=n_events, n_new=n_new)
    return marked_from(offsets, starts, users)


def _warn_if_learned(item_embeddings: Any, histories: Histories, held_out: np.ndarray) -> None:
    """Warn if the given vectors were learned from the events to validate by."""
    sample = getattr(item_embeddings, "_learned_events", None)
    if sample is None or not held_out.any():
        return
    share = share_learned(histories, np.flatnonzero(held_out), sample)
    if share > 0.5:
        warn_caller(
            f"The given item_embeddings were learned from {share:.0%} of the events that "
            "validation holds out, so validation recall is too high and may keep the wrong "
            "epoch. Pass an embedder that is not fitted, such as "
            "item_embeddings=CooccurrenceItemEmbedder(), which is fitted without these events."
        )


def data_in(
    items: ItemEmbeddings,
    n_towers: int,
    histories: Histories,
    held_out: np.ndarray,
    learned: LearnedHistories,
    rng: np.random.Generator,
    start: Start | None = None,
) -> TrainingData:
    """Return what to learn in a space; the events that ``held_out`` marks validate."""
    sequences = sequences_of(known_events(items, histories, None))
    held_out_and_known = held_out[items.rows_of(histories) >= 0]
    can = target_events(sequences)
    training = Targets(sequences, can & ~held_out_and_known)
    validating = np.flatnonzero(can & held_out_and_known)
    if len(validating) > _MOST_VALIDATING:
        validating = np.sort(rng.choice(validating, _MOST_VALIDATING, replace=False))
    validation = Validation(sequences, validating)
    best = BestAverage(0.1, 1.0, -1.0)
    if start is None:
        best = validation.best_average(items.vectors)
    positions = np.flatnonzero(held_out)
    return TrainingData(
        items, n_towers, sequences, training, validation, best, positions, learned, start
    )
