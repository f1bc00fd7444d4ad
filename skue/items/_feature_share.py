"""How much features weigh beside the counts: chosen by held-out events."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings
from skue.kernels._pooling import decayed_averages
from skue.kernels._segments import kept_offsets
from skue.kernels._topk import top_k

# Norms of the features, as shares of the norm of the counts. Without validation, the second.
SHARES = (0.0, 0.15, 0.3, 0.6)
DEFAULT_SHARE = SHARES[1]
_MOST_USERS = 3000
_FEWEST_USERS = 200
_DECAY = 0.3
_K = 20


def chosen_share(
    learner: Callable[[Histories], Callable[[float], ItemEmbeddings]], histories: Histories
) -> float:
    """Return the largest share that is at most one standard error behind the best.

    The newest event of some users is held out, if it is not in the history before. The score is
    the recall@20 of a decayed average of the rest.

    Parameters
    ----------
    learner : callable
        ``learner(histories)(share)`` returns item vectors.
    histories : Histories
    """
    users, held_out = _held_out(histories)
    if len(users) < _FEWEST_USERS:
        return DEFAULT_SHARE
    keep = np.ones(len(histories.codes), dtype=bool)
    keep[held_out] = False
    rest = histories._keep_events(keep)
    targets = histories.item_ids[histories.codes[held_out]]
    learn = learner(rest)
    hits = np.array([_hits(learn(share), rest[users], targets) for share in SHARES], dtype=float)
    best = int(hits.mean(axis=1).argmax())
    behind = hits[best] - hits
    error = behind.std(axis=1) / np.sqrt(len(users))
    return SHARES[int(np.flatnonzero(behind.mean(axis=1) <= error).max())]


def _held_out(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Return some users, and the position of the newest event of each."""
    users = np.flatnonzero(histories.lengths >= 2)
    newest = histories.offsets[1:][users] - 1
    keys = histories.codes[newest]
    owner = np.repeat(np.arange(len(histories)), histories.lengths)
    target_of = np.full(len(histories), -1, dtype=np.int64)
    target_of[users] = keys
    again = np.bincount(owner[histories.codes == target_of[owner]], minlength=len(histories)) > 1
    users, newest = users[~again[users]], newest[~again[users]]
    if len(users) > _MOST_USERS:
        drawn = np.sort(np.random.default_rng(0).choice(len(users), _MOST_USERS, replace=False))
        users, newest = users[drawn], newest[drawn]
    return users, newest


def _hits(items: ItemEmbeddings, histories: Histories, targets: np.ndarray) -> np.ndarray:
    rows = items.rows_of(histories)
    offsets = kept_offsets(histories.offsets, rows >= 0)
    rows = rows[rows >= 0]
    vectors, _ = decayed_averages(rows, offsets, None, None, (_DECAY,), 1.0, items.vectors)
    found, _ = top_k(vectors[0], items.vectors, _K, excluded=(rows, offsets))
    sought = items.lookup(targets)
    can = (sought >= 0) & (np.diff(offsets) > 0)
    return (found == sought[:, None]).any(axis=1) & can
