"""Where items start: spaces learned from the log, the choice among them, and new items."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from skue._estimator import warn_caller
from skue.encoders._events import known_events
from skue.encoders.two_tower._examples import (
    Targets,
    examples_of,
    sequences_of,
    target_events,
)
from skue.encoders.two_tower._linear_start import fitted_linear_map
from skue.encoders.two_tower._model import Arrays, side_by_side
from skue.encoders.two_tower._trainer import trained_length
from skue.encoders.two_tower._training import (
    BestAverage,
    Start,
    TrainingData,
    Validation,
    pooling_from,
)
from skue.histories._fingerprints import LearnedHistories, share_learned
from skue.histories._histories import Histories
from skue.histories._splits import first_of_instant, liked, marked_from, newest_starts
from skue.items._choices import items_by_choice
from skue.items._embedders import CooccurrenceItemEmbedder, item_space
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ScaledFeatures
from skue.items._pair_counts import count_pairs
from skue.items._spectral import learned_items
from skue.kernels._arrays import LONGEST_HISTORY, kept_offsets, owners
from skue.kernels._unit_rows import unit_rows

# Dimensions of both pairs of towers together.
_N_DIMS = 384
# One space of wide neighbourhoods, one of what follows what, and one of who chose what over whole
# histories. Two pairs of towers with different starting points make different errors, so averaging
# them helps.
_WIDE: dict[str, Any] = {"window": 10, "smoothing": 1.0}
_TRANSITIONS: dict[str, Any] = {"window": 5, "smoothing": 0.1, "directed": True}
# Penalties of the linear maps that towers start from. Dimensions of who chose what differ most in
# how much they matter.
_PENALTY, _CHOICE_PENALTY = 0.003, 0.03
# The linear maps are learned from at most this many examples.
_MOST_EXAMPLES = 2**15
# Of a longer log, pairs are counted in the histories of some users, and choices, whose table has a
# row for each user, in those of fewer.
_MOST_EVENTS, _MOST_CHOICES = 2**24, 2**21
# Further users are added for items with fewer events than this among those users.
_ENOUGH_EVENTS = 50


class Space(NamedTuple):
    """A space of items, and the penalty of the linear map that towers start from in it."""

    items: ItemEmbeddings
    penalty: float = _PENALTY


def learned_spaces(
    histories: Histories,
    n_dims: int | Literal["auto"] = "auto",
    n_jobs: int | None = None,
    features: ScaledFeatures | None = None,
) -> list[Space]:
    """Return the spaces that a log can teach, all of the same items.

    Two of them have ``n_dims`` together. Without pairs of different items, there is only one, of
    random directions.
    """
    n_dims = learned_dims(n_dims)
    histories = some_users(histories, _MOST_EVENTS)
    options: dict[str, Any] = {"n_jobs": n_jobs, "features": features}
    wide = learned_items(histories, n_dims // 2, **_WIDE, **options)
    if wide is None:  # random directions, with a warning
        return [Space(CooccurrenceItemEmbedder(n_dims).fit(histories).item_embeddings_)]
    spaces = [Space(wide)]
    transitions = learned_items(histories, n_dims // 2, **_TRANSITIONS, **options)
    if transitions is not None and transitions.n_dims == wide.n_dims:
        spaces.append(Space(_of_the_same_items(transitions, wide.ids)))
    some = some_users(histories, _MOST_CHOICES)
    choices = items_by_choice(some, wide.n_dims, features=features)
    spaces.append(Space(_of_the_same_items(choices, wide.ids), _CHOICE_PENALTY))
    return spaces


def learned_dims(n_dims: int | Literal["auto"]) -> int:
    """Return ``n_dims`` with "auto" resolved; raise if it cannot be shared by two pairs."""
    if n_dims == "auto":
        return _N_DIMS
    if n_dims % 2:
        raise ValueError(
            f"n_dims must be even, because two pairs of towers have half of it each, got {n_dims}."
        )
    return int(n_dims)


def _of_the_same_items(items: ItemEmbeddings, ids: np.ndarray) -> ItemEmbeddings:
    return ItemEmbeddings(vectors_of(items, ids), ids)


def some_users(histories: Histories, most: int) -> Histories:
    """Return the histories of random users, with about ``most`` events at most.

    Users are added until every item has at least 50 events, or all that it has.
    """
    n_events = np.minimum(histories.lengths, LONGEST_HISTORY).sum()
    if n_events <= most:
        return histories
    rng = np.random.default_rng(0)
    share = most / n_events
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
    *,
    decays: tuple[float, ...],
    n_dims: int | Literal["auto"] = "auto",
    max_history: int | None = None,
    n_jobs: int | None = None,
    features: ScaledFeatures | None = None,
) -> TrainingData:
    """Return what to learn in given items, or in the best pair of spaces learned from the log.

    Spaces learned from the histories do not see the held-out events. If ``validation_fraction``
    is None, nothing is held out.
    """
    held_out = held_out_of(histories, validation_fraction, rng)
    _warn_if_learned(item_embeddings, histories, held_out)
    split_rng = np.random.default_rng(rng.integers(np.iinfo(np.int64).max))
    rest = histories._keep_events(~held_out)
    if item_embeddings is None:
        spaces = learned_spaces(rest, n_dims, n_jobs, features)
    else:
        spaces = [Space(item_space(item_embeddings, rest))]
    learned = LearnedHistories.of(histories, held_out)
    data = data_in(spaces[0].items, 1, histories, held_out, learned, split_rng)
    # Decays differ most in the space of transitions.
    best = data.validation.best_average(spaces[:2][-1].items.vectors)
    pooling = pooling_from(best, decays, len(data.items))
    maps = _linear_maps(data.training, spaces, pooling, trained_length(max_history))
    if len(spaces) == 1:
        return data._replace(best=best, linear_maps=maps)
    chosen = _best_pair(data.validation, spaces, pooling, maps)
    vectors = side_by_side([spaces[at].items.vectors for at in chosen])
    return data._replace(
        items=ItemEmbeddings(vectors, data.items.ids),
        n_towers=len(chosen),
        best=best._replace(recall=data.validation.recall_of(best, vectors)),
        linear_maps=[maps[at] for at in chosen if maps],
    )


def _linear_maps(
    training: Targets, spaces: list[Space], pooling: Arrays, max_history: int
) -> list[np.ndarray]:
    """Return the linear map that towers start from in each space; none without examples."""
    if not len(training):
        return []
    events = training.draw(np.random.default_rng(0))[:_MOST_EXAMPLES]
    examples = examples_of(training.sequences, events)
    return [
        fitted_linear_map(
            training.sequences, examples, items.vectors, pooling, penalty, max_history
        )
        for items, penalty in spaces
    ]


def _best_pair(
    validation: Validation, spaces: list[Space], pooling: Arrays, maps: list[np.ndarray]
) -> tuple[int, int]:
    """Return the pair of spaces in which linear maps have the highest validation recall.

    Without validation, it is the first pair.
    """
    pairs = list(itertools.combinations(range(len(spaces)), 2))
    if len(pairs) == 1 or not maps or not len(validation):
        return pairs[0]
    tables = [space.items.vectors for space in spaces]
    users = [
        validation.vectors([pooling | {"linear": linear}], table, None)[0]
        for linear, table in zip(maps, tables, strict=True)
    ]
    recalls = []
    for pair in pairs:
        of_users, of_items = (side_by_side([part[at] for at in pair]) for part in (users, tables))
        recalls.append(float(validation.hits(of_users[None], of_items).mean()))
    return pairs[int(np.argmax(recalls))]


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
    """Return what to learn in a space; the events that ``held_out`` marks validate.

    The best average is not searched for.
    """
    sequences = sequences_of(known_events(items, histories, None))
    held_out_and_known = held_out[items.rows_of(histories) >= 0]
    can = target_events(sequences)
    training = Targets(sequences, can & ~held_out_and_known)
    validating = np.flatnonzero(can & held_out_and_known)
    if len(validating) > _MOST_VALIDATING:
        validating = np.sort(rng.choice(validating, _MOST_VALIDATING, replace=False))
    validation = Validation(sequences, validating)
    return TrainingData(
        items,
        n_towers,
        sequences,
        training,
        validation,
        BestAverage(0.1, 1.0, -1.0),
        np.flatnonzero(held_out),
        learned,
        start,
    )
