"""The learned encoder: two towers, trained on what came next."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skue.encoders._base import Events, UserEncoder
from skue.encoders._holdout import held_out_events, split_examples
from skue.encoders._progress import CallbackSupport, Progress, with_callbacks
from skue.encoders._sequences import examples_of, sequences_of
from skue.encoders._spaces import learned_spaces
from skue.encoders._trainer import Recipe
from skue.encoders._training import Learned, Task, best_average, encode, train
from skue.histories._histories import Histories
from skue.histories._targets import append_targets
from skue.items._item_embeddings import ItemEmbeddings

# From so many items on, "auto" draws negatives in place of ranking all items in every step.
_MANY_ITEMS = 50_000
_MOST_EPOCHS = {"trained": 5, "frozen": 12}


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
    hidden_layer_sizes : tuple of int, default=(128,)
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

    Warns
    -----
    UserWarning
        When there is too little to learn from or to validate by: the encoder is then the starting
        average. When fit is interrupted from the keyboard: the best weights so far are kept.

    See Also
    --------
    DecayAverageUserEncoder : The average that this one starts from.

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
        "hidden_layer_sizes": ["array-like"],
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
        hidden_layer_sizes: Any = (128,),
        decays: Any = (0.0, 0.2, 0.5, 1.0, 8.0),
        item_tower: str = "auto",
        negatives: str = "auto",
        targets: str = "history",
        temperature: Any = "learn",
        dropout: float = 0.5,
        event_dropout: float = 0.5,
        label_smoothing: float = 0.1,
        learning_rate_init: float = 0.001,
        alpha: float = 0.01,
        batch_size: int = 512,
        max_iter: Any = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        max_history: int | None = None,
        cold_start: Any = "mean",
        unknown_item: str = "ignore",
        random_state: Any = None,
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
    def fit(self, X: Any, y: Any = None) -> TwoTowerUserEncoder:
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
        return super().fit(X, y)

    def _learn(self, histories: Histories, y: Any) -> None:
        sizes, decays = _checked_sizes(self.hidden_layer_sizes), _checked_decays(self.decays)
        rng = _generator(self.random_state)
        appended = None
        if self.targets == "y":
            if y is None:
                raise ValueError(
                    "targets='y' needs y: the item ids that came next, one row a user."
                )
            histories, appended = append_targets(histories, y)
        held_out = self._held_out(histories, rng)
        split_seed = rng.integers(np.iinfo(np.int64).max)
        tasks = (
            self._task(*space, histories, held_out, np.random.default_rng(split_seed))
            for space in self._spaces(histories._keep_events(~held_out))
        )
        task = max(tasks, key=lambda task: task.best.recall)
        given = task.items

        self.item_tower_ = self.item_tower
        if self.item_tower == "auto":
            self.item_tower_ = "trained" if self._learns_items_from_log() else "frozen"
        self.negatives_ = self.negatives
        if self.negatives == "auto":
            self.negatives_ = "all" if len(given) <= _MANY_ITEMS else "sampled"
        known = given.rows_of(histories) >= 0
        self.n_unknown_targets_ = 0 if appended is None else int((appended & ~known).sum())
        if appended is not None and not (appended & known).any():
            raise ValueError(
                f"targets='y' learns from item ids, but none of the {int(appended.sum())} ids in y "
                "is in the item space. Pass the items that came next, or set targets='history'."
            )
        self.item_embeddings_ = given
        if self.unknown_item == "raise":
            self._report_unknown(histories)  # before the work, not after it
        if not len(task.training) or (self.early_stopping and not len(task.validation)):
            warnings.warn(
                f"{len(task.training)} examples to learn from and {len(task.validation)} to "
                "validate by are too few: the encoder is a plain average. Give longer histories, "
                "or set early_stopping=False to learn without validation.",
                UserWarning,
                stacklevel=4,
            )
            task = task._replace(training=task.training.take(np.arange(0)))
        with self._progress() as on_epoch:
            learned = train(task, self._recipe(sizes, decays), rng, on_epoch)
        self._keep(learned, given)

    def _learns_items_from_log(self) -> bool:
        given = self.item_embeddings
        return given is None or (hasattr(given, "fit") and not isinstance(given, ItemEmbeddings))

    def _spaces(self, histories: Histories) -> Iterator[tuple[ItemEmbeddings, int]]:
        """Item spaces to choose from, and how many stand side by side in each."""
        if self.item_embeddings is None:
            return learned_spaces(histories)
        return iter([(self._resolve_items(histories), 1)])

    def _task(
        self,
        items: ItemEmbeddings,
        n_towers: int,
        histories: Histories,
        held_out: np.ndarray,
        rng: np.random.Generator,
    ) -> Task:
        """Lay out what is to be learned, and validated by, in a space of items."""
        self.item_embeddings_ = items
        known = items.rows_of(histories) >= 0
        sequences = sequences_of(self._events_of(histories, truncate=False))
        examples, events = examples_of(sequences)
        training, validation = split_examples(sequences, examples, events, held_out[known], rng)
        best = best_average(sequences, validation, items.vectors)
        return Task(items, n_towers, sequences, training, validation, best)

    def _keep(self, learned: Learned, given: ItemEmbeddings) -> None:
        self.parameters_ = learned.towers
        self.loss_curve_ = learned.loss_curve
        self.validation_scores_ = learned.validation_scores
        self.best_iter_ = learned.best_iter
        self.n_iter_ = learned.n_iter
        if learned.item_vectors is not given.vectors:
            self.item_embeddings_ = ItemEmbeddings(learned.item_vectors, given.ids)

    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        sequences = sequences_of(events)
        starts, stops = events.offsets[:-1], events.offsets[1:]
        vectors = self.item_embeddings_.vectors
        return encode(sequences, starts, stops, self.parameters_, vectors, self.max_history)

    def _fitted_arrays(self) -> list[np.ndarray]:
        return [tower[name] for tower in self.parameters_ for name in sorted(tower)]

    def _held_out(self, histories: Histories, rng: np.random.Generator) -> np.ndarray:
        """Events of the histories that are kept from training, item vectors included."""
        if not self.early_stopping:
            return np.zeros(len(histories.codes), dtype=bool)
        rows, weights = histories.codes, histories.weights
        events = Events(rows, histories.offsets, histories.timestamps, weights)
        opens = sequences_of(events).opens
        return held_out_events(histories.offsets, opens, self.validation_fraction, rng)

    def _recipe(self, sizes: tuple[int, ...], decays: tuple[float, ...]) -> Recipe:
        max_iter = self.max_iter
        if max_iter == "auto":
            max_iter = _MOST_EPOCHS[self.item_tower_]
        return Recipe(
            hidden_layer_sizes=sizes,
            decays=decays,
            learn_items=self.item_tower_ == "trained",
            sampled=self.negatives_ == "sampled",
            temperature=None if self.temperature == "learn" else float(self.temperature),
            dropout=float(self.dropout),
            event_dropout=float(self.event_dropout),
            label_smoothing=float(self.label_smoothing),
            learning_rate=float(self.learning_rate_init),
            alpha=float(self.alpha),
            batch_size=int(self.batch_size),
            max_iter=int(max_iter),
            n_iter_no_change=int(self.n_iter_no_change) if self.early_stopping else int(max_iter),
            max_history=self.max_history,
        )

    def _progress(self) -> Progress:
        return Progress(self)


def _checked_sizes(sizes: Any) -> tuple[int, ...]:
    sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
    if not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must be positive integers, got {sizes}. Use () for none."
        )
    return tuple(int(size) for size in sizes)


def _checked_decays(decays: Any) -> tuple[float, ...]:
    decays = tuple(np.asarray(decays, dtype=np.float64).ravel().tolist())
    if not decays or not all(np.isfinite(decay) and decay >= 0 for decay in decays):
        raise ValueError(f"decays must be one number of at least 0 a channel, got {decays}.")
    return decays


def _generator(random_state: Any) -> np.random.Generator:
    """Return a Generator for anything that scikit-learn takes as a random_state."""
    legacy = check_random_state(random_state)
    return np.random.default_rng(legacy.randint(np.iinfo(np.int32).max))
