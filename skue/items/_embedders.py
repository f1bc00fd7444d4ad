"""Item vectors learned from the log, by co-occurrence or by transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.parallel import Parallel, delayed

from skue._estimator import DocumentationLink, atomic_fit, warn_caller
from skue.histories._fingerprints import sample_of_events
from skue.histories._forms import validate_histories, with_checked_parameters
from skue.histories._histories import Histories
from skue.histories._vocabulary import Vocabulary
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures, ScaledFeatures, scaled_features
from skue.kernels._arrays import kept_offsets
from skue.kernels._pair_counts import degree_normalized, n_repeats, pair_counts, renumbered
from skue.kernels._pooling import decayed_averages
from skue.kernels._ridge import best_ridge
from skue.kernels._svd import truncated_svd
from skue.kernels._topk import top_k
from skue.kernels._unit_rows import unit_rows
from skue.reading._ids import is_text, shown

# Number of events counted at a time. A longer history is a chunk of its own.
CHUNK_EVENTS = 2**18


class PairCounts(NamedTuple):
    """Counts of a log, as :func:`skue.kernels._pair_counts.pair_counts` returns them."""

    pairs: sp.csr_array
    # The items of the rows and columns.
    item_ids: np.ndarray
    n_events: int
    n_repeats: int

    @property
    def share_of_repeats(self) -> float:
        """Share of the events whose item occurs earlier in the same history."""
        return self.n_repeats / self.n_events

    def plus(self, later: PairCounts) -> PairCounts:
        """Return the counts of both logs, with the ids of both, sorted if there are new ones."""
        item_ids = self.item_ids
        if not np.array_equal(item_ids, later.item_ids):
            item_ids = _union(item_ids, later.item_ids)
        vocabulary = Vocabulary._trusted(item_ids)
        earlier, newer = (
            renumbered(counts.pairs, vocabulary.lookup(counts.item_ids), len(item_ids))
            for counts in (self, later)
        )
        return PairCounts(
            earlier + newer,
            item_ids,
            self.n_events + later.n_events,
            self.n_repeats + later.n_repeats,
        )


def counted(
    histories: Histories, *, window: int, directed: bool = False, n_jobs: int | None = None
) -> PairCounts:
    """Count the pairs of a log. Events with a weight of zero or less are ignored.

    The counts are exact sums, so they are the same for every number of workers. A memory-mapped
    log is read chunk by chunk.
    """
    n_items = len(histories.vocabulary)
    options = {"window": window, "directed": directed}
    n_events, repeats = 0, 0

    def tables() -> Iterator[sp.csr_array]:
        nonlocal n_events, repeats
        for table, n_counted, n_repeated in _parts(histories, n_items, options, n_jobs):
            n_events, repeats = n_events + n_counted, repeats + n_repeated
            yield table

    pairs = _summed(tables(), n_items)
    return PairCounts(pairs, histories.item_ids, n_events, repeats)


def _parts(
    histories: Histories, n_items: int, options: dict, n_jobs: int | None
) -> Iterator[tuple[sp.csr_array, int, int]]:
    """Yield the counts of every chunk, of two chunks a worker at a time to limit memory."""
    chunks = _chunks(histories.offsets)
    n_workers = min(effective_n_jobs(n_jobs), len(chunks))
    if n_workers < 2:
        yield from (_count(*_columns(histories, users), n_items, options) for users in chunks)
        return
    with Parallel(n_jobs=n_jobs, batch_size=1) as workers:
        for start in range(0, len(chunks), 2 * n_workers):
            yield from workers(
                delayed(_count)(*_columns(histories, users), n_items, options)
                for users in chunks[start : start + 2 * n_workers]
            )


def _chunks(offsets: np.ndarray) -> list[slice]:
    """Return chunks of users that do not depend on the number of workers."""
    bounds = np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK_EVENTS))
    bounds = np.unique(np.append(bounds, len(offsets) - 1)).tolist()
    return [slice(*pair) for pair in pairwise(bounds)]


def _columns(
    histories: Histories, users: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return what workers need of these users; the ids stay here."""
    chunk = histories[users]
    return chunk.codes, chunk.offsets, chunk.timestamps, chunk.weights


def _count(
    codes: np.ndarray,
    offsets: np.ndarray,
    timestamps: np.ndarray | None,
    weights: np.ndarray | None,
    n_items: int,
    options: dict,
) -> tuple[sp.csr_array, int, int]:
    """Return the pairs of a chunk, the number of its events and how many of them are repeats."""
    if weights is not None and (weights <= 0).any():
        keep = weights > 0
        codes, offsets = codes[keep], kept_offsets(offsets, keep)
        timestamps = None if timestamps is None else timestamps[keep]
    pairs = pair_counts(codes, offsets, n_items, timestamps=timestamps, **options)
    return pairs, len(codes), n_repeats(codes, offsets)


