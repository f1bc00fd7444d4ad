"""Where new items start: at their neighbours."""

from __future__ import annotations

import numpy as np

from skue.histories._histories import Histories
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._pair_counts import counted
from skue.kernels._rows import unit_rows
from skue.kernels._segments import owners

_WINDOW = 5
_NEGLIGIBLE = 1e-6
# In the second round, items whose neighbours are all new start at those neighbours.
_N_ROUNDS = 2


def with_new_items(items: ItemEmbeddings, n_towers: int, histories: Histories) -> ItemEmbeddings:
    r"""Return a larger catalogue that also has the new items of a log.

    In the block of each tower, a new item :math:`i` starts at the normalised

    .. math:: \sum_j \frac{C_{ij}}{\sqrt{n_j}}\, v_j

    over its neighbours :math:`j`, where :math:`C_{ij}` counts how often both are near one another
    and :math:`n_j` the events of :math:`j`. As in :class:`CooccurrenceItemEmbedder`, if a share of
    the events are repeats, a random direction per item is mixed in, and items without neighbours
    stay unknown.

    Parameters
    ----------
    items : ItemEmbeddings
        Vectors of ``n_towers`` blocks of equal width and length.
    n_towers : int
    histories : Histories

    Returns
    -------
    items : ItemEmbeddings
        The same object if there are no new items.
    """
    if items.vocabulary.map_of(histories.vocabulary)[1]:
        return items
    if histories.weights is not None:
        histories = histories._keep_events(histories.weights > 0)
    rows = items.lookup(histories.item_ids)
    n_events = np.bincount(histories.codes, minlength=len(rows))
    new = np.flatnonzero((rows < 0) & (n_events > 0))
    if not len(new):
        return items
    has_new = np.unique(owners(histories.offsets)[(rows < 0)[histories.codes]])
    counts = counted(histories[has_new], window=_WINDOW)
    near = counts.pairs + counts.pairs.T
    weights = near[new].multiply(1 / np.sqrt(np.maximum(n_events, 1))).tocsr()
    blocks = np.zeros((len(rows), n_towers, items.n_dims // n_towers), dtype=np.float32)
    known = rows >= 0
    blocks[known] = items.vectors[rows[known]].reshape(-1, *blocks.shape[1:])
    for _ in range(_N_ROUNDS):
        means = (weights @ blocks.reshape(len(rows), -1)).reshape(-1, *blocks.shape[1:])
        norms = np.linalg.norm(means, axis=2)
        mass = np.asarray(weights @ known.astype(np.float32)).ravel()
        placed = ~known[new] & (norms > _NEGLIGIBLE * mass[:, None]).all(axis=1)
        blocks[new[placed]] = means[placed] / (norms[placed] * np.sqrt(n_towers))[:, :, None]
        known[new[placed]] = True
    new = new[known[new]]
    if not len(new):
        return items
    vectors = _with_own_directions(blocks[new], counts.share_of_repeats)
    return items.extend(vectors, histories.item_ids[new])


def _with_own_directions(blocks: np.ndarray, share: float) -> np.ndarray:
    """Mix a random direction into each block, and return the rows."""
    if share:
        own = np.random.default_rng(0).standard_normal(blocks.shape).reshape(-1, blocks.shape[2])
        own = unit_rows(own).reshape(blocks.shape) / np.sqrt(blocks.shape[1])
        blocks = np.sqrt(1 - share) * blocks + np.sqrt(share) * own
        lengths = np.linalg.norm(blocks, axis=2, keepdims=True) * np.sqrt(blocks.shape[1])
        blocks = blocks / np.where(lengths > 0, lengths, 1)
    return blocks.reshape(len(blocks), -1)
