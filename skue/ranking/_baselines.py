"""A sequential item-to-item ranker: what follows the newest items of a history."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from skue.encoders._recommender import Pairs, Recommender, ScoreBlock
from skue.histories._forms import validate_histories, with_checked_parameters
from skue.histories._histories import Histories
from skue.histories._splits import is_liked
from skue.items._catalogue import Catalogue
from skue.items._id_lists import Rows
from skue.kernels._topk import apply_limits
from skue.ranking._counts import LogCounts, liked_events


class TransitionItemRanker(Recommender):
    r"""Rank items by what followed the newest items of a history in other histories.

    A fast baseline without vectors, and one of the sources of candidates of
    :class:`TwoStageRecommender`. The score of item j for a history is

    .. math::

        \sum_e e^{-\text{age}_e / 2}\, T_{i(e) j}, \qquad
        T_{ij} = \frac{F_{ij} + F_{ji} / 2}{\sqrt{n_i}\, n_j^{0.1}},

    with :math:`F_{ij}` the sum of 1/distance over all pairs of j at most 5 events (with times,
    instants) after another item i (:math:`F_{ii} = 0`), :math:`n` the number of events, and the
    age of an event in newer events (with times, instants) of the history. Items that do not
    follow any of the history are ranked by popularity, below all others. Events with a weight of
    zero or less are ignored.

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    @with_checked_parameters
    def fit(self, X: Any, y: Any = None) -> Self:
        """Count the transitions.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : None
            Ignored.

        Returns
        -------
        self : TransitionItemRanker

        Raises
        ------
        ValueError
            If no event has a positive weight.
        """
        histories = validate_histories(self, X, reset=True)
        if not is_liked(histories).any():
            raise ValueError("X has no event with a positive weight, so there is nothing to count.")
        self.item_embeddings_ = Catalogue(histories.vocabulary)
        self.counts_ = LogCounts(self.item_embeddings_, histories)
        return self

    def _scores(
        self, histories: Histories, excluded: Pairs | None = None, allowed: Rows | None = None
    ) -> ScoreBlock:
        events = liked_events(self.item_embeddings_, histories)

        def score_block(start: int, stop: int) -> np.ndarray:
            scores = self.counts_.scores_by_transitions(events.of_users(start, stop))
            apply_limits(scores, start, excluded, allowed)
            return scores

        return score_block
