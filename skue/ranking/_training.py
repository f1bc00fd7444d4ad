"""What the second stage learns from: held-out instants, candidates before them, and the choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from skue._estimator import warn_caller
from skue.encoders._pipelines import unwrapped
from skue.encoders.two_tower._encoder import TwoTowerUserEncoder
from skue.histories._histories import Histories
from skue.histories._splits import is_liked, liked, newest_instants
from skue.kernels._arrays import (
    offsets_of,
    owners,
    positions_of_ranges,
    starts_of_runs,
    user_item_keys,
)
from skue.kernels._ties import ideal_dcg
from skue.ranking._candidates import Candidates
from skue.ranking._features import FEATURES, feature_table, ranks_of_user
from skue.ranking._rankers import fitted_ranker, ranker_scores

SHARE = 0.25
"""The share of the users whose newest events are held out, at most :data:`MOST_USERS`."""
MOST_USERS = 10_000
"""The ranker needs no more users, and the table of their candidates has to fit into memory."""
MOST_CANDIDATES = 200_000
"""The ranker learns from at most this many candidates."""
_K = 10
_N_FOLDS = 3
# If a smaller share of the held-out items is in the history, items of the history are left out.
_RARELY_AGAIN = 0.01


def fitted_encoder(
    encoder: Any, histories: Histories, random_state: np.random.RandomState
) -> tuple[Any, np.ndarray, bool]:
    """Fit the encoder without the newest events of some users, and return which these are.

    A two-tower encoder holds out events itself, and they serve the second stage as well. For
    other encoders, the newest instant of a quarter of the users is held out, at most 10,000.

    Returns
    -------
    encoder : fitted encoder
    held_out : ndarray of shape (n_events,), bool
    is_final : bool
        False if the encoder was fitted without events that it would not hold out itself.
    """
    inside = unwrapped(encoder)
    is_frozen = inside is not encoder
    if isinstance(inside, TwoTowerUserEncoder) and (is_frozen or encoder.early_stopping):
        encoder.fit(histories, None)  # a FrozenEstimator needs the y, and does nothing
        held_out = _not_learned(inside, histories, random_state, is_frozen=is_frozen)
        if held_out.any():
            return inside, held_out, True
        if is_frozen:
            warn_caller(
                "The frozen encoder has learned from all events that could be held out, so its "
                "cosines are too good where the second stage learns. Fit the encoder with "
                "early_stopping=True, or on a log without the newest events."
            )
    _, held_out = newest_instants(histories, SHARE, random_state, n_most=MOST_USERS)
    encoder.fit(histories._keep_events(~held_out), None)
    return inside, held_out, is_frozen


def _not_learned(
    encoder: TwoTowerUserEncoder,
    histories: Histories,
    random_state: np.random.RandomState,
    *,
    is_frozen: bool,
) -> np.ndarray:
    """Mark the newest events that a two-tower encoder has not learned from, of some users."""
    held_out = np.zeros(len(histories.codes), dtype=bool)
    if is_frozen:  # it may have been fitted on another log
        n_new, _ = encoder.training_state_.learned.count_new(histories)
    else:
        users = np.searchsorted(histories.offsets, encoder.held_out_, side="right") - 1
        n_new = np.bincount(users, minlength=len(histories))
    rows = np.flatnonzero((n_new > 0) & (n_new < histories.lengths))
    if len(rows) > MOST_USERS:
        rows = np.sort(random_state.choice(rows, MOST_USERS, replace=False))
    held_out[positions_of_ranges(histories.offsets[1:][rows] - n_new[rows], n_new[rows])] = True
    return held_out


class Queries(NamedTuple):
    """Histories before instants that are held out.

    Attributes
    ----------
    users : ndarray of shape (n_queries,)
        The user of each query, numbered from 0.
    histories, answers : Histories
        The events before an instant, and the liked ones of the instant.
    """

    users: np.ndarray
    histories: Histories
    answers: Histories


def queries_before(
    histories: Histories, held_out: np.ndarray, random_state: np.random.RandomState
) -> Queries:
    """Return a query for each held-out instant with a liked event, at most 10,000 at random.

    Several instants of a user are predicted one after the other, as the next instant will be. If
    all were predicted from the first query, the newest events would be missing where tastes move.
    """
    times = histories.timestamps
    if times is None:
        times = np.arange(len(histories.codes))
    bounds = np.flatnonzero(np.append(starts_of_runs(times, histories.offsets), True))
    n_liked = np.append(0, np.cumsum(is_liked(histories)))[bounds]
    chosen = np.flatnonzero(held_out[bounds[:-1]] & (np.diff(n_liked) > 0))
    if len(chosen) > MOST_USERS:
        chosen = np.sort(random_state.choice(chosen, MOST_USERS, replace=False))
    opens, ends = bounds[chosen], bounds[chosen + 1]
    rows = np.searchsorted(histories.offsets, opens, side="right") - 1
    starts = histories.offsets[rows]

    def between(starts: np.ndarray, stops: np.ndarray) -> Histories:
        events = positions_of_ranges(starts, stops - starts)
        return histories._with_events(events, offsets_of(stops - starts), rows)

    users = np.unique(rows, return_inverse=True)[1]
    return Queries(users, between(starts, opens), liked(between(opens, ends)))


class TrainingTable(NamedTuple):
    """Candidates of queries.

    Attributes
    ----------
    queries : ndarray of shape (n_candidates,)
        Row of the query, sorted.
    features : ndarray of shape (n_candidates, n_features), float32
    cosine : ndarray of shape (n_candidates,)
    chosen : ndarray of shape (n_candidates,), bool
        Whether the item is held out.
    users : ndarray of shape (n_queries,)
        The user of each query.
    n_held_out : ndarray of shape (n_queries,)
        Number of distinct held-out items of each query, candidates or not.
    """

    queries: np.ndarray
    features: np.ndarray
    cosine: np.ndarray
    chosen: np.ndarray
    users: np.ndarray
    n_held_out: np.ndarray

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """Return the NDCG@10 of each query with held-out items, ranked by these scores."""
        ranks = ranks_of_user(self.queries, scores)
        gains = np.where(self.chosen & (ranks < _K), 1 / np.log2(ranks + 2), 0.0)
        counted = self.n_held_out > 0
        dcg = np.bincount(self.queries, gains, len(counted))[counted]
        shares: np.ndarray = dcg / ideal_dcg(self.n_held_out[counted], _K)
        return shares


def training_table(
    blocks: Iterable[tuple[int, int, Candidates]], queries: Queries, items: Any
) -> TrainingTable:
    """Return the candidates of all queries, and which of them are held out.

    Parameters
    ----------
    blocks : iterable of (start, stop, Candidates)
        The candidates of a range of queries each.
    queries : Queries
    items : ItemEmbeddings
    """
    answers, n_items = queries.answers, len(items)
    rows = items.rows_of(answers)
    targets = np.unique(user_item_keys(owners(answers.offsets), rows, n_items)[rows >= 0])
    none = np.empty(0, dtype=np.int64)
    parts = [(none, np.empty((0, len(FEATURES)), dtype=np.float32), np.empty(0), none.astype(bool))]
    for start, _, found in blocks:
        keys = user_item_keys(found.users + start, found.rows, n_items)
        features = feature_table(found).astype(np.float32)
        parts.append((keys, features, found.cosine, found.own >= 0))
    keys, features, cosine, own = map(np.concatenate, zip(*parts, strict=True))
    if own[np.isin(keys, targets)].sum() < _RARELY_AGAIN * len(targets):
        # Otherwise any ranker beats the encoder only by ranking items of the history last.
        keys, features, cosine = keys[~own], features[~own], cosine[~own]
    chosen = np.isin(keys, targets)
    n_held_out = np.bincount(targets // n_items, minlength=len(answers))
    return TrainingTable(keys // n_items, features, cosine, chosen, queries.users, n_held_out)


def learned_rows(chosen: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Return the candidates to learn from: the chosen ones, and at least as many others at random.

    There are more than ``MOST_CANDIDATES`` only if more than half of that are chosen.
    """
    rows, n_chosen = np.arange(len(chosen)), np.count_nonzero(chosen)
    n_others = max(MOST_CANDIDATES - n_chosen, n_chosen)
    others = rows[~chosen]
    if len(others) <= n_others:
        return rows
    others = random_state.choice(others, n_others, replace=False)
    return np.sort(np.concatenate([rows[chosen], others]))


