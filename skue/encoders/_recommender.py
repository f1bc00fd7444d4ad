"""What every estimator that recommends items can do: ``recommend`` and ``score``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, overload

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skue._estimator import (
    DocumentationLink,
    check_fitted,
    check_positive_int,
    import_optional,
    of_one_fit,
)
from skue._version import __version__
from skue.encoders._events import known_events
from skue.histories._forms import check_columns, validate_histories
from skue.histories._histories import Histories
from skue.histories._targets import target_rows
from skue.items._catalogue import ids_of_rows
from skue.items._id_lists import Rows, limits_of_id_lists
from skue.kernels._ranking import rank_positives
from skue.kernels._ties import expected_hits, tied_groups
from skue.kernels._topk import apply_limits, best_of_rows, blocks_of_users

if TYPE_CHECKING:
    import pandas

Pairs: TypeAlias = tuple[np.ndarray, np.ndarray]
ScoreBlock: TypeAlias = Callable[[int, int], np.ndarray]


class Recommender(DocumentationLink, BaseEstimator):
    """Base class of everything that recommends items: user encoders and item rankers.

    A subclass sets ``item_embeddings_`` in ``fit`` and scores all items of a batch of users in
    ``_score_items``. It gets :meth:`recommend` and :meth:`score`, and the metrics rank by its
    scores.
    """

    item_embeddings_: Any
    # What fit used besides the items and their order. Without it, other items would be best.
    _needs: tuple[str, ...] = ()
    # What stands in for parameters that are None.
    _defaults_of_none: ClassVar[dict[str, str]] = {}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also those of a nested estimator.

        Parameters
        ----------
        **params : dict
            Parameters by name, such as ``item_embeddings__n_dims`` for those of an embedder.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            For a parameter that does not exist, or one of an estimator that is not given.
        """
        own = self.get_params(deep=False) | params
        for name in params:
            outer, nested, _ = name.partition("__")
            if nested and outer in own and not hasattr(own[outer], "set_params"):
                held = "None" if own[outer] is None else f"of type {type(own[outer]).__name__}"
                way_out = self._defaults_of_none.get(outer, "an object with parameters")
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}, because {outer} is {held}. "
                    f"Set {outer}={way_out} first."
                )
        return super().set_params(**params)

    @abstractmethod
    def _score_items(self, histories: Histories) -> np.ndarray:
        """Return the scores of all items for these users, shape (n_users, n_items)."""

    def _scores(
        self, histories: Histories, excluded: Pairs | None = None, allowed: Rows | None = None
    ) -> ScoreBlock:
        """Return a function ``(start, stop) -> scores`` of shape (stop - start, n_items).

        Items that a user may not get score ``-inf``.
        """

        def score_block(start: int, stop: int) -> np.ndarray:
            scores = self._score_items(histories[start:stop])
            apply_limits(scores, start, excluded, allowed)
            return scores

        return score_block

    def _best_items(
        self, histories: Histories, k: int, excluded: Pairs | None, allowed: Rows | None
    ) -> Pairs:
        """Return the rows and scores of each user's k best items, as in ``top_k``."""
        score_block = self._scores(histories, excluded, allowed)
        n_users, n_items = len(histories), len(self.item_embeddings_)
        rows = np.full((n_users, k), -1, dtype=np.int64)
        scores = np.full((n_users, k), -np.inf, dtype=np.float32)
        n_best = min(k, n_items)
        for start, stop in blocks_of_users(n_users, n_items):
            best, found = best_of_rows(score_block(start, stop), n_best)
            rows[start:stop, :n_best], scores[start:stop, :n_best] = best, found
        rows[np.isneginf(scores)] = -1
        return rows, scores

    def _seen(self, histories: Histories) -> Pairs:
        """Return the item rows of the known events, and where those of each user start."""
        events = known_events(self.item_embeddings_, histories)
        return events.rows, events.offsets

    def _read(self, X: Any) -> Histories:
        """Validate X after ``fit``."""
        check_fitted(self, "item_embeddings_")
        vocabulary = self.item_embeddings_.vocabulary
        histories = validate_histories(self, X, reset=False, vocabulary=vocabulary)
        check_columns(self, histories)
        return histories

    @overload
    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        exclude: Any = None,
        allow: Any = None,
        as_frame: Literal[False] = False,
    ) -> tuple[np.ndarray, NDArray[np.float32]]: ...

    @overload
    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        exclude: Any = None,
        allow: Any = None,
        as_frame: Literal[True],
    ) -> pandas.DataFrame: ...

    @of_one_fit
    def recommend(
        self,
        X: Any,
        k: int = 10,
        *,
        exclude_seen: bool = False,
        exclude: Any = None,
        allow: Any = None,
        as_frame: bool = False,
    ) -> Any:
        """Return the k best items of each user.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories of the users who get recommendations.
        k : int, default=10
            Number of items per user.
        exclude_seen : bool, default=False
            Whether to leave out the items of the user's history.
        exclude : array-like of ids, Histories, or one sequence of ids a user, default=None
            Items that are not recommended, one list for all users or one per user. If X and
            these lists carry user ids (Histories, the index of a Series, or the keys of a dict),
            each user gets the list of the same id.
        allow : array-like of ids, Histories, or one sequence of ids a user, default=None
            Only these items are recommended, one list for all users or one per user, as for
            ``exclude``.
        as_frame : bool, default=False
            Whether to return a pandas DataFrame instead of two arrays.

        Returns
        -------
        ids : ndarray of shape (n_users, k)
            Best first. If fewer than k items are left, the rest is -1, or "" for string ids.
        scores : ndarray of shape (n_users, k), float32
            The cosine of user and item. :class:`TwoStageRecommender` and
            :class:`TransitionItemRanker` give their own scores, which only order the items of one
            user. ``-inf`` where no item is left.
        frame : pandas.DataFrame
            Returned instead if ``as_frame=True``: one row per recommendation, with the columns
            ``user`` (``user_ids``, the index of a Series or DataFrame, or row numbers),
            ``item``, ``score`` and ``rank`` (from 1). There are no rows for missing items.

        Examples
        --------
        >>> from skue import DecayAverageUserEncoder, ItemEmbeddings
        >>> items = ItemEmbeddings([[1, 0], [0, 1], [1, 1]], ids=["tea", "cup", "pot"])
        >>> encoder = DecayAverageUserEncoder(items).fit([["tea"], ["cup"]])
        >>> ids, _ = encoder.recommend([["tea"], ["cup"]], k=2, exclude=["pot"])
        >>> ids.tolist()
        [['tea', 'cup'], ['cup', 'tea']]
        >>> encoder.recommend([["tea"]], k=1, exclude_seen=True, as_frame=True).round(2)
           user item  score  rank
        0     0  pot   0.71     1
        """
        check_positive_int("k", k)
        histories, items = self._read(X), self.item_embeddings_
        seen = self._seen(histories) if exclude_seen else None
        excluded, allowed = limits_of_id_lists(
            items,
            len(histories),
            exclude=exclude,
            allow=allow,
            seen=seen,
            user_ids=histories.user_ids,
        )
        rows, scores = self._best_items(histories, int(k), excluded, allowed)
        ids = ids_of_rows(items.ids, rows)
        return _as_frame(ids, scores, users_of(X, histories)) if as_frame else (ids, scores)

    @of_one_fit
    def score(self, X: Any, y: Any) -> float:
        """Return recall@20: the mean share of the held-out items among the 20 best.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            Histories without their held-out items.
        y : array-like of shape (n_users,)
            Held-out item ids, one per user or one array per user.

        Returns
        -------
        recall : float
        """
        histories, items = self._read(X), self.item_embeddings_
        rows, offsets = target_rows(y, len(histories), items.lookup, histories.user_ids, items.ids)
        positives, _ = rank_positives(self._scores(histories), len(items), rows, offsets)
        groups = tied_groups(positives)
        return float(np.mean(expected_hits(groups, 20) / groups.n_relevant))

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        versions = {"skue": __version__}
        modules = {type(value).__module__ for value in state.values()}
        if any(one.startswith("sklearn.") and "frozen" not in one for one in modules):
            versions["scikit-learn"] = sklearn.__version__
        return {_VERSIONS: versions, **state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        _check_versions(type(self), state.pop(_VERSIONS))
        super().__setstate__(state)

    def __reduce__(self) -> tuple[Any, ...]:
        # The versions are checked before the state is read, which may fail in another one.
        state = self.__getstate__()
        return _new, (type(self), state[_VERSIONS]), state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        return tags


_VERSIONS = "_versions"


def _check_versions(cls: type, versions: dict[str, str]) -> None:
    """Raise unless skue is of this version, and scikit-learn, where needed, of this minor one."""
    for package, installed, n_parts in (
        ("skue", __version__, 3),
        ("scikit-learn", sklearn.__version__, 2),
    ):
        version = versions.get(package, installed)
        if version.split(".")[:n_parts] != installed.split(".")[:n_parts]:
            raise ValueError(
                f"This {cls.__name__} was saved with {package} {version}, and this is {package} "
                f"{installed}. Install {package} {version}, or fit it again."
            )


def _new(cls: type[Recommender], versions: dict[str, str]) -> Any:
    """Return an object to restore, or raise if it is of other versions."""
    _check_versions(cls, versions)
    return cls.__new__(cls)


def users_of(X: Any, histories: Histories) -> np.ndarray | None:
    """Return the user ids, or the index of a Series or DataFrame, or None."""
    if histories.user_ids is not None:
        return histories.user_ids
    index = getattr(X, "index", None)
    return np.asarray(index) if hasattr(index, "to_numpy") else None


def _as_frame(ids: np.ndarray, scores: np.ndarray, user_ids: np.ndarray | None) -> pandas.DataFrame:
    """Return recommendations as a long frame, without the places that have no item."""
    users, places = np.nonzero(~np.isneginf(scores))
    return frame_of(
        {
            "user": users if user_ids is None else user_ids[users],
            "item": ids[users, places],
            "score": scores[users, places],
            "rank": places + 1,
        }
    )


def frame_of(columns: dict[str, np.ndarray]) -> pandas.DataFrame:
    """Return columns as a DataFrame with their dtypes.

    pandas would infer a string dtype that cannot hold all text.
    """
    pandas = import_optional("pandas", "io")
    return pandas.DataFrame(
        {name: pandas.Series(column, dtype=column.dtype) for name, column in columns.items()}
    )
