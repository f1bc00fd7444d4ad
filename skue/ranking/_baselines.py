"""Rankers that count: popularity, own events, similar users, and what follows the newest items."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skue.histories._histories import Histories
from skue.histories._splits import newest_instants
from skue.items._choices import counts_of
from skue.kernels._arrays import owners
from skue.metrics._scorers import RecallAtK
from skue.ranking._counts import LogCounts, ages_in_instants, liked_events
from skue.ranking._item_ranker import ItemRanker

# Of betas below 1 one is enough: all of them put the own items first, by their counts.
_BETAS = (0.5, 1.0, 3.0, 10.0, 30.0)
_BETA_USERS = 10_000
_N_RECENT = 25
_LOCALITY = 5.0
_ASYMMETRY = 0.25


class PopularityRanker(ItemRanker):
    """Rank items by their number of events, the same for all users.

    The simplest baseline: whatever it finds, nobody had to be known for. Events with a weight of
    zero or less are not counted.

    Attributes
    ----------
    popularity_ : ndarray of shape (n_items,)
        Number of events of each item. These are the scores.
    item_embeddings_ : Catalogue
        The ids of the items. There are no vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    See Also
    --------
    OwnFrequencyRanker : Adds how often the user chose the item.

    Examples
    --------
    >>> from skue import PopularityRanker
    >>> ranker = PopularityRanker().fit([["tea", "cup"], ["tea"], ["saw"], ["tea", "saw"]])
    >>> ids, scores = ranker.recommend([["saw"]], k=2)
    >>> ids.tolist(), scores.tolist()
    ([['tea', 'saw']], [[3.0, 2.0]])
    """

    _uses_times = False

    def _learn(self, histories: Histories) -> None:
        self.popularity_ = _n_events(histories)

    def _score_items(self, histories: Histories) -> np.ndarray:
        return np.broadcast_to(self.popularity_, (len(histories), len(self.popularity_)))


class OwnFrequencyRanker(ItemRanker):
    r"""Rank items by how often they occur in the history, plus their popularity times beta.

    .. math:: n_{ui} + \beta \, n_i / \max_j n_j,

    with :math:`n_{ui}` the number of events of the user with the item and :math:`n_i` that of all
    users. In logs with repeats, such as purchases of groceries, it is hard to beat. With a beta
    below 1, all own items come first, by their counts, and then the popular ones. Events with a
    weight of zero or less are not counted.

    Parameters
    ----------
    beta : float or "auto", default="auto"
        How much the popularity counts. ``"auto"`` takes the one of .5, 1, 3, 10 and 30 with the
        best recall@10 of the newest instants (without times: the newest events) of at most 10,000
        users, which are held out.

    Attributes
    ----------
    beta_ : float
        The beta that is used.
    popularity_ : ndarray of shape (n_items,)
        Number of events of each item, over that of the most popular one.
    item_embeddings_ : Catalogue
        The ids of the items. There are no vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    See Also
    --------
    PopularityRanker : Does not know the user.

    References
    ----------
    M. Li, S. Jullien, M. Ariannezhad, M. de Rijke (2023). A next basket recommendation reality
    check. ACM Transactions on Information Systems 41 (there: G-TopFreq and GP-TopFreq).

    Examples
    --------
    >>> from skue import OwnFrequencyRanker
    >>> log = [["tea", "cup", "tea"], ["saw", "pot", "saw"], ["pot", "pot"]]
    >>> ranker = OwnFrequencyRanker(beta=0.5).fit(log)
    >>> ids, scores = ranker.recommend([["cup", "tea", "cup"]], k=3)
    >>> ids.tolist()
    [['cup', 'tea', 'pot']]
    """

    _uses_times = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "beta": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")]
    }

    def __init__(self, beta: float | Literal["auto"] = "auto") -> None:
        self.beta = beta

    def _learn(self, histories: Histories) -> None:
        counts = _n_events(histories)
        self.popularity_ = counts / counts.max()
        self.beta_ = _best_beta(histories) if self.beta == "auto" else float(self.beta)

    def _score_items(self, histories: Histories) -> np.ndarray:
        own = counts_of(histories).toarray()
        own += self.beta_ * self.popularity_
        return own


class SimilarUsersRanker(ItemRanker):
    r"""Rank items by how often similar users chose them lately (UP-CF).

    .. math::

        \sum_v \left( \frac{|I_u \cap I_v|}{|I_u|^{1/4} |I_v|^{3/4}} \right)^5 r_{vi} + r_{ui},

    with :math:`I_u` the items of user u, v each user of the log, and :math:`r_{vi}` the share of
    the 25 newest instants (without times: events) of user v that have item i. A baseline for
    baskets. Every query is compared with every user of the log, so time and memory grow with the
    square of their number. Events with a weight of zero or less are not counted.

    Attributes
    ----------
    users_ : csr_array of shape (n_users, n_items)
        1 for each item of each user of the log.
    recent_ : csr_array of shape (n_users, n_items)
        Share of the newest instants of each user that have an item.
    item_embeddings_ : Catalogue
        The ids of the items. There are no vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    References
    ----------
    G. Faggioli, M. Polato, F. Aiolli (2020). Recency aware collaborative filtering for next
    basket recommendation. UMAP.

    Examples
    --------
    >>> from skue import SimilarUsersRanker
    >>> log = [["tea", "cup", "pot"], ["saw", "nail"], ["saw", "pot"]]
    >>> ranker = SimilarUsersRanker().fit(log)
    >>> ids, _ = ranker.recommend([["tea", "cup"]], k=1, exclude_seen=True)
    >>> ids.tolist()
    [['pot']]
    """

    def _learn(self, histories: Histories) -> None:
        self.users_, self.recent_ = _marked(histories), _recent_shares(histories)

    def _score_items(self, histories: Histories) -> np.ndarray:
        own = _marked(histories)
        shared = (own @ self.users_.T).tocoo()
        sizes, others = np.diff(own.indptr), np.diff(self.users_.indptr)
        scale = sizes[shared.row] ** _ASYMMETRY * others[shared.col] ** (1 - _ASYMMETRY)
        similarity = (shared.data / scale) ** _LOCALITY
        neighbours = sp.csr_array((similarity, (shared.row, shared.col)), shape=shared.shape)
        return (neighbours @ self.recent_ + _recent_shares(histories)).toarray()


class TransitionItemRanker(ItemRanker):
    r"""Rank items by what followed the newest items of a history in other histories.

    A fast baseline for sequences, and one of the sources of candidates of
    :class:`TwoStageRecommender`. The score of item j for a history is

    .. math::

        \sum_i \max\Bigl(\sum_{e: i(e) = i} e^{-\text{age}_e / 2},\ 10^{-12}\Bigr) T_{ij}, \qquad
        T_{ij} = \frac{F_{ij} + F_{ji} / 2}{\sqrt{n_i}\, n_j^{0.1}},

    with :math:`F_{ij}` the sum of 1/distance over all pairs of j at most 5 events (with times,
    instants) after another item i (:math:`F_{ii} = 0`), :math:`n` the number of events, and the
    age of an event e of the history in newer events (with times, instants). :math:`F` and :math:`n`
    are of the 10,000 newest events of each history. Items that do not follow any of the history are
    ranked by popularity, below all others. Events with a weight of zero or less are ignored.

    Three limits keep logs of large baskets fast: an instant after the next one counts only if at
    most 100 events lie in between, each item i keeps its 200 largest :math:`T_{ij}`, and the sum is
    over the 50 items of a history with the largest weights.

    Attributes
    ----------
    counts_ : LogCounts
        The table of transitions, and counts of the items.
    item_embeddings_ : Catalogue
        The ids of the items. There are no vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    See Also
    --------
    TwoStageRecommender : Combines this score with user vectors and counts.

    References
    ----------
    M. Ludewig, D. Jannach (2018). Evaluation of session-based recommendation algorithms. User
    Modeling and User-Adapted Interaction 28 (sequential rules).

    Examples
    --------
    >>> from skue import TransitionItemRanker
    >>> ranker = TransitionItemRanker().fit([["tea", "cup"], ["tea", "cup", "pot"], ["saw"]])
    >>> ids, scores = ranker.recommend([["tea"]], k=2)
    >>> ids.tolist()
    [['cup', 'pot']]
    """

    def _learn(self, histories: Histories) -> None:
        self.counts_ = LogCounts(self.item_embeddings_, histories)

    def _score_items(self, histories: Histories) -> np.ndarray:
        return self.counts_.scores_by_transitions(liked_events(self.item_embeddings_, histories))


def _best_beta(histories: Histories) -> float:
    """Return the beta with the best recall@10 of newest instants, learned without them."""
    rows, held_out = newest_instants(histories, 1.0, check_random_state(0), n_most=_BETA_USERS)
    if not len(rows):
        return _BETAS[0]
    earlier, answers = histories._keep_events(~held_out), histories._keep_events(held_out)
    recall = RecallAtK(10, normalize="min")
    recalls = [
        recall(OwnFrequencyRanker(beta).fit(earlier), earlier[rows], list(answers[rows]))
        for beta in _BETAS
    ]
    return _BETAS[int(np.argmax(recalls))]


def _n_events(histories: Histories) -> np.ndarray:
    """Return the number of events of each item."""
    return np.bincount(histories.codes, minlength=len(histories.item_ids)).astype(np.float64)


def _marked(histories: Histories) -> sp.csr_array:
    """Return 1 for each item of each user."""
    counts = counts_of(histories)
    counts.data[:] = 1.0
    return counts


def _recent_shares(histories: Histories) -> sp.csr_array:
    """Return the share of the newest instants of each user that have an item."""
    users, ages = owners(histories.offsets), ages_in_instants(histories)
    n_instants = np.zeros(len(histories))
    np.maximum.at(n_instants, users, ages + 1)
    # An item counts once an instant.
    distinct = np.unique(np.column_stack([users, ages, histories.codes]).astype(np.int64), axis=0)
    users, ages, rows = distinct[distinct[:, 1] < _N_RECENT].T
    shares = 1 / np.minimum(n_instants, _N_RECENT)[users]
    return sp.csr_array((shares, (users, rows)), shape=(len(histories), len(histories.item_ids)))