def _summed(tables: Iterable[sp.csr_array], n_items: int) -> sp.csr_array:
    """Add tables as they arrive: two at a time, of about equal size, so that adding stays cheap."""
    sums: list[tuple[int, sp.csr_array]] = []
    for total in tables:
        n_added = 1
        while sums and sums[-1][0] == n_added:
            total = sums.pop()[1] + total
            n_added *= 2
        sums.append((n_added, total))
    total = sp.csr_array((n_items, n_items))
    while sums:
        total = sums.pop()[1] + total
    return total


def _union(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    for ids, others in ((earlier, later), (later, earlier)):
        if not len(ids):
            return others
    if is_text(earlier) != is_text(later):
        raise ValueError(
            f"The items of X are {_kind(later)}, but those counted before are {_kind(earlier)}. "
            "Pass ids of one type."
        )
    return np.union1d(earlier, later)


def _kind(ids: np.ndarray) -> str:
    return f"{'text' if is_text(ids) else 'integers'} (such as {shown(ids[0])})"


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


# Between the spectral embedding (0) and vectors whose inner products approximate the counts (1/2).
# With 1/2, the items of a dense log, where a few singular values dominate, would all be similar.
_SPECTRUM_EXPONENT = 0.25
NEGLIGIBLE = 1e-6


def spectral_vectors(
    table: sp.csr_array,
    n_dims: int,
    random_state: np.random.RandomState,
    *,
    directed: bool = False,
    both_sides: bool = True,
    features: Any = None,
    share: float = 0.0,
    n_iter: int | Literal["auto"] = "auto",
) -> np.ndarray:
    r"""Return vectors of the items of a normalised table of counts, not scaled to length 1.

    The vectors are :math:`(U + V) \Sigma^{1/4}`, with :math:`U \Sigma V^T` the truncated singular
    value decomposition of the counts :math:`C`, or :math:`U \Sigma^{1/4}` without ``both_sides``.
    With features :math:`F`, they are :math:`U \Sigma^{1/4}` of :math:`[C, \alpha F]`. Directed
    counts :math:`M` with features are decomposed as :math:`[[M, \alpha F], [\alpha F^T, 0]]`.

    Of a symmetric table, left and right vectors are equal where the eigenvalue is positive. Where
    it is negative, they are opposite, and the sum is zero: along such a direction, items are far
    from those that they appear with.

    Parameters
    ----------
    table : csr_array of shape (n_items, n_items)
    n_dims : int
    random_state : RandomState
    directed : bool, default=False
    both_sides : bool, default=True
    features : csr_array or ndarray of shape (n_items, n_features), default=None
        Rows of length 1 or 0.
    share : float, default=0
        Frobenius norm of :math:`\alpha F`, as a share of that of the counts.
    n_iter : int or "auto", default="auto"
        Number of power iterations of the decomposition.
    """
    n_items = table.shape[0]
    if features is not None and share:
        scaled = _beside(table, features, share)
        blocks = [[table, scaled], [scaled.T, None]] if directed else [[table, scaled]]
        table = sp.csr_array(sp.block_array(blocks, format="csr"))
    n_dims = min(n_dims, n_items)
    left, values, right = truncated_svd(table, n_dims, random_state, n_iter=n_iter)
    right = right.T
    kept = values > NEGLIGIBLE * values[0]
    powers = np.where(kept, values, 0) ** _SPECTRUM_EXPONENT
    both_sides = both_sides and table.shape[0] == table.shape[1]
    return (left + right if both_sides else left)[:n_items] * powers


def predictions(of_features: np.ndarray, rows: Any, otherwise: np.ndarray) -> np.ndarray:
    """Return vectors of items from their features; ``otherwise`` where the features say nothing."""
    vectors = np.asarray(rows @ of_features)
    norms = np.linalg.norm(vectors, axis=1)
    says = norms > NEGLIGIBLE * max(float(norms.max(initial=0)), 1e-30)
    vectors[~says] = otherwise
    return vectors


def _beside(table: sp.csr_array, features: Any, share: float) -> sp.csr_array:
    """Return the features times the factor that puts them beside the counts."""
    norms = [float(np.sqrt((_entries(part) ** 2).sum())) for part in (table, features)]
    factor = share * norms[0] / norms[1] if norms[1] else 0.0
    return sp.csr_array(features * np.float32(factor))


def _entries(table: Any) -> np.ndarray:
    return table.data if sp.issparse(table) else table


# Dimensions in which the share of the features is chosen, and iterations of the decomposition.
_FEW_DIMS, _FEW_ITERATIONS = 48, 2


class Embedded(NamedTuple):
    """Vectors of the items with pairs, before random directions are mixed in."""

    ids: np.ndarray
    vectors: np.ndarray
    share_of_repeats: float
    random_state: np.random.RandomState
    features: ScaledFeatures | None = None

    def to_items(self) -> ItemEmbeddings:
        """Return the items with pairs."""
        return ItemEmbeddings(self._with_own_directions(self.vectors), self.ids)

    def with_all_items(self) -> ItemEmbeddings:
        """Return the items with pairs, and all others that have features."""
        items = self.to_items()
        if self.features is None or not len(ids := self.features.ids_beside(items.ids)):
            return items
        of_features = best_ridge(self.features.of(items.ids), self.vectors)
        mean = self.vectors.mean(axis=0, dtype=np.float64)
        vectors = unit_rows(predictions(of_features, self.features.of(ids), mean))
        return items.extend(self._with_own_directions(vectors), ids)

    def _with_own_directions(self, vectors: np.ndarray) -> np.ndarray:
        """Mix a random direction into each vector, by the share of events that are repeats."""
        share = self.share_of_repeats
        if not share:
            return vectors
        own = unit_rows(self.random_state.normal(size=vectors.shape))
        return np.sqrt(1 - share) * vectors + np.sqrt(share) * own


def embedded(
    counts: PairCounts,
    n_dims: int,
    *,
    smoothing: float,
    random_state: np.random.RandomState,
    directed: bool = False,
    both_sides: bool = True,
    features: ScaledFeatures | None = None,
    share: float = 0.0,
    n_iter: int | Literal["auto"] = "auto",
) -> Embedded:
    """Return vectors of the items with pairs, of which there must be some.

    With features, ``share`` is their norm beside that of the counts.
    """
    table = degree_normalized(counts.pairs, smoothing=smoothing, directed=directed)
    ids, rows = counts.item_ids, None
    if features is not None:
        has_pairs = (np.diff(table.indptr) > 0) | (np.diff(table.tocsc().indptr) > 0)
        table = sp.csr_array(table[has_pairs][:, has_pairs])
        ids = ids[has_pairs]
        rows = features.of(ids)
    vectors = spectral_vectors(
        table,
        n_dims,
        random_state,
        directed=directed,
        both_sides=both_sides,
        features=rows,
        share=share,
        n_iter=n_iter,
    )
    norms = np.linalg.norm(vectors, axis=1)
    has_vector = norms > NEGLIGIBLE * norms.max()
    vectors = unit_rows(vectors[has_vector], norms[has_vector])
    return Embedded(ids[has_vector], vectors, counts.share_of_repeats, random_state, features)


def share_of_features(
    features: ScaledFeatures | None,
    histories: Histories,
    n_dims: int,
    *,
    window: int,
    smoothing: float,
    directed: bool = False,
    n_jobs: int | None = None,
) -> float:
    """Return the share of the features that held-out events choose, in few dimensions."""
    if features is None:
        return 0.0

    def learner(rest: Histories) -> Callable[[float], ItemEmbeddings]:
        counts = counted(rest, window=window, directed=directed, n_jobs=n_jobs)

        def learn(share: float) -> ItemEmbeddings:
            return embedded(
                counts,
                min(n_dims, _FEW_DIMS),
                smoothing=smoothing,
                random_state=np.random.RandomState(0),
                directed=directed,
                features=features,
                share=share,
                n_iter=_FEW_ITERATIONS,
            ).to_items()

        return learn

    return chosen_share(learner, histories)


def learned_vectors(
    histories: Histories,
    n_dims: int,
    *,
    window: int,
    smoothing: float,
    directed: bool = False,
    n_jobs: int | None = None,
    features: ScaledFeatures | None = None,
) -> Embedded | None:
    """Return the item vectors that towers start from, or None if there are no pairs of items.

    They are learned from which items are near each other. With ``directed``, they are learned from
    which follow which: items are similar if the same items come after them, or before them, or one
    comes after the other. Directions of negative eigenvalues are kept, because training can use
    them, and cannot change a column of zeros.
    """
    how: dict[str, Any] = {"window": window, "directed": directed, "n_jobs": n_jobs}
    counts = counted(histories, **how)
    if not counts.pairs.nnz:
        return None
    # Trained towers gain from about twice as many features as the averages that choose the share.
    share = share_of_features(features, histories, n_dims, smoothing=smoothing, **how)
    share = min(2 * share, SHARES[-1])
    return embedded(
        counts,
        n_dims,
        smoothing=smoothing,
        random_state=np.random.RandomState(0),
        directed=directed,
        both_sides=directed,
        features=features,
        share=share,
    )


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
    the file.

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
        What is known of the items. Then all their ids are in ``item_embeddings_``: see Notes.
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
        Number of events counted, without those that are ignored.
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

    @with_checked_parameters
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the vectors.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : None
            Ignored.

        Returns
        -------
        self : CooccurrenceItemEmbedder
        """
        with atomic_fit(self):
            histories = validate_histories(self, X, reset=True)
            self._learn(self._counts_of(histories), histories)
        return self

    @with_checked_parameters
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Add the counts of more users, and learn the vectors again from all counts.

        Every row of X counts as a new user: no pair spans the events of X and those counted
        before. So ``fit(A).partial_fit(B)`` gives the counts, and to the bit the vectors, of one
        ``fit`` on the rows of A and B together, if the item ids of A are sorted. The first call
        is ``fit``. New items are added. If it fails or is interrupted, the embedder is unchanged.

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
            If ``window`` changed since the first counts, if some item ids are text and others
            integers, or if the embedder was fitted by skue 0.1, which did not keep the counts.
        """
        with atomic_fit(self):
            is_first = not hasattr(self, "item_embeddings_")
            if not is_first and not hasattr(self, "pair_counts_"):
                raise ValueError(
                    "This embedder was fitted by a version of skue that did not keep the counts, "
                    "so none can be added. Call fit on all histories."
                )
            if not is_first and self.window != self.window_:
                raise ValueError(
                    f"window={self.window}, but the counts so far are of window={self.window_}. "
                    f"Set window={self.window_}, or call fit on all histories."
                )
            histories = validate_histories(self, X, reset=is_first)
            counts = self._counts_of(histories)
            sampled_before = None
            if not is_first:
                sampled_before = self.item_embeddings_._learned_events
                before = PairCounts(
                    self.pair_counts_, self.counted_item_ids_, self.n_events_, self.n_repeats_
                )
                counts = before.plus(counts)
            self._learn(counts, histories, sampled_before)
        return self

    def _counts_of(self, histories: Histories) -> PairCounts:
        return counted(histories, window=self.window, n_jobs=self.n_jobs)

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
            options: dict[str, Any] = {"smoothing": self.smoothing, "random_state": random_state}
            share = share_of_features(
                features,
                histories,
                self.n_dims,
                window=self.window,
                smoothing=self.smoothing,
                n_jobs=self.n_jobs,
            )
            items = embedded(
                counts, self.n_dims, features=features, share=share, **options
            ).with_all_items()
        else:
            warn_caller(
                "No two items appear together in a history, so the item vectors are random "
                "directions. Pass histories of two or more items, or pass item_embeddings."
            )
            ids = counts.item_ids
            if features is not None:
                ids = np.concatenate([ids, features.ids_beside(ids)])
            vectors = random_state.normal(size=(len(ids), self.n_dims))
            items = ItemEmbeddings(vectors, ids)
        items._learned_events = sample_of_events(histories, sampled_before)
        self.item_embeddings_ = items
        self.pair_counts_, self.counted_item_ids_, self.n_events_, self.n_repeats_ = counts
        self.window_ = self.window

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickles of 0.1 have no n_jobs and no item_features.
        super().__setstate__({"n_jobs": None, "item_features": None, **state})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        return tags


def item_space(given: Any, histories: Histories) -> ItemEmbeddings:
    """Return the items for an encoder's parameter ``item_embeddings``.

    Parameters
    ----------
    given : ItemEmbeddings, array-like, embedder or None
        An embedder is cloned and fitted on the histories. None stands for
        ``CooccurrenceItemEmbedder()``.
    histories : Histories
    """
    if given is None:
        given = CooccurrenceItemEmbedder()
    if isinstance(given, ItemEmbeddings):
        return given
    if not hasattr(given, "fit"):
        return ItemEmbeddings(given)
    embedder = clone(given).fit(histories)
    if not hasattr(embedder, "item_embeddings_"):
        raise ValueError(
            f"item_embeddings={given!r} has no item_embeddings_ after fit. Pass an embedder such "
            "as CooccurrenceItemEmbedder, vectors, or ItemEmbeddings."
        )
    return embedder.item_embeddings_
