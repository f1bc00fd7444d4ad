"""The curves of loss and validation recall during training."""

from __future__ import annotations

from typing import Any

import numpy as np

from skue._optional import new_axes


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
    loss_line_ : matplotlib Line2D
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
