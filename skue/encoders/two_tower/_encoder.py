"""The learned encoder: two towers, trained on what came next."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skue.encoders._base import UserEncoder
from skue.encoders._cold_start import ColdStart
from skue.encoders._events import Events
from skue.encoders._unknown import UnknownItem, report_unknown
from skue.encoders.two_tower._encode import encode
from skue.encoders.two_tower._examples import sequences_of
from skue.encoders.two_tower._progress import CallbackSupport, Progress, with_callbacks
from skue.encoders.two_tower._recipe import (
    checked_decays,
    checked_sizes,
    generator,
    item_tower_of,
    most_epochs,
    negatives_of,
    recipe_of,
)
from skue.encoders.two_tower._task import best_task, unknown_targets
from skue.encoders.two_tower._training import Learned, train
from skue.histories._histories import Histories
from skue.histories._targets import append_targets
from skue.items._item_embeddings import ItemEmbeddings


class TwoTowerUserEncoder(CallbackSupport, UserEncoder):
    r"""User vectors learned from what people did next.

    The user tower pools a history in several channels, each a weighted sum of item vectors at
    length 1,

    .. math::

        c_j \propto \sum_e e^{-\lambda_j \text{age}_e - \mu_j \text{months}_e
        - (1 - \rho_j) \log \text{count}_e + \beta_j \text{support}_e + g_{i(e)}}\, w_e v_{i(e)},

    where count is how often the event's item is in the history, support the mean cosine to its
    other events, and :math:`g` a number of each item; and mixes them,

    .. math:: u \propto \sum_j \operatorname{softmax}(a)_j\, c_j + A x + \operatorname{MLP}(x),

    with :math:`x` the channels laid end to end. All of it, and the item vectors unless they are
    frozen, is learned by the softmax loss of the next item among all items (or among those of
    the batch and uniform ones, corrected for how often each is drawn),

    .. math:: \ell = -\log \frac{e^{u \cdot v_y / \tau}}{\sum_i e^{u \cdot v_i / \tau}}.

    Beside items learned from the log there are two such pairs of towers, and the cosine of the
    whole is the mean of theirs.

    Training starts from the better of the best plain average and the uniform mix of channels on
    held-out events, which stays in the running: by validation recall the encoder is never worse
    than the best average.

    Parameters
    ----------
    item_embeddings : ItemEmbeddings, array-like of shape (n_items, n_dims), embedder or None, \
            default=None
        The space of items, as for :class:`DecayAverageUserEncoder`. None learns two spaces from
        the log, of near and of wide neighbourhoods (:class:`CooccurrenceItemEmbedder` with a
        window of 5, and of 10 and smoothing 1), each of 192, 96 or 48 dimensions, by whose
        averages find most held-out events. Each gets towers of its own, and the vectors of both
        stand side by side.
    hidden_layer_sizes : int or tuple of int, default=(128,)
        Sizes of the hidden layers of the MLP; an empty tuple leaves the linear map.
    decays : tuple of float, default=(0.0, 0.2, 0.5, 1.0, 8.0)
        Decay that each channel starts from, per event (with timestamps: per instant).
    item_tower : {"auto", "frozen", "trained"}, default="auto"
        ``"frozen"`` searches the given vectors as they are, so an index of them stays valid;
        ``"trained"`` learns them too; ``"auto"`` is frozen where vectors were given and trained
        where they were learned from the log.
    negatives : {"auto", "all", "sampled"}, default="auto"
        Against what the next item is told apart: all items, or those of the batch and uniformly
        drawn ones. ``"auto"`` is all items up to 50,000.
    targets : {"history", "y"}, default="history"
        ``"history"`` learns from the next events inside X, and y is ignored; ``"y"`` adds y (item
        ids, one or an array of them a user) as what came next after each history.
    temperature : "learn" or float, default="learn"
        Of the softmax; learned ones start at 0.07 and stay between 0.02 and 1.
    dropout : float, default=0.5
        Share of the inputs of the linear map and the MLP left out in training.
    event_dropout : float, default=0.5
        Share of events left out of each history in training.
    label_smoothing : float, default=0.1
        Share of the target probability spread over all items (not with sampled negatives).
    learning_rate_init : float, default=0.001
        Of AdamW.
    alpha : float, default=0.01
        Weight decay of the linear map and the MLP.
    batch_size : int, default=512
    max_iter : int or "auto", default="auto"
        Most epochs; ``"auto"`` is 5 where items are trained and 12 where they are frozen. The
        learning rate rises in the first twentieth of them, then falls to zero.
    early_stopping : bool, default=True
        Hold out the newest events of some users, stop when their recall stays lower, and keep the
        best weights. Otherwise learn for ``max_iter`` epochs.
    validation_fraction : float, default=0.1
        Share of users whose newest event is held out; more events of each (up to five) where that
        is fewer than 2,000.
    n_iter_no_change : int, default=5
        Stop after so many epochs whose weights were not kept.
    max_history : int or None, default=None
        Use only so many of each user's newest known events; training uses at most 100.
    cold_start : {"mean", "popular", "zero", "raise"} or array-like of shape (n_dims,), \
            default="mean"
        What a user without a direction gets.
    unknown_item : {"ignore", "warn", "raise"}, default="ignore"
        What to do about events of items outside the space; they are left out in any case.
    random_state : int, RandomState instance or None, default=None
    n_jobs : int or None, default=None
        Number of joblib workers that share the users of one ``transform``.

    Attributes
    ----------
    item_embeddings_ : ItemEmbeddings
        The space to search: the item tower's output.
    parameters_ : list of dict of ndarrays
        Weights of each user tower: one, or two beside items learned from the log.
    loss_curve_ : list of float
        Mean training loss of every epoch.
    validation_scores_ : list of float
        Validation recall@20 before training and after every epoch; empty without validation.
    best_iter_ : int
        Epoch whose weights are kept: the last one whose recall is no lower than that of the
        starting average, nor by more than a standard error than the highest; 0 is the start.
    n_iter_ : int
        Epochs run.
    negatives_ : {"all", "sampled"}
        What "auto" came to.
    item_tower_ : {"frozen", "trained"}
        What "auto" came to.
    interrupted_ : bool
        Whether fit was interrupted, and the weights are the best until then.
    n_unknown_targets_ : int
        Items of y outside the space, which were ignored.
    fallback_vector_ : ndarray of shape (n_dims,), float32
        What a user without a direction gets.
    item_vectors_ : ndarray of shape (n_items, n_dims), float32
        Vectors of ``item_embeddings_``.
    space_id_ : str
        Name of the space.
    encoder_id_ : str
        Hash of all that the vectors depend on.
    n_features_in_ : int
        Width of X, when X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, when X was a DataFrame of numbers.

    Raises
    ------
    ValueError
        When X holds no event of a known item, and when training diverges.
    KeyboardInterrupt
        When fit is interrupted from the keyboard. At a Python prompt or in a notebook the encoder
        then holds the best weights so far, and ``interrupted_`` is True. Anywhere else it stays
        as it was before fit.

    Warns
    -----
    UserWarning
        When there is too little to learn from or to validate by: the encoder is then the starting
        average.

    See Also
    --------
    DecayAverageUserEncoder : The average that this one starts from.

    Notes
    -----
    From scikit-learn 1.9 on, ``encoder.set_callbacks(sklearn.callback.ProgressBar())`` shows a
    progress bar that moves with every epoch (it needs the package rich). Older versions have no
    callbacks, and fit shows nothing until it is done; ``python -m skue compare`` shows its
    progress with every version.

    References
    ----------
    P. Covington, J. Adams, E. Sargin (2016). Deep neural networks for YouTube recommendations.
    RecSys. X. Yi et al. (2019). Sampling-bias-corrected neural modeling for large corpus item
    recommendations. RecSys.

    Examples
    --------
    >>> from skue import TwoTowerUserEncoder
    >>> from skue.datasets import make_user_histories
    >>> data = make_user_histories(n_users=200)
    >>> encoder = TwoTowerUserEncoder(data.item_embeddings, max_iter=2, random_state=0)
    >>> encoder.fit_transform(data.histories).shape
    (200, 48)
    >>> encoder.item_tower_, encoder.negatives_
    ('frozen', 'all')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **UserEncoder._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "decays": ["array-like"],
        "item_tower": [StrOptions({"auto", "frozen", "trained"})],
        "negatives": [StrOptions({"auto", "all", "sampled"})],
        "targets": [StrOptions({"history", "y"})],
        "temperature": [StrOptions({"learn"}), Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "event_dropout": [Interval(Real, 0, 1, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = ("max_history",)

    def __init__(
        self,
        item_embeddings: Any = None,
        *,
        hidden_layer_sizes: int | Sequence[int] = (128,),
        decays: Sequence[float] | np.ndarray = (0.0, 0.2, 0.5, 1.0, 8.0),
        item_tower: Literal["auto", "frozen", "trained"] = "auto",
        negatives: Literal["auto", "all", "sampled"] = "auto",
        targets: Literal["history", "y"] = "history",
        temperature: Literal["learn"] | float = "learn",
        dropout: float = 0.5,
        event_dropout: float = 0.5,
        label_smoothing: float = 0.1,
        learning_rate_init: float = 0.001,
        alpha: float = 0.01,
        batch_size: int = 512,
        max_iter: int | Literal["auto"] = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        max_history: int | None = None,
        cold_start: ColdStart = "mean",
        unknown_item: UnknownItem = "ignore",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.item_embeddings = item_embeddings
        self.hidden_layer_sizes = hidden_layer_sizes
        self.decays = decays
        self.item_tower = item_tower
        self.negatives = negatives
        self.targets = targets
        self.temperature = temperature
        self.dropout = dropout
        self.event_dropout = event_dropout
        self.label_smoothing = label_smoothing
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_history = max_history
        self.cold_start = cold_start
        self.unknown_item = unknown_item
        self.random_state = random_state
        self.n_jobs = n_jobs

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the item space (unless given), both towers and the fallback.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
        y : array-like of shape (n_users,), default=None
            With ``targets="y"`` the item ids that came next, one or an array of them a user;
            unknown ones are ignored and counted. Otherwise ignored.

        Returns
        -------
        self : TwoTowerUserEncoder
        """
        super().fit(X, y)
        if self.interrupted_:
            raise KeyboardInterrupt(
                f"Interrupted in epoch {self.n_iter_ + 1}. The encoder keeps the best weights so "
                f"far, those after epoch {self.best_iter_}."
            )
        return self

    def _learn(self, histories: Histories, y: Any) -> None:
        checked_sizes(self.hidden_layer_sizes)
        checked_decays(self.decays)
        rng = generator(self.random_state)
        if self.targets == "y" and y is None:
            raise ValueError("targets='y' needs y: the item ids that came next, one row a user.")
        with Progress(self, most_epochs(self)) as on_epoch:
            appended = None
            if self.targets == "y":
                histories, appended = append_targets(histories, y)
            fraction = self.validation_fraction if self.early_stopping else None
            task = best_task(self.item_embeddings, histories, fraction, rng)
            self.n_unknown_targets_ = unknown_targets(task.items, histories, appended)
            self.item_embeddings_ = task.items
            if self.unknown_item == "raise":
                report_unknown(self, histories)  # before the work, not after it
            if not task.is_enough(validated=self.early_stopping):
                task = task.without_training()
            recipe = recipe_of(self, len(task.items))
            self._keep(train(task, recipe, rng, on_epoch), task.items)

    def _keep(self, learned: Learned, given: ItemEmbeddings) -> None:
        self.item_tower_ = item_tower_of(self)
        self.negatives_ = negatives_of(self, len(given))
        self.parameters_ = learned.towers
        self.loss_curve_ = learned.loss_curve
        self.validation_scores_ = learned.validation_scores
        self.best_iter_ = learned.best_iter
        self.n_iter_ = learned.n_iter
        self.interrupted_ = learned.interrupted
        if learned.item_vectors is not given.vectors:
            self.item_embeddings_ = ItemEmbeddings(learned.item_vectors, given.ids)

    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        sequences = sequences_of(events)
        starts, stops = events.offsets[:-1], events.offsets[1:]
        vectors = self.item_embeddings_.vectors
        return encode(sequences, starts, stops, self.parameters_, vectors, self.max_history)

    def _fitted_arrays(self) -> list[np.ndarray]:
        return [tower[name] for tower in self.parameters_ for name in sorted(tower)]
