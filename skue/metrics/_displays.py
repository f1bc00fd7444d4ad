"""Curves of recall: computed by ``from_...``, drawn by ``plot``."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skue._optional import import_optional
from skue.kernels._ties import expected_hits
from skue.metrics._evaluation import evaluate
from skue.metrics._recall import ranked_targets
from skue.metrics._scorers import RecallAtK

_KS = (1, 2, 5, 10, 20, 50, 100)
_DECAYS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class RecallCurveDisplay:
    """Recall at k against k, for one encoder; several share one ``ax``.

    Use :meth:`from_estimator` or :meth:`from_predictions`. matplotlib comes with the extra
    ``plot``.

    Parameters
    ----------
    k : array-like of shape (n_points,), int
    recall : array-like of shape (n_points,)
        Recall at each k.
    name : str, default=None
        What the legend says.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The three are set by :meth:`plot`.

    See Also
    --------
    RecallAtK : The number at one k.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, RecallCurveDisplay, leave_last_out
    >>> from skue.datasets import make_user_histories
    >>> data = make_user_histories(n_users=200)
    >>> X, y = leave_last_out(data.histories)
    >>> encoder = DecayAverageUserEncoder(data.item_embeddings).fit(X)
    >>> display = RecallCurveDisplay.from_estimator(encoder, X, y, k=(1, 10, 100))
    >>> bool((display.recall[1:] > display.recall[:-1]).all())
    True
    """

    def __init__(self, k: Any, recall: Any, *, name: str | None = None) -> None:
        self.k = k
        self.recall = recall
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        k: Any = _KS,
        exclude_seen: bool = False,
        normalize: Literal["relevant", "min", "hit"] = "relevant",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> RecallCurveDisplay:
        """Score a fitted estimator at every k, in one pass over the catalogue, and draw.

        Parameters
        ----------
        estimator : encoder, or Pipeline or ColumnTransformer that holds one
            Fitted.
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,)
            Held-out item ids, one or an array of them a user.
        k : array-like of int, default=(1, 2, 5, 10, 20, 50, 100)
        exclude_seen : bool, default=False
            As for :class:`RecallAtK`.
        normalize : {"relevant", "min", "hit"}, default="relevant"
            As for :class:`RecallAtK`.
        name : str, default=None
            What the legend says; by default the estimator's class.
        ax : matplotlib Axes, default=None
            Where to draw; by default on a new figure.
        **kwargs : dict
            For ``ax.plot``.

        Returns
        -------
        display : RecallCurveDisplay
        """
        k = _checked_ks(k)
        evaluation = evaluate(estimator, X, y, exclude_seen=exclude_seen)
        recall = np.array([evaluation.recall(int(at), normalize).mean() for at in k])
        display = cls(k, recall, name=type(estimator).__name__ if name is None else name)
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        user_vectors: Any,
        item_vectors: Any,
        targets: Any,
        *,
        k: Any = _KS,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> RecallCurveDisplay:
        """Score vectors at hand at every k and draw.

        Parameters
        ----------
        user_vectors : array-like of shape (n_users, n_dims)
        item_vectors : array-like of shape (n_items, n_dims), or ItemEmbeddings
        targets : array-like of shape (n_users,)
            As for :func:`recall_at_k`.
        k : array-like of int, default=(1, 2, 5, 10, 20, 50, 100)
        name : str, default=None
            What the legend says.
        ax : matplotlib Axes, default=None
            Where to draw; by default on a new figure.
        **kwargs : dict
            For ``ax.plot``.

        Returns
        -------
        display : RecallCurveDisplay
        """
        k = _checked_ks(k)
        groups = ranked_targets(user_vectors, item_vectors, targets)
        shares = [expected_hits(groups, int(at)) / groups.n_relevant for at in k]
        recall = np.mean(shares, axis=1)
        return cls(k, recall, name=name).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> RecallCurveDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default on a new figure.
        name : str, default=None
            What the legend says, in place of the display's own name.
        **kwargs : dict
            For ``ax.plot``.

        Returns
        -------
        display : RecallCurveDisplay
            Itself, with ``ax_``, ``figure_`` and ``line_``.
        """
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        (self.line_,) = self.ax_.plot(
            self.k, self.recall, **{"marker": "o", "markersize": 4, "label": name, **kwargs}
        )
        self.ax_.set(xscale="log", xlabel="k", ylabel="Recall@k")
        # From 0 to the largest of all curves drawn so far.
        self.ax_.autoscale(axis="y")
        self.ax_.set_ylim(bottom=0)
        self.ax_.set_xticks(self.k, [str(at) for at in self.k])
        self.ax_.minorticks_off()
        if name is not None:
            self.ax_.legend()
        return self


