"""The learned encoder: a user tower and an item tower, trained on the next item."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skue.encoders._base import ColdStart, UnknownItem, UserEncoder, nothing_known
from skue.encoders._events import Events, new_items
from skue.encoders.two_tower._examples import sequences_of
from skue.encoders.two_tower._features import (
    learned_feature_map,
    learned_user_map,
    users_to_learn_from,
    with_all_items,
    with_user_features,
)
from skue.encoders.two_tower._model import Towers, encode, in_float64, with_gates
from skue.encoders.two_tower._start_spaces import data_from_scratch, with_new_items
from skue.encoders.two_tower._trainer import N_UNIFORM, Settings
from skue.encoders.two_tower._training import TrainingData, train
from skue.encoders.two_tower._warm_start import (
    LastFit,
    TrainingState,
    aligned,
    asked_dims,
    data_from_last_fit,
)
from skue.histories._histories import Histories
from skue.histories._targets import append_targets
from skue.histories._vocabulary import check_same_type
from skue.items._item_embeddings import ItemEmbeddings
from skue.items._item_features import ItemFeatures, ScaledFeatures, scaled_features

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Without effect."""


HAS_CALLBACKS = hasattr(CallbackSupportMixin, "set_callbacks")

# A sampled negative costs about this many times an item of a full softmax, because the rows of a
# sample are gathered, and their gradients scattered.
_COST_OF_SAMPLING = 2
_MOST_EPOCHS = {"trained": 3, "frozen": 6}
# From fitted towers, this many epochs are enough, at this multiple of the learning rate.
_WARM_EPOCHS = {"trained": 1, "frozen": 2}
_WARM_RATE = {"trained": 4 / 3, "frozen": 1 / 3}


