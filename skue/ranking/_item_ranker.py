"""The base class of rankers that score every item of the catalogue, without vectors."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from skue._estimator import atomic_fit
from skue.encoders._recommender import Pairs, Recommender, ScoreBlock
from skue.histories._forms import columns_used, validate_histories
from skue.histories._histories import Histories
from skue.histories._splits import is_liked
from skue.items._catalogue import Catalogue
from skue.items._id_lists import Rows
from skue.kernels._topk import apply_limits
from skue.ranking._counts import liked_events


class ItemRanker(Recommender):
    """Base class of rankers that score every item of the catalogue.

    A subclass implements one method, ``_score_items(histories)``, which returns the scores of all
    items, of shape (n_users, n_items): the larger, the better. If it learns from a log, it also
    sets its fitted attributes in ``_learn(histories)``. All else follows: ``fit``, ``recommend``
    with its limits, ``score``, and the metrics.

    Both methods receive :class:`Histories` with the events of positive weight of the items in
    ``item_embeddings_``, and ``histories.codes`` are rows of it, that is, columns of the scores.

    Attributes
    ----------
    item_embeddings_ : Catalogue
        The items with an event: their ``ids`` and ``lookup(ids)``. There are no vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    See Also
    --------
    PopularityRanker, OwnFrequencyRanker, SimilarUsersRanker, TransitionItemRanker : Rankers.

    Examples
    --------
    >>> import numpy as np
    >>> from skue import ItemRanker, RecallAtK
    >>> class RatherUnpopular(ItemRanker):
    ...     def _learn(self, histories):
    ...         self.counts_ = np.bincount(histories.codes, minlength=len(self.item_embeddings_))
    ...
    ...     def _score_items(self, histories):
    ...         return np.tile(-self.counts_, (len(histories), 1))
    >>> ranker = RatherUnpopular().fit([["tea", "tea", "cup"], ["tea"]])
    >>> ranker.recommend([["tea"]], k=2)[0].tolist()
    [['cup', 'tea']]
    >>> RecallAtK(1)(ranker, [["tea"]], ["cup"])
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    # Whether times change the scores. If so, X needs them where the log of ``fit`` had them.
    _uses_times: ClassVar[bool] = True

    item_embeddings_: Catalogue

    @property
    def _uses_order(self) -> bool:
        return self._uses_times

    def _learn(self, histories: Histories) -> None:
        """Set the fitted attributes; ``item_embeddings_`` is set already."""

    @atomic_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the events with a positive weight.

        If ``fit`` fails or is interrupted, the ranker is left unchanged.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to learn from, one per user.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If no event has a positive weight.
        """
        histories = validate_histories(self, X, reset=True)
        if not is_liked(histories).any():
            raise ValueError("X has no event with a positive weight, so there is nothing to count.")
        self._needs = columns_used(
            histories, times=self._uses_times, weights=not is_liked(histories).all()
        )
        self.item_embeddings_ = Catalogue(histories.vocabulary)
        self._learn(self._known_likes(histories))
        return self

    def _known_likes(self, histories: Histories) -> Histories:
        """Return the liked events of known items, with the rows of the items as codes."""
        rows, offsets, timestamps, weights, features = liked_events(
            self.item_embeddings_, histories
        )
        vocabulary = self.item_embeddings_.vocabulary
        return Histories._trusted(
            rows, offsets, vocabulary, timestamps, weights, histories.user_ids, features
        )

    def _scores(
        self, histories: Histories, excluded: Pairs | None = None, allowed: Rows | None = None
    ) -> ScoreBlock:
        likes = self._known_likes(histories)

        def score_block(start: int, stop: int) -> np.ndarray:
            scores = np.array(self._score_items(likes[start:stop]), dtype=np.float64)
            expected = stop - start, len(self.item_embeddings_)
            if scores.shape != expected:
                raise ValueError(
                    f"{type(self).__name__}._score_items must return one row a user and one column "
                    f"an item of item_embeddings_, shape {expected}, got {scores.shape}."
                )
            apply_limits(scores, start, excluded, allowed)
            return scores

        return score_block