class DecayCurveDisplay:
    """Recall against the decay of an average, over folds of users.

    Use :meth:`from_estimator`. matplotlib comes with the extra ``plot``.

    Parameters
    ----------
    decays : array-like of shape (n_points,)
    scores : array-like of shape (n_points, n_folds)
        Score at each decay, on each fold.
    param_name : str, default="decay"
        The parameter that was varied.
    score_name : str, default="Recall@20"
    name : str, default=None
        What the legend says.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    band_ : matplotlib PolyCollection
        One standard error of the mean over folds on either side. The four are set by :meth:`plot`.

    See Also
    --------
    sklearn.model_selection.ValidationCurveDisplay : For any parameter; a linear or plain
        logarithmic axis has no place for both 0 and small decays.

    Examples
    --------
    >>> from skue import DecayAverageUserEncoder, DecayCurveDisplay, leave_last_out
    >>> from skue.datasets import make_user_histories
    >>> data = make_user_histories(n_users=300, drift_scale=1.0)
    >>> X, y = leave_last_out(data.histories)
    >>> encoder = DecayAverageUserEncoder(data.item_embeddings)
    >>> display = DecayCurveDisplay.from_estimator(encoder, X, y, decays=(0, 0.1, 5), cv=3)
    >>> display.best_decay
    0.1
    """

    def __init__(
        self,
        decays: Any,
        scores: Any,
        *,
        param_name: str = "decay",
        score_name: str = "Recall@20",
        name: str | None = None,
    ) -> None:
        self.decays = decays
        self.scores = scores
        self.param_name = param_name
        self.score_name = score_name
        self.name = name

    @property
    def best_decay(self) -> float:
        """The decay of the best mean score; the smaller one of equals."""
        return float(np.asarray(self.decays)[np.argmax(np.mean(self.scores, axis=1))])

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        param_name: str = "decay",
        decays: Any = _DECAYS,
        scoring: Any = None,
        cv: Any = None,
        n_jobs: int | None = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> DecayCurveDisplay:
        """Cross-validate an estimator at every decay and draw.

        Parameters
        ----------
        estimator : encoder, or Pipeline or ColumnTransformer that holds one
            It is cloned, never fitted itself.
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,)
            Held-out item ids, one or an array of them a user.
        param_name : str, default="decay"
            The parameter to vary; ``"encode__decay"`` inside a pipeline, ``"short_decay"`` of a
            mix.
        decays : array-like of float, default=(0, .01, .02, .05, .1, .2, .5, 1, 2)
        scoring : callable, default=None
            By default ``RecallAtK(20)``.
        cv : int, splitter or iterable of (train, test), default=None
            As for :func:`sklearn.model_selection.cross_val_score`: rows are users, so each fold
            holds users that were not seen.
        n_jobs : int or None, default=None
            Folds scored at a time.
        name : str, default=None
            What the legend says.
        ax : matplotlib Axes, default=None
            Where to draw; by default on a new figure.
        **kwargs : dict
            For ``ax.plot``.

        Returns
        -------
        display : DecayCurveDisplay
        """
        scoring = RecallAtK(20) if scoring is None else scoring
        decays = np.sort(np.asarray(decays, dtype=np.float64).ravel())
        scores = np.array(
            [
                cross_val_score(
                    clone(estimator).set_params(**{param_name: float(decay)}),
                    X,
                    y,
                    scoring=scoring,
                    cv=cv,
                    n_jobs=n_jobs,
                    error_score="raise",
                )
                for decay in decays
            ]
        )
        display = cls(
            decays, scores, param_name=param_name, score_name=_score_name(scoring), name=name
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> DecayCurveDisplay:
        """Draw the mean over folds, with one standard error on either side.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default on a new figure.
        name : str, default=None
            What the legend says, in place of the display's own name.
        **kwargs : dict
            For ``ax.plot``.

        Returns
        -------
        display : DecayCurveDisplay
            Itself, with ``ax_``, ``figure_``, ``line_`` and ``band_``.
        """
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        scores = np.asarray(self.scores, dtype=np.float64)
        mean = scores.mean(axis=1)
        n_folds = scores.shape[1]
        error = (
            scores.std(axis=1, ddof=1) / np.sqrt(n_folds) if n_folds > 1 else np.zeros(len(mean))
        )
        (self.line_,) = self.ax_.plot(
            self.decays, mean, **{"marker": "o", "markersize": 4, "label": name, **kwargs}
        )
        self.band_ = self.ax_.fill_between(
            self.decays, mean - error, mean + error, alpha=0.2, color=self.line_.get_color(), lw=0
        )
        positive = np.asarray(self.decays)[np.asarray(self.decays) > 0]
        # Decay 0 stands beside the smallest other one, which a logarithmic axis has no place for.
        self.ax_.set_xscale("symlog", linthresh=positive.min(initial=1.0))
        self.ax_.set(xlabel=self.param_name.rpartition("__")[2], ylabel=self.score_name)
        if name is not None:
            self.ax_.legend()
        return self


def new_axes() -> Any:
    return import_optional("matplotlib.pyplot", "plot").subplots()[1]


def _checked_ks(k: Any) -> np.ndarray:
    k = np.atleast_1d(np.asarray(k))
    if k.ndim != 1 or not len(k) or k.dtype.kind not in "iu" or k.min() < 1:
        raise ValueError(f"k must be integers of at least 1, got {k.tolist()}.")
    return np.unique(k)


def _score_name(scoring: Any) -> str:
    if isinstance(scoring, RecallAtK):
        return f"Recall@{scoring.k}"
    return type(scoring).__name__ if not isinstance(scoring, str) else scoring
