"""Choice of the second stage by cross-validation over people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from skue.histories._histories import Histories
from skue.kernels._segments import owners, user_item_keys
from skue.kernels._ties import ideal_dcg
from skue.ranking._candidates import Candidates
from skue.ranking._features import FEATURES, feature_table, ranks_of_user
from skue.ranking._rankers import fitted_ranker, ranker_scores

_K = 10
_N_FOLDS = 3
# If a smaller share of the held-out items is in the history, items of the history are left out.
_RARELY_AGAIN = 0.01


class TrainingTable(NamedTuple):
    """Candidates of queries, which end before an instant that is held out.

    Attributes
    ----------
    users : ndarray of shape (n_candidates,)
        Row of the query, sorted.
    features : ndarray of shape (n_candidates, n_features), float32
    cosine : ndarray of shape (n_candidates,)
    chosen : ndarray of shape (n_candidates,), bool
        Whether the item is held out.
    n_held_out : ndarray of shape (n_users,)
        Number of distinct held-out items of each query, candidates or not.
    """

    users: np.ndarray
    features: np.ndarray
    cosine: np.ndarray
    chosen: np.ndarray
    n_held_out: np.ndarray

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """Return the NDCG@10 of each query with held-out items, ranked by these scores."""
        ranks = ranks_of_user(self.users, scores)
        gains = np.where(self.chosen & (ranks < _K), 1 / np.log2(ranks + 2), 0.0)
        counted = self.n_held_out > 0
        dcg = np.bincount(self.users, gains, len(counted))[counted]
        shares: np.ndarray = dcg / ideal_dcg(self.n_held_out[counted], _K)
        return shares


def training_table(
    blocks: Iterable[tuple[int, int, Candidates]], held_out: Histories, items: Any
) -> TrainingTable:
    """Return the candidates of all queries, and which of them are held out.

    Parameters
    ----------
    blocks : iterable of (start, stop, Candidates)
        The candidates of a range of queries each.
    held_out : Histories
        The held-out events of the queries.
    items : ItemEmbeddings
    """
    n_users, n_items = len(held_out), len(items)
    rows = items.rows_of(held_out)
    targets = np.unique(user_item_keys(owners(held_out.offsets), rows, n_items)[rows >= 0])
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
    n_held_out = np.bincount(targets // n_items, minlength=n_users)
    return TrainingTable(keys // n_items, features, cosine, np.isin(keys, targets), n_held_out)


def cross_validated(
    table: TrainingTable,
    people: np.ndarray,
    rankers: dict[str, Any],
    random_state: np.random.RandomState,
) -> dict[str, np.ndarray]:
    """Return the NDCG@10 of each query, for each second stage, fitted on other people.

    ``"encoder"`` ranks the candidates by their cosine. ``people`` are those of the queries.
    """
    folds = random_state.permutation(people.max() + 1)[people] % _N_FOLDS
    found = {"encoder": table.ndcg(table.cosine)}
    for name, ranker in rankers.items():
        scores = np.zeros(len(table.users))
        for fold in range(_N_FOLDS):
            test = folds[table.users] == fold
            if len(np.unique(table.chosen[~test])) < 2:
                return found  # too few users to compare
            if test.any():
                learned = table.features[~test], table.chosen[~test]
                fitted = fitted_ranker(clone(ranker), *learned)
                scores[test] = ranker_scores(fitted, table.features[test])
        found[name] = table.ndcg(scores)
    return found


def chosen_stage(ndcg: dict[str, np.ndarray]) -> str:
    """Return the second stage to use.

    It is the additive ranker, or the boosted one if that is better by more than a standard error:
    some hundred queries rarely tell two rankers apart. It is the encoder alone if the ranker is
    not better.
    """
    if not {"additive", "boosted"} <= set(ndcg):
        return "encoder"
    more = ndcg["boosted"] - ndcg["additive"]
    best = "boosted" if more.mean() > more.std() / np.sqrt(len(more)) else "additive"
    return best if ndcg[best].mean() > ndcg["encoder"].mean() else "encoder"
