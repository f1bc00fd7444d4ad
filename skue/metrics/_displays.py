"""Curves: recall against decay, recall against k, and loss against epochs."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import check_cv, cross_val_score

from skue._estimator import new_axes
from skue.kernels._ties import expected_hits
from skue.metrics._evaluation import evaluate
from skue.metrics._scorers import RecallAtK, ranked_targets

_DECAYS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class DecayCurveDisplay:
    """Recall against the decay of an average, cross-validated over users.

    Use :meth:`from_estimator`. Requires matplotlib (extra ``plot``).

    Parameters
    ----------
    decays : array-like of shape (n_points,)
        The decays, on the horizontal axis.
    scores : array-like of shape (n_points, n_folds)
        Score at each decay, on each fold.
    param_name : str, default="decay"
        The parameter that was varied.
    score_name : str, default="Recall@20"
        Label of the vertical axis.
    name : str, default=None
        Label in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the curve.
    figure_ : matplotlib Figure
        The figure of the axes.
    line_ : matplotlib Line2D
        The mean over folds.
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
            Histories without their held-out items.
        y : array-like of shape (n_users,)
            Held-out item ids, one or an array of ids per user.
        param_name : str, default="decay"
            The parameter to vary, such as ``"encode__decay"`` in a pipeline or ``"short_decay"``
            of a MixedUserEncoder.
        decays : array-like of float, default=(0, .01, .02, .05, .1, .2, .5, 1, 2)
            Values of the parameter; they are sorted.
        scoring : callable, default=None
            By default ``RecallAtK(20)``.
        cv : int, splitter or iterable of (train, test), default=None
            As for :func:`sklearn.model_selection.cross_val_score`. Rows are users, so each fold
            scores users that were not used for fitting. All decays are scored on the same folds,
            and item vectors are learned once for each fold.
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
        cv = list(check_cv(cv).split(X, y))
        estimator = clone(estimator)
        prefix, separator, _ = param_name.rpartition("__")
        memory = f"{prefix}{separator}memory"  # of the encoder whose decay is varied
        with TemporaryDirectory() as folder:
            if estimator.get_params().get(memory, folder) is None:
                estimator.set_params(**{memory: folder})
            scores = np.array(
                [
                    cross_val_score(
                        estimator.set_params(**{param_name: float(decay)}),
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


_KS = (1, 2, 5, 10, 20, 50, 100)


class RecallCurveDisplay:
    """Recall at k against k. Several displays can share one ``ax``.

    Use :meth:`from_estimator` or :meth:`from_predictions`. Requires
    matplotlib, which comes with the extra ``plot``.

    Parameters
    ----------
    k : array-like of shape (n_points,), int
        The numbers of items, on the horizontal axis.
    recall : array-like of shape (n_points,)
        Recall at each k.
    name : str, default=None
        Label in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the curve.
    figure_ : matplotlib Figure
        The figure of the axes.
    line_ : matplotlib Line2D
        All three are set by :meth:`plot`.

    See Also
    --------
    RecallAtK : Recall at a single k.

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
        """Score a fitted estimator at every k, from one ranking, and draw the curve.

        Parameters
        ----------
        estimator : encoder, or Pipeline or ColumnTransformer that holds one
            Fitted.
        X : Histories or any form that :func:`skue.as_histories` reads
            Histories without their held-out items.
        y : array-like of shape (n_users,)
            Held-out item ids, one or an array of ids per user.
        k : array-like of int, default=(1, 2, 5, 10, 20, 50, 100)
            Numbers of items at which recall is measured.
        exclude_seen : bool, default=False
            As for :class:`RecallAtK`.
        normalize : {"relevant", "min", "hit"}, default="relevant"
            As for :class:`RecallAtK`.
        name : str, default=None
            Label in the legend. By default the estimator's class.
        ax : matplotlib Axes, default=None
            Axes to draw on. By default on a new figure.
        **kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        display : RecallCurveDisplay
        """
        k = _checked_ks(k)
        evaluation = evaluate(estimator, X, y, exclude_seen=exclude_seen)
        metrics = [RecallAtK(int(at), normalize=normalize) for at in k]
        recall = np.array([metric.per_user(evaluation).mean() for metric in metrics])
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
        """Score given vectors at every k and draw the curve.

        Parameters
        ----------
        user_vectors : array-like of shape (n_users, n_dims)
            One vector per user.
        item_vectors : array-like of shape (n_items, n_dims), or ItemEmbeddings
            One vector per item of the catalogue, in the same space.
        targets : array-like of shape (n_users,)
            As for :func:`recall_at_k`.
        k : array-like of int, default=(1, 2, 5, 10, 20, 50, 100)
            Numbers of items at which recall is measured.
        name : str, default=None
            Label in the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on. By default on a new figure.
        **kwargs : dict
            Passed to ``ax.plot``.

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
            Axes to draw on. By default on a new figure.
        name : str, default=None
            Label in the legend. By default the name of the display.
        **kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        display : RecallCurveDisplay
            This display, with ``ax_``, ``figure_`` and ``line_``.
        """
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        (self.line_,) = self.ax_.plot(
            self.k, self.recall, **{"marker": "o", "markersize": 4, "label": name, **kwargs}
        )
        self.ax_.set(xscale="log", xlabel="k", ylabel="Recall@k")
        # From 0 to the maximum of all curves on these axes.
        self.ax_.autoscale(axis="y")
        self.ax_.set_ylim(bottom=0)
        self.ax_.set_xticks(self.k, [str(at) for at in self.k])
        self.ax_.minorticks_off()
        if name is not None:
            self.ax_.legend()
        return self


def _checked_ks(k: Any) -> np.ndarray:
    k = np.atleast_1d(np.asarray(k))
    if k.ndim != 1 or not len(k) or k.dtype.kind not in "iu" or k.min() < 1:
        raise ValueError(f"k must be integers of at least 1, got {k.tolist()}.")
    return np.unique(k)


class TrainingCurveDisplay:
    """Loss and validation recall of a :class:`TwoTowerUserEncoder`, epoch by epoch.

    Use :meth:`from_estimator`. Requires matplotlib (extra ``plot``).

    Parameters
    ----------
    loss : array-like of shape (n_epochs,)
        Mean training loss of every epoch.
    validation_scores : array-like of shape (n_epochs + 1,), or empty
        Validation recall before training and after every epoch.
    best_iter : int
        Epoch whose weights were kept. 0 is the average before training.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the loss.
    validation_ax_ : matplotlib Axes or None
        Axes of the validation recall, over the same epochs.
    figure_ : matplotlib Figure
        The figure of the axes.
    loss_line_ : matplotlib Line2D
        The loss of each epoch.
    validation_line_ : matplotlib Line2D or None
        All five are set by :meth:`plot`.

    Examples
    --------
    >>> from skue import TrainingCurveDisplay, TwoTowerUserEncoder
    >>> from skue.datasets import make_user_histories
    >>> data = make_user_histories(n_users=100, n_items=200, n_dims=8)
    >>> encoder = TwoTowerUserEncoder(data.item_embeddings, max_iter=2, random_state=0)
    >>> display = TrainingCurveDisplay.from_estimator(encoder.fit(data.histories))
    >>> display.ax_.get_ylabel()
    'Training loss'
    """

    def __init__(self, loss: Any, validation_scores: Any, *, best_iter: int) -> None:
        self.loss = loss
        self.validation_scores = validation_scores
        self.best_iter = best_iter

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, **kwargs: Any
    ) -> TrainingCurveDisplay:
        """Draw the curves of a fitted encoder.

        Parameters
        ----------
        estimator : TwoTowerUserEncoder
            Fitted. If it is in a pipeline, pass the step.
        ax : matplotlib Axes, default=None
            Axes to draw on. By default on a new figure.
        **kwargs : dict
            Passed to ``ax.plot`` for both lines.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        ValueError
            If the estimator has no ``loss_curve_``.
        """
        if not hasattr(estimator, "loss_curve_"):
            raise ValueError(
                f"{type(estimator).__name__} has no loss_curve_. Pass a fitted "
                "TwoTowerUserEncoder. If it is in a pipeline, pass the step."
            )
        display = cls(
            estimator.loss_curve_, estimator.validation_scores_, best_iter=estimator.best_iter_
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> TrainingCurveDisplay:
        """Draw the loss, the validation recall on a second axis, and the epoch kept.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. By default on a new figure.
        **kwargs : dict
            Passed to ``ax.plot`` for both lines.

        Returns
        -------
        display : TrainingCurveDisplay
            This display, with the attributes listed above.
        """
        self.ax_ = new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        style = {"marker": "o", "markersize": 4, **kwargs}
        epochs = np.arange(1, len(self.loss) + 1)
        (self.loss_line_,) = self.ax_.plot(
            epochs, self.loss, **{"color": "C0", "label": "training loss", **style}
        )
        self.ax_.set(xlabel="Epoch", ylabel="Training loss")
        self.ax_.set_xticks(np.arange(len(self.loss) + 1))
        lines = [self.loss_line_]
        self.validation_ax_ = self.validation_line_ = None
        if len(self.validation_scores):
            self.validation_ax_ = self.ax_.twinx()
            (self.validation_line_,) = self.validation_ax_.plot(
                np.arange(len(self.validation_scores)),
                self.validation_scores,
                **{"color": "C1", "label": "validation recall@20", **style},
            )
            self.validation_ax_.set_ylabel("Validation recall@20")
            self.ax_.yaxis.label.set_color(self.loss_line_.get_color())
            self.validation_ax_.yaxis.label.set_color(self.validation_line_.get_color())
            # Draw the loss axes on top, so that its legend covers both lines.
            self.ax_.set_zorder(self.validation_ax_.get_zorder() + 1)
            self.ax_.patch.set_visible(False)
            kept = self.ax_.axvline(
                self.best_iter, color="0.5", ls=":", label=f"kept: epoch {self.best_iter}"
            )
            lines += [self.validation_line_, kept]
        # Loss falls and recall rises, so there is space between them on the right.
        self.ax_.legend(handles=lines, loc="center right")
        return self
