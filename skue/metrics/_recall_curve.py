"""The curve of recall at k against k."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from skue._optional import new_axes
from skue.kernels._ties import expected_hits
from skue.metrics._evaluation import evaluate
from skue.metrics._recall import ranked_targets

_KS = (1, 2, 5, 10, 20, 50, 100)


class RecallCurveDisplay:
    """Recall at k against k. Several displays can share one ``ax``.

    Use :meth:`from_estimator` or :meth:`from_predictions`. Requires
    matplotlib, which comes with the extra ``plot``.

    Parameters
    ----------
    k : array-like of shape (n_points,), int
    recall : array-like of shape (n_points,)
        Recall at each k.
    name : str, default=None
        Label in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
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
        y : array-like of shape (n_users,)
            Held-out item ids, one or an array of ids per user.
        k : array-like of int, default=(1, 2, 5, 10, 20, 50, 100)
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
        """Score given vectors at every k and draw the curve.

        Parameters
        ----------
        user_vectors : array-like of shape (n_users, n_dims)
        item_vectors : array-like of shape (n_items, n_dims), or ItemEmbeddings
        targets : array-like of shape (n_users,)
            As for :func:`recall_at_k`.
        k : array-like of int, default=(1, 2, 5, 10, 20, 50, 100)
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