def cross_validated(
    table: TrainingTable, rankers: dict[str, Any], random_state: np.random.RandomState
) -> dict[str, np.ndarray]:
    """Return the NDCG@10 of each query, for each second stage, fitted on other users.

    ``"encoder"`` ranks the candidates by their cosine.
    """
    folds = random_state.permutation(table.users.max() + 1)[table.users] % _N_FOLDS
    found = {"encoder": table.ndcg(table.cosine)}
    for name, ranker in rankers.items():
        scores = np.zeros(len(table.queries))
        for fold in range(_N_FOLDS):
            test = folds[table.queries] == fold
            rows = np.flatnonzero(~test)
            if len(np.unique(table.chosen[rows])) < 2:
                return found  # too few users to compare
            if test.any():
                rows = rows[learned_rows(table.chosen[rows], random_state)]
                fitted = fitted_ranker(clone(ranker), table.features[rows], table.chosen[rows])
                scores[test] = ranker_scores(fitted, table.features[test])
        found[name] = table.ndcg(scores)
    return found


def chosen_stage(ndcg: dict[str, np.ndarray]) -> str:
    """Return the second stage with the highest mean NDCG; of equal ones, the simplest.

    It is the encoder if there are too few users to compare.
    """
    return max(ndcg, key=lambda name: ndcg[name].mean()) if len(ndcg) > 2 else "encoder"
