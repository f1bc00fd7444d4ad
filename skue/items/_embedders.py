"""Item vectors learned from co-occurrence, and the items of an encoder's ``item_embeddings``."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_memory

from skue._estimator import DocumentationLink, atomic_fit, warn_caller
from skue._version import __version__
from skue.histories._fingerprints import content_hash, sample_of_events
from skue.histories._forms import validate_histories
from skue.histories._histories import Histories
from skue.histories._splits import liked
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures, scaled_features
from skue.items._pair_counts import PairCounts, count_pairs
from skue.items._spectral import chosen_share, spectral_items


class CooccurrenceItemEmbedder(DocumentationLink, BaseEstimator):
    r"""Item vectors learned from items that appear near one another in histories.

    Pairs of items within a window are counted, a pair at distance :math:`d` as :math:`1/d`. The
    counts :math:`C` are divided by how often the two items appear near any item,

    .. math:: \frac{C_{ij}}{\sqrt{(d_i + \tau)(d_j + \tau)}}, \qquad d_i = \sum_j C_{ij},

    and the truncated singular value decomposition :math:`U \Sigma V^T` of the result gives the
    item vectors :math:`(U + V) \Sigma^{1/4}`, scaled to length 1. This is a regularized spectral
    embedding of the graph of items. As :math:`V = -U` where an eigenvalue is negative, directions
    that separate items from those they appear with are left out. Events with a weight of zero or
    less are ignored. Items of one instant (a basket) are at distance 1, whatever their order in
    the file. To bound what a bot can cost, only the 10,000 newest events of a history are counted,
    and of :math:`n` events in large baskets, each with :math:`2^{24} / n` later ones at most. Items
    of older events alone are unknown.

    If users return to the same items, an item predicts itself better than its neighbours, which
    a truncated decomposition cannot represent. Therefore, if a share :math:`\alpha` of the events
    repeats an earlier item of the same history, each vector is :math:`\sqrt{1 - \alpha}` times
    the vector above plus :math:`\sqrt{\alpha}` times a random direction per item.

    Parameters
    ----------
    n_dims : int, default=128
        Number of dimensions, limited to the number of items.
    window : int, default=5
        Largest distance of a pair, in events, or in instants if there are timestamps.
    smoothing : float, default=0.1
        :math:`\tau` as a share of the mean of :math:`d`. Prevents a few rare items that only
        appear together from taking up a dimension.
    item_features : ItemFeatures, default=None
        Features of the items. Then all their ids are in ``item_embeddings_``: see Notes.
    random_state : int, RandomState instance or None, default=0
        Seed of the decomposition and of the random directions. Fixed by default, so that fitting
        again on the same log gives the same space and stored vectors stay valid.
    n_jobs : int, default=None
        Number of joblib workers that count pairs, each a chunk of users at a time. The vectors
        are bit for bit the same for every number of workers.

    Attributes
    ----------
    item_embeddings_ : ItemEmbeddings
        The items with at least one pair, and those of ``item_features``. All other items are
        unknown.
    pair_counts_ : csr_array of shape (n_counted_items, n_counted_items), float64
        Counts of the pairs, in the upper triangle, to which :meth:`partial_fit` adds. About
        12 bytes per pair of items. Encoders do not keep it.
    counted_item_ids_ : ndarray of shape (n_counted_items,)
        Items of the rows and columns of ``pair_counts_``.
    n_events_ : int
        Number of events counted.
    n_repeats_ : int
        Number of those events whose item occurs earlier in the same history.
    window_ : int
        The window of ``pair_counts_``.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    Warns
    -----
    UserWarning
        If no two items appear together. The vectors are then random directions.

    Notes
    -----
    With ``item_features``, the decomposition is that of :math:`[C, \alpha F]`: normalised counts,
    and beside them the rows :math:`F` of features, at length 1, in which rare indicators weigh
    more (inverse document frequency). The vectors are then :math:`U \Sigma^{1/4}`. The row of an
    item with many events is mostly counts, that of an item with few mostly features. Items without
    a pair get what a ridge regression of the vectors on the features predicts; held-out items
    choose its penalty.

    References
    ----------
    T. Qin, K. Rohe (2013). Regularized spectral clustering under the degree-corrected stochastic
    blockmodel. NeurIPS.

    O. Levy, Y. Goldberg, I. Dagan (2015). Improving distributional similarity with lessons
    learned from word embeddings. Transactions of the ACL 3 (weights by distance, powers of the
    singular values).

    Examples
    --------
    >>> from skue import CooccurrenceItemEmbedder
    >>> embedder = CooccurrenceItemEmbedder(n_dims=4)
    >>> items = embedder.fit([["tea", "cup"], ["cup", "tea"], ["nail", "saw"]]).item_embeddings_
    >>> items
    ItemEmbeddings(n_items=4, n_dims=4)
    >>> items.similar_items(["tea"], k=1)[0]
    array([['cup']], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_dims": [Interval(Integral, 1, None, closed="left")],
        "window": [Interval(Integral, 1, None, closed="left")],
        "smoothing": [Interval(Real, 0, None, closed="left")],
        "item_features": [None, ItemFeatures],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        n_dims: int = 128,
        *,
        window: int = 5,
        smoothing: float = 0.1,
        item_features: ItemFeatures | None = None,
        random_state: Any = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.n_dims = n_dims
        self.window = window
        self.smoothing = smoothing
        self.item_features = item_features
        self.random_state = random_state
        self.n_jobs = n_jobs

    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the vectors.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to learn from, one per user.
        y : None
            Ignored.

        Returns
        -------
        self : CooccurrenceItemEmbedder
        """
        histories = validate_histories(self, X, reset=True)
        self._learn(self._counts_of(histories), histories)
        return self

    @atomic_fit
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Add the counts of more users, and learn the vectors again from all counts.

        Every row of X counts as a new user: no pair spans the events of X and those counted
        before. So ``fit(A).partial_fit(B)`` gives the counts, and to the bit the vectors, of one
        ``fit`` on the rows of A and B together. The first call is ``fit``. New items are added.
        If it fails or is interrupted, the embedder is unchanged.

        Item vectors change as a whole: the new space has another ``space_id``. With
        ``item_features``, the events of X alone choose how much the features weigh.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            It may be without events, except in the first call.
        y : None
            Ignored.

        Returns
        -------
        self : CooccurrenceItemEmbedder

        Raises
        ------
        ValueError
            If ``window`` changed since the first counts, or if some item ids are text and others
            integers.
        """
        if not hasattr(self, "item_embeddings_"):
            return self.fit(X)
        if self.window != self.window_:
            raise ValueError(
                f"window={self.window}, but the counts so far are of window={self.window_}. "
                f"Set window={self.window_}, or call fit on all histories."
            )
        before = PairCounts(
            self.pair_counts_, self.counted_item_ids_, self.n_events_, self.n_repeats_
        )
        histories = validate_histories(self, X, reset=False)
        counts = before.plus(self._counts_of(histories))
        self._learn(counts, histories, self.item_embeddings_._learned_events)
        return self

    def _counts_of(self, histories: Histories) -> PairCounts:
        counted = liked(histories)._with_used_items()
        return count_pairs(counted, window=self.window, n_jobs=self.n_jobs)

    def _learn(
        self, counts: PairCounts, histories: Histories, sampled_before: np.ndarray | None = None
    ) -> None:
        """Set the fitted attributes."""
        if not counts.n_events:
            held = "only events of weight zero or less" if len(histories.codes) else "no event"
            raise ValueError(
                f"X holds {held}, so no item vectors can be learned. Pass histories with events, "
                "or pass item_embeddings to the encoder."
            )
        random_state = check_random_state(self.random_state)
        features = scaled_features(self.item_features, histories)
        if counts.pairs.nnz:
            window, smoothing, n_jobs = self.window, self.smoothing, self.n_jobs
            share = chosen_share(
                features, histories, self.n_dims, window=window, smoothing=smoothing, n_jobs=n_jobs
            )
            items = spectral_items(
                counts,
                self.n_dims,
                random_state,
                smoothing=smoothing,
                features=features,
                share=share,
                with_all_features=True,
            )
        else:
            warn_caller(
                "No two items appear together in a history, so the item vectors are random "
                "directions. Pass histories of two or more items, or pass item_embeddings."
            )
            ids = counts.item_ids
            if features is not None:
                ids = np.concatenate([ids, features.ids_beside(ids)])
            items = ItemEmbeddings(random_state.normal(size=(len(ids), self.n_dims)), ids)
        items._learned_events = sample_of_events(histories, sampled_before)
        self.item_embeddings_ = items
        self.pair_counts_, self.counted_item_ids_, self.n_events_, self.n_repeats_ = counts
        self.window_ = self.window

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        return tags


def no_items(n_dims: int, histories: Histories) -> ItemEmbeddings:
    """Return a space without items, for histories to learn nothing from, and warn."""
    held = "only events of weight zero or less" if len(histories.codes) else "no event"
    warn_caller(
        f"X holds {held}, so no item vectors can be learned, and every user gets the same vector. "
        "Pass histories with events, or pass item_embeddings."
    )
    return ItemEmbeddings(np.empty((0, n_dims)), histories.item_ids[:0])


def item_space(given: Any, histories: Histories, memory: Any = None) -> ItemEmbeddings:
    """Return the items for an encoder's parameter ``item_embeddings``.

    Parameters
    ----------
    given : ItemEmbeddings, array-like, embedder or None
        An embedder is cloned and fitted on the histories. None stands for
        ``CooccurrenceItemEmbedder()``.
    histories : Histories
    memory : path, joblib.Memory or None, default=None
        Keeps what is learned, and gives it back for the same histories and embedder.
    """
    given = CooccurrenceItemEmbedder() if given is None else given
    if isinstance(given, ItemEmbeddings):
        return given
    if not hasattr(given, "fit"):
        return ItemEmbeddings(given)
    if memory is None:
        return _learned_items(clone(given), histories)
    memory = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)
    # The hash stands for the histories, because joblib would hash text ids one by one.
    learn = memory.cache(_learned_items, ignore=["histories"])
    items: ItemEmbeddings = learn(clone(given), histories, content_hash(histories), __version__)
    return items


def _learned_items(embedder: Any, histories: Histories, *key: str) -> ItemEmbeddings:
    """Fit the embedder, and return its items. The key only names the result in a memory."""
    embedder.fit(histories)
    if not hasattr(embedder, "item_embeddings_"):
        raise ValueError(
            f"item_embeddings={embedder!r} has no item_embeddings_ after fit. Pass an embedder "
            "such as CooccurrenceItemEmbedder, vectors, or ItemEmbeddings."
        )
    items: ItemEmbeddings = embedder.item_embeddings_
    return items
