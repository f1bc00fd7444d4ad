"""The curve of recall against the decay of an average."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skue._optional import new_axes
from skue.metrics._scorers import RecallAtK

_DECAYS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class DecayCurveDisplay:
    """Recall against the decay of an average, cross-validated over users.

    Use :meth:`from_estimator`. Requires matplotlib (extra ``plot``).

    Parameters
    ----------
    decays : array-like of shape (n_points,)
    scores : array-like of shape (n_points, n_folds)
        Score at each decay, on each fold.
    param_name : str, default="decay"
        The parameter that was varied.
    score_name : str, default="Recall@20"
    name : str, default=None
        Label in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    band_ : matplotlib PolyCollection
        One standard error of the mean over folds on either side. All four are set by :meth:`plot`.

    See Also
    --------
    sklearn.model_selection.ValidationCurveDisplay : For any parameter, but without an axis that
        shows both 0 and small decays.

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
        """Decay with the best mean score, the smallest if several are equal."""
        means = np.mean(self.scores, axis=1)
        return float(np.asarray(self.decays)[means == means.max()].min())

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
        """Cross-validate an estimator at every decay and draw the curve.

        Parameters
        ----------
        estimator : encoder, or Pipeline or ColumnTransformer that holds one
            It is cloned and stays unfitted.
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,)
            Held-out item ids, one or an array of ids per user.
        param_name : str, default="decay"
            The parameter to vary, such as ``"encode__decay"`` in a pipeline or ``"short_decay"``
            of a MixedUserEncoder.
        decays : array-like of float, default=(0, .01, .02, .05, .1, .2, .5, 1, 2)
        scoring : callable, default=None
            By default ``RecallAtK(20)``.
        cv : int, splitter or iterable of (train, test), default=None
            As for :func:`sklearn.model_selection.cross_val_score`. Rows are users, so each fold
            scores users that were not used for fitting.
        n_jobs : int or None, default=None
            Number of folds fitted and scored in parallel.
        name : str, default=None
            Label in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on. By default on a new figure.
        **kwargs : dict
            Passed to ``ax.plot``.

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
            Axes to draw on. By default on a new figure.
        name : str, default=None
            Label in the legend. By default the name of the display.
        **kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        display : DecayCurveDisplay
            This display, with ``ax_``, ``figure_``, ``line_`` and ``band_``.
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
        # Linear up to the smallest positive decay, because a logarithmic axis cannot show 0.
        self.ax_.set_xscale("symlog", linthresh=positive.min(initial=1.0))
        self.ax_.set(xlabel=self.param_name.rpartition("__")[2], ylabel=self.score_name)
        if name is not None:
            self.ax_.legend()
        return self


def _score_name(scoring: Any) -> str:
    if isinstance(scoring, RecallAtK):
        return f"Recall@{scoring.k}"
    return type(scoring).__name__ if not isinstance(scoring, str) else scoring