class TwoTowerUserEncoder(CallbackSupportMixin, UserEncoder):
    r"""Learn user vectors from the items that users chose next.

    Use it when the order of events matters, and there are at least about a thousand users with two
    events or more. It starts from decayed averages and keeps trained weights only if validation
    recall does not drop. With little data, :class:`DecayAverageUserEncoder` is faster and often as
    good. Where users mostly choose items again, :class:`TwoStageRecommender` finds more.

    The user tower pools a history into several channels with learned decays and maps them to a
    user vector. The item tower holds the item vectors, which are learned too or stay frozen. Both
    are trained with a softmax loss over the next item. See Notes for the formulas.

    Parameters
    ----------
    item_embeddings : ItemEmbeddings, array-like of shape (n_items, n_dims), embedder or None, \
            default=None
        The item space, as in :class:`DecayAverageUserEncoder`. None learns three spaces from
        the log: one of wide neighbourhoods (:class:`CooccurrenceItemEmbedder` with a window of 10
        and smoothing 1, with negative eigenvalues kept), one of transitions, that is which items
        follow which, and one of whole histories, that is which items the same users chose (as in
        :class:`ProfileUserEncoder`). The two in which linear maps have the highest validation
        recall get a pair of towers each.
    n_dims : int or "auto", default="auto"
        Number of dimensions of the vectors, if the spaces are learned from the log: an even number,
        of which each pair of towers has half. ``"auto"`` is 384. With fewer items than half of
        it, there are twice as many dimensions as items.
    item_features : ItemFeatures, default=None
        Features of items, with or without events. They are part of the spaces that
        are learned from the log, and all their items are in ``item_embeddings_``.
    hidden_layer_sizes : int or tuple of int, default=(128,)
        Sizes of the hidden layers of the MLP; an empty tuple leaves the linear map.
    decays : tuple of float, default=(0.0, 0.2, 0.5, 1.0, 8.0)
        Initial decay of each channel, per event, or per instant if there are timestamps.
    item_tower : {"auto", "frozen", "trained"}, default="auto"
        ``"frozen"`` keeps the given item vectors, so an index of them stays valid.
        ``"trained"`` learns them too. ``"auto"`` is frozen if vectors are given, and trained if
        they are learned from the log.
    negatives : {"auto", "all", "sampled"}, default="auto"
        The items that the model learns to distinguish from the next item: all others, or those
        of the batch and 2,048 uniformly drawn ones. ``"auto"`` uses all items where that makes a
        step cheaper: up to 5,120 with the default batch size.
    targets : {"history", "y"}, default="history"
        ``"history"`` learns from the events inside X and ignores y. ``"y"`` also learns from y,
        the item ids that came next after each history.
    temperature : "learn" or float, default="learn"
        Temperature of the softmax. If learned, it starts at 0.07 and stays between 0.02 and 1.
    dropout : float, default=0.5
        Share of the inputs of the linear map and the MLP that is dropped in training.
    event_dropout : float, default=0.5
        Share of the events of each history that is dropped in training.
    label_smoothing : float, default=0.1
        Share of the target probability that is spread over all items. Not used with sampled
        negatives.
    learning_rate_init : float, default=0.0015
        Learning rate of AdamW.
    alpha : float, default=0.01
        Weight decay of the linear map and the MLP.
    batch_size : int, default=512
        Number of examples per step of the optimizer.
    max_iter : int or "auto", default="auto"
        Maximum number of epochs. ``"auto"`` is 3 if items are trained and 6 if they are frozen.
        With a warm start it is 1, at 4/3 of the learning rate, or 2, at a third of it. The learning
        rate rises during the first twentieth of the steps, then falls to zero.
    early_stopping : bool, default=True
        Whether to hold out the newest events of some users, stop when their recall no longer
        improves, and keep the best weights. Otherwise training runs for ``max_iter`` epochs.
    validation_fraction : float, default=0.1
        Share of users whose newest event is held out. If that gives fewer than 2,000 events, up
        to five events of each of these users are held out.
    n_iter_no_change : int, default=5
        Stop after this many epochs in a row whose weights were not kept.
    verbose : bool, default=False
        Whether to print the loss, the validation recall@20 and the time of each epoch.
    warm_start : bool, default=False
        Whether ``fit`` on an encoder that is fitted already continues from its towers: see Notes.
    max_history : int or None, default=None
        Use only this many newest known events per user; None uses up to 10,000. Training uses at
        most 100. Spaces are learned from up to 10,000 newest events of each user in any case.
    cold_start : {"mean", "popular", "zero", "raise"} or array-like of shape (n_dims,), \
            default="mean"
        Vector of a user without known events, or whose weights cancel.
    unknown_item : {"ignore", "warn", "raise"}, default="ignore"
        What to do about events of items that are not in ``item_embeddings_``. They never
        contribute to the vector.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the held-out users, the order of the examples and the sampled
        negatives.
    n_jobs : int or None, default=None
        Number of joblib workers that encode, and count pairs for learned start vectors. It does
        not change the result.

    Attributes
    ----------
    item_embeddings_ : ItemEmbeddings
        The items to search: the output of the item tower.
    parameters_ : list of dict of ndarrays
        Weights of each user tower: one, or two if two learned item spaces were trained.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float
        Validation recall@20 before training and after each epoch; empty without validation.
    best_iter_ : int
        Epoch whose weights are kept, or moved towards the start: the last one whose recall is
        within one standard error of the best and, without a warm start, at least as high as the
        starting average's. 0 is the start.
    n_iter_ : int
        Number of epochs run. Each draws about 262,144 examples anew, or fewer.
    n_examples_ : int
        Number of examples that training could draw from.
    n_examples_seen_ : int
        Number of examples used in all epochs, counting repeated ones. If it is smaller than
        ``n_examples_``, the towers were learned from a part of the log.
    negatives_ : {"all", "sampled"}
        The negatives used, ``negatives`` with "auto" resolved.
    item_tower_ : {"frozen", "trained"}
        The item tower used, ``item_tower`` with "auto" resolved.
    interrupted_ : bool
        Whether fit was interrupted. The weights are then the best before the interrupt.
    n_unknown_targets_ : int
        Number of items of y that are unknown and were ignored.
    feature_map_ : tuple or None
        How :meth:`embed_items` maps features to item vectors; None without ``item_features``.
    user_map_ : tuple or None
        How the ``user_features`` of X are mapped to vectors; None without them.
    held_out_ : ndarray of int
        Positions of the events that validation held out, in the order of the events of X
        (``Histories.codes``), with those of y appended for ``targets="y"``. Empty without
        validation.
    training_state_ : tuple
        What a later fit with ``warm_start=True`` needs. It has up to 40 bytes for each user.
    fallback_vector_ : ndarray of shape (n_dims,), float32
        Vector of a user without known events, or whose weights cancel.
    is_new_item_ : ndarray of shape (n_items,), bool
        Items of ``item_embeddings_`` that occur in no history that was fitted.
    item_vectors_ : ndarray of shape (n_items, n_dims), float32
        Vectors of ``item_embeddings_``.
    space_id_ : str
        Name of the space.
    encoder_id_ : str
        Hash of everything that affects the vectors.
    n_features_in_ : int
        Number of columns of X, if X was a 2-D array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X was a DataFrame of numbers.

    Raises
    ------
    ValueError
        If X has no event of a known item, or if training diverges. With a warm start, if
        ``decays``, ``hidden_layer_sizes`` or the dimensions of ``item_embeddings`` do not match.
    KeyboardInterrupt
        If fit is interrupted from the keyboard. At a Python prompt or in a notebook, the encoder
        then has the best weights so far, and ``interrupted_`` is True. Elsewhere it is left
        unchanged.

    Warns
    -----
    UserWarning
        If the given vectors were learned from the events that validation holds out. If there are
        too few examples to train or to validate; the encoder is then the starting average.

    Notes
    -----
    The user tower pools a history into channels, each a weighted sum of item vectors at length 1,

    .. math::

        c_j \propto \sum_e e^{-\lambda_j \text{age}_e - \mu_j \text{months}_e
        - (1 - \rho_j) \log |S_{j, i(e)}| + \beta_j \text{support}_e + g_{i(e)}}\, w_e v_{i(e)},
        \quad S_{ji} = \sum_{e: i(e) = i} e^{-\lambda_j \text{age}_e - \mu_j \text{months}_e} w_e,

    where support is the mean cosine of the event to the other events, and :math:`g` a learned
    number per item. The user vector is

    .. math:: u \propto \sum_j \operatorname{softmax}(a)_j\, c_j + A x + \operatorname{MLP}(x),

    with :math:`x` the concatenated channels. All weights, and the item vectors unless they are
    frozen, are learned with the softmax loss of the next item :math:`y`,

    .. math:: \ell = -\log \frac{e^{u \cdot v_y / \tau}}{\sum_i e^{u \cdot v_i / \tau}},

    over all items, or over the items of the batch and uniformly drawn ones, corrected for how
    often each is expected.

    With ``item_features``, the spaces that training starts from are those of
    :class:`CooccurrenceItemEmbedder` with features. In each pair of towers, an item without events
    has the vector

    .. math:: v_i = t_i p_i + \sqrt{1 - t_i^2}\, o_i, \quad p_i = f_i W / \|f_i W\|,
              \quad t_i = \min(1, 1.8\, \|f_i W\|),

    with features :math:`f_i`, the ridge regression :math:`W` of trained vectors on features, and a
    direction :math:`o_i` that other items hardly use.

    If X has ``user_features`` :math:`z`, the vector is :math:`n u + \kappa z B / \|z B\|` at length
    1, with :math:`n` events and the ridge regression :math:`B` of the mean item vectors of
    histories on features. Validation chooses :math:`\kappa`, how many events the features count as.

    Training starts from decayed averages, with :math:`A` the ridge regression of the vector of the
    next item on :math:`x`, or zero if that has a lower validation recall than the best average.

    After training, the weights and item vectors are moved towards those of the start, by 0 to 40 %
    of the way, whichever gives the highest validation NDCG (Wortsman et al., 2022). On small logs,
    this finds more.

    When ``item_embeddings`` is None, two pairs of towers start from different item spaces. Their
    vectors are concatenated, so the cosine is the mean of both.

    With ``warm_start=True``, X is a log with newer or more events. All fitted items are kept, and
    new items start where their neighbours in X are; new items without neighbours stay unknown.
    ``item_embeddings`` is not read again, except for vectors of new items if they are frozen.
    With ``item_tower="frozen"``, fitted vectors do not change, so the space is the same. If items
    are trained, the new space is rotated onto the fitted one: see :attr:`ItemEmbeddings.agreement`.
    Only events that earlier fits did not learn from are held out: users are matched by ``user_ids``
    where there are any, histories by their ends. If that gives fewer than 200,
    nothing is held out and the last weights are kept. If the last fit kept the starting average,
    there are no towers to continue from, and ``fit`` starts from scratch.

    References
    ----------
    P. Covington, J. Adams, E. Sargin (2016). Deep neural networks for YouTube recommendations.
    RecSys. M. Wortsman et al. (2022). Robust fine-tuning of zero-shot models. CVPR. X. Yi et al.
    (2019). Sampling-bias-corrected neural modeling for large corpus item recommendations. RecSys.

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
        "n_dims": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left")],
        "item_features": [None, ItemFeatures],
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
        "verbose": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
    }
    _output_parameters: ClassVar[tuple[str, ...]] = ("max_history",)
    _uses_times: ClassVar[bool] = True

    def __init__(
        self,
        item_embeddings: Any = None,
        *,
        n_dims: int | Literal["auto"] = "auto",
        item_features: ItemFeatures | None = None,
        hidden_layer_sizes: int | Sequence[int] = (128,),
        decays: Sequence[float] | np.ndarray = (0.0, 0.2, 0.5, 1.0, 8.0),
        item_tower: Literal["auto", "frozen", "trained"] = "auto",
        negatives: Literal["auto", "all", "sampled"] = "auto",
        targets: Literal["history", "y"] = "history",
        temperature: Literal["learn"] | float = "learn",
        dropout: float = 0.5,
        event_dropout: float = 0.5,
        label_smoothing: float = 0.1,
        learning_rate_init: float = 0.0015,
        alpha: float = 0.01,
        batch_size: int = 512,
        max_iter: int | Literal["auto"] = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        verbose: bool = False,
        warm_start: bool = False,
        max_history: int | None = None,
        cold_start: ColdStart = "mean",
        unknown_item: UnknownItem = "ignore",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.item_embeddings = item_embeddings
        self.n_dims = n_dims
        self.item_features = item_features
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
        self.verbose = verbose
        self.warm_start = warm_start
        self.max_history = max_history
        self.cold_start = cold_start
        self.unknown_item = unknown_item
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the item space (unless given), both towers and the fallback.

        Parameters
        ----------
        X : Histories or any form that :func:`skue.as_histories` reads
            The histories to learn from, one per user.
        y : array-like of shape (n_users,), default=None
            With ``targets="y"``, the item ids that came next, one per user or one array per user.
            Unknown ids are ignored and counted. With ``targets="history"``, y is ignored.

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

    def embed_items(self, features: ItemFeatures) -> ItemEmbeddings:
        """Return the vectors of new items from their features, in the fitted space.

        ``encoder.item_embeddings_.extend(new.vectors, new.ids)`` adds them to the catalogue,
        without fitting again.

        Parameters
        ----------
        features : ItemFeatures
            With the columns of ``item_features``, made by the same fitted transformers.

        Returns
        -------
        new : ItemEmbeddings
            With the ``space_id`` of the encoder.

        Raises
        ------
        ValueError
            If the encoder was fitted without ``item_features``, or the columns differ.
        """
        check_is_fitted(self, "item_embeddings_")
        if self.feature_map_ is None:
            raise ValueError(
                "embed_items needs an encoder that was fitted with item_features. Pass "
                "item_features, and fit again."
            )
        if not isinstance(features, ItemFeatures):
            raise ValueError(
                f"features must be ItemFeatures, got {type(features).__name__}. Pass "
                "ItemFeatures(values, ids)."
            )
        items = self.item_embeddings_
        check_same_type(features.ids, items.ids, "The ids of features", "the encoder has items")
        return self.feature_map_.embedded(features, items.space_id)

    def _learn(self, histories: Histories, y: Any) -> None:
        sizes, decays = _checked_sizes(self.hidden_layer_sizes), _checked_decays(self.decays)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rng = np.random.default_rng(seed)
        X, appended = histories, None
        if self.targets == "y":
            if y is None:
                raise ValueError("targets='y' needs y: the item ids that came next, one per user.")
            histories, appended = append_targets(X, y)
        last = self._last_fit(sizes, decays)
        self.item_tower_ = self._item_tower()
        features, user_features = scaled_features(self.item_features, histories), None
        data = self._training_data(histories, last, features, decays, rng)
        # Whatever is wrong with the data is raised before training, not after it.
        _check_known(data.items, histories, appended)
        if histories.user_features is not None:
            user_features = histories.user_features
            users_to_learn_from(data, user_features)
        are_given = self._items_are_given()
        self.item_embeddings_ = data.items
        if are_given and self.unknown_item == "raise":
            self._report_unknown(histories, also_known=self.item_features)
        data = data.if_enough(validated=self.early_stopping)

        self.negatives_ = self._negatives(len(data.items))
        settings = self._settings(sizes, decays, last)
        with self._callbacks(data, X, y, settings.max_iter) as on_epoch:
            result = train(data, settings, rng, on_epoch)
        towers, items, vectors = result.towers, data.items, result.item_vectors
        if vectors is not items.vectors and last is None:
            items = ItemEmbeddings(vectors, items.ids)
        elif vectors is not items.vectors:
            assert last is not None
            most = self.max_history
            towers, items = aligned(last, data, towers, vectors, histories, most, rng)
        self.user_map_ = self.feature_map_ = None
        if user_features is not None:
            most = self.max_history
            self.user_map_ = learned_user_map(data, towers, items, user_features, most, rng)
        if features is not None:
            kept_map = None if last is None or self.item_tower_ == "trained" else last.feature_map
            self.feature_map_ = kept_map or learned_feature_map(items, features, data.n_towers)
        if last is not None or not are_given:
            # All training is over, so events that were held out may place their items.
            items = with_new_items(items, data.n_towers, histories)
        n_placed_by_events = len(items)
        if features is not None:
            assert self.feature_map_ is not None
            items = with_all_items(items, features, self.feature_map_)
        towers = [with_gates(tower, len(items)) for tower in towers]
        self.item_embeddings_ = items
        # Converted once here, and not for every user.
        self.parameters_ = in_float64(towers)
        self.is_new_item_ = new_items(items, histories)
        if last is not None:
            self.is_new_item_ &= ~np.isin(items.ids, last.seen_ids)
        unknown = items.rows_of(histories) < 0
        self.n_unknown_targets_ = 0 if appended is None else int((appended & unknown).sum())

        self.loss_curve_, self.validation_scores_ = result.loss_curve, result.validation_scores
        self.best_iter_, self.n_iter_ = result.best_iter, result.n_iter
        self.n_examples_, self.n_examples_seen_ = len(data.training), result.n_examples_seen
        self.interrupted_ = result.interrupted
        self.held_out_ = data.held_out
        # If the towers of the last fit are kept, nothing was learned from new events.
        kept = None if result.best_iter else last
        self.training_state_ = TrainingState(
            data.n_towers,
            tuple(result.temperatures),
            data.learned if kept is None else kept.state.learned,
            asked_dims(self.item_embeddings, self.n_dims),
            n_placed_by_events,
        )

    def _training_data(
        self,
        histories: Histories,
        last: LastFit | None,
        features: ScaledFeatures | None,
        decays: tuple[float, ...],
        rng: np.random.Generator,
    ) -> TrainingData:
        given = self.item_embeddings
        fraction = self.validation_fraction if self.early_stopping else None
        if last is None:
            return data_from_scratch(
                given,
                histories,
                fraction,
                rng,
                n_dims=self.n_dims,
                decays=decays,
                max_history=self.max_history,
                n_jobs=self.n_jobs,
                features=features,
            )
        last.check_user_features(histories)
        return data_from_last_fit(last, given, self.item_tower_, histories, fraction, rng)

    def _last_fit(
        self, hidden_layer_sizes: tuple[int, ...], decays: tuple[float, ...]
    ) -> LastFit | None:
        """Return what a warm start continues from, or None if this fit starts from scratch.

        If the last fit kept the starting average, there are no towers to continue from.
        """
        if not self.warm_start or not hasattr(self, "parameters_"):
            return None
        if not self.training_state_.temperatures:
            return None
        last = LastFit(
            self.item_embeddings_,
            self.parameters_,
            self.training_state_,
            self.item_tower_,
            self.feature_map_,
            self.user_map_,
            self.item_embeddings_.ids[~self.is_new_item_],
        )
        asked = asked_dims(self.item_embeddings, self.n_dims)
        last.check_parameters(
            self.item_embeddings, asked, self.item_features, hidden_layer_sizes, decays
        )
        return last.without_placed_items(self.item_features)

    @contextmanager
    def _callbacks(
        self, data: TrainingData, histories: Histories, y: Any, n_epochs: int
    ) -> Iterator[Callable[[Towers, np.ndarray], bool]]:
        """Call the callbacks around the block; yield a function that calls them for an epoch."""
        if not HAS_CALLBACKS:
            yield lambda *_: False
            return
        context = self._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(estimator=self)

        def on_epoch(towers: Towers, vectors: np.ndarray) -> bool:
            def fitted() -> dict[str, Any]:
                return self._fitted_after(data, histories, towers, vectors)

            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self)
            return bool(
                epoch.call_on_fit_task_end(
                    estimator=self, X=histories, y=y, reconstruction_attributes=fitted
                )
            )

        yield on_epoch
        context.call_on_fit_task_end(estimator=self)

    def _fitted_after(
        self, data: TrainingData, histories: Histories, towers: Towers, vectors: np.ndarray
    ) -> dict[str, Any]:
        """Return what an encoder has to have to be scored as it is after an epoch."""
        fitted = copy.copy(self)
        fitted.item_embeddings_ = items = ItemEmbeddings(vectors, data.items.ids)
        fitted.parameters_, fitted.user_map_ = in_float64(towers), None
        fitted.is_new_item_ = new_items(items, histories)
        if (features := histories.user_features) is not None:
            rng, most = np.random.default_rng(0), self.max_history
            fitted.user_map_ = learned_user_map(data, towers, items, features, most, rng)
        fitted.fallback_vector_ = fitted._fallback(histories)
        return {name: value for name, value in vars(fitted).items() if name.endswith("_")}

    def _item_tower(self) -> str:
        """Return ``item_tower`` with "auto" resolved: items learned from the log are trained."""
        if self.item_tower != "auto":
            return self.item_tower
        return "frozen" if self._items_are_given() else "trained"

    def _negatives(self, n_items: int) -> str:
        """Return ``negatives`` with "auto" resolved: whichever makes a step cost less."""
        if self.negatives != "auto":
            return self.negatives
        n_sampled = self.batch_size + N_UNIFORM
        return "all" if n_items <= _COST_OF_SAMPLING * n_sampled else "sampled"

    def _max_iter(self, last: LastFit | None) -> int:
        """Return ``max_iter`` with "auto" resolved."""
        if self.max_iter == "auto":
            return (_MOST_EPOCHS if last is None else _WARM_EPOCHS)[self._item_tower()]
        return int(self.max_iter)

    def _settings(
        self,
        hidden_layer_sizes: tuple[int, ...],
        decays: tuple[float, ...],
        last: LastFit | None = None,
    ) -> Settings:
        """Return the settings of training."""
        max_iter = self._max_iter(last)
        pace = 1 if last is None else _WARM_RATE[self.item_tower_]
        return Settings(
            hidden_layer_sizes=hidden_layer_sizes,
            decays=decays,
            learn_items=self.item_tower_ == "trained",
            sampled=self.negatives_ == "sampled",
            temperature=None if self.temperature == "learn" else float(self.temperature),
            dropout=float(self.dropout),
            event_dropout=float(self.event_dropout),
            label_smoothing=float(self.label_smoothing),
            learning_rate=float(self.learning_rate_init) * pace,
            alpha=float(self.alpha),
            batch_size=int(self.batch_size),
            max_iter=max_iter,
            n_iter_no_change=int(self.n_iter_no_change) if self.early_stopping else max_iter,
            max_history=self.max_history,
            verbose=self.verbose,
        )

    def _encode_events(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        starts, stops, vectors = events.offsets[:-1], events.offsets[1:], self.item_vectors_
        found = encode(
            sequences_of(events), starts, stops, self.parameters_, vectors, self.max_history
        )
        return with_user_features(self.user_map_, *found, events)

    def _fitted_arrays(self) -> list[np.ndarray]:
        arrays = [tower[name] for tower in self.parameters_ for name in sorted(tower)]
        return arrays if self.user_map_ is None else arrays + self.user_map_.arrays()


def _checked_sizes(sizes: Any) -> tuple[int, ...]:
    """Return the sizes of the hidden layers as a tuple; raise if they are invalid."""
    sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
    if not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must be positive integers, got {sizes}. Use () for none."
        )
    return tuple(int(size) for size in sizes)


def _checked_decays(decays: Any) -> tuple[float, ...]:
    """Return the initial decays as a tuple; raise if they are invalid."""
    decays = tuple(np.asarray(decays, dtype=np.float64).ravel().tolist())
    if not decays or not all(np.isfinite(decay) and decay >= 0 for decay in decays):
        raise ValueError(f"decays must be one number >= 0 per channel, got {decays}.")
    return decays


def _check_known(items: ItemEmbeddings, histories: Histories, appended: np.ndarray | None) -> None:
    """Raise if there is nothing to learn from. ``appended`` marks the events that come from y."""
    known = items.rows_of(histories) >= 0
    if not known.any():
        raise ValueError(
            f"{nothing_known(items, histories)} There is nothing to learn from. Pass "
            "histories with items of item_embeddings, or set item_embeddings=None."
        )
    if appended is not None and not (appended & known).any():
        raise ValueError(
            f"targets='y' learns from item ids, but none of the {int(appended.sum())} ids in y "
            "is in the item space. Pass the items that came next, or set targets='history'."
        )
