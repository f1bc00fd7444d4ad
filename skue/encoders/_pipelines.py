"""Find the encoder or the ranker inside a pipeline or search, and the steps around it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import joblib
import numpy as np
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skue._estimator import import_optional
from skue.encoders._base import UserEncoder
from skue.encoders._recommender import Recommender
from skue.histories._forms import dense_output
from skue.items._item_embeddings import ItemEmbeddings


class FoundEncoder(NamedTuple):
    """An encoder, and the steps around it.

    Parameters
    ----------
    encoder : UserEncoder
    before : tuple of callables
        Transformations of the histories before the encoder.
    after : tuple of objects with ``transform``
        Steps after the encoder.
    """

    encoder: UserEncoder
    before: tuple[Callable[[Any], Any], ...] = ()
    after: tuple[Any, ...] = ()

    def histories(self, X: Any) -> Any:
        """Return the input of the encoder for an input X of the estimator."""
        for change in self.before:
            X = change(X)
        return X

    def item_vectors(self) -> np.ndarray:
        """Return the item vectors, transformed by the steps after the encoder.

        Returns
        -------
        vectors : ndarray of shape (n_items, n_dims)
        """
        vectors = _packed(self.encoder, self.encoder.item_vectors_)
        for step in self.after:
            vectors = step.transform(vectors)
        return vectors.toarray() if sp.issparse(vectors) else np.asarray(vectors)

    @property
    def space_id(self) -> str:
        """Name of the space of the vectors that the estimator returns."""
        space_id = self.encoder.space_id_
        changes = [step for step in self.after if getattr(step, "weight", None) != 1]
        if not changes:
            return space_id
        try:
            # Pickling changes the memory layout of some arrays and with it the hash, so hash the
            # steps as they are after loading.
            changes = pickle.loads(pickle.dumps(changes))
        except Exception as error:
            raise ValueError(
                f"The steps after the encoder cannot be pickled ({error}), so their space has no "
                "name. Replace lambdas and local functions by functions of a module."
            ) from error
        return f"{space_id}+{joblib.hash(changes)[:16]}"

    def items(self) -> ItemEmbeddings:
        """Return the items, transformed by the steps after the encoder."""
        items = self.encoder.item_embeddings_
        if not self.after:
            return items
        space_id = self.space_id
        alignment: dict[str, Any] = {}
        if space_id == items.space_id:  # no step changes the vectors
            alignment = {"aligned_with": items.aligned_with, "agreement": items.agreement}
        return ItemEmbeddings(self.item_vectors(), items.ids, space_id=space_id, **alignment)


class FoundRanker(NamedTuple):
    """A recommender that scores all items itself, and the transformations before it."""

    ranker: Recommender
    before: tuple[Callable[[Any], Any], ...] = ()

    def histories(self, X: Any) -> Any:
        """Return the input of the ranker for an input X of the estimator."""
        for change in self.before:
            X = change(X)
        return X


def unwrapped(estimator: Any) -> Any:
    """Return the estimator inside searches and frozen estimators, or the estimator itself."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "estimator") and hasattr(estimator, "refit"):
            message = "This %(name)s has no best_estimator_: fit it, with refit=True."
            check_is_fitted(estimator, "best_estimator_", msg=message)
            estimator = estimator.best_estimator_
        else:
            return estimator


def find_ranker(estimator: Any) -> FoundRanker | None:
    """Return the estimator, or the end of a Pipeline or search, if it scores items itself."""
    estimator = unwrapped(estimator)
    if isinstance(estimator, Recommender) and not isinstance(estimator, UserEncoder):
        return FoundRanker(estimator)
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if not _does_nothing(step)]
        last = find_ranker(steps[-1]) if steps else None
        before = tuple(step.transform for step in steps[:-1])
        return None if last is None else FoundRanker(last.ranker, before + last.before)
    return None


def find_encoder(estimator: Any) -> FoundEncoder:
    """Find the encoder whose vectors an estimator returns.

    Parameters
    ----------
    estimator : fitted estimator
        An encoder; a Pipeline with an encoder; a ColumnTransformer whose only output is one
        encoder; a search or FrozenEstimator; and any nesting of these.

    Returns
    -------
    found : FoundEncoder

    Raises
    ------
    ValueError
        If there is no encoder, if its vectors are not the only output, or if a later step has no
        ``transform``. The message names the steps. If the estimator is not fitted, the error is a
        ``NotFittedError``.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skue import DecayAverageUserEncoder
    >>> from skue.encoders._pipelines import find_encoder
    >>> pipeline = make_pipeline(DecayAverageUserEncoder([[1, 0], [0, 1]])).fit([[0], [1]])
    >>> find_encoder(pipeline).encoder is pipeline[0]
    True
    """
    found = _find(estimator)
    if found is None:
        raise ValueError(
            f"{type(estimator).__name__} has no user encoder, so there are no item vectors to "
            f"search{_named_steps(estimator)}. Pass a fitted user encoder, or a Pipeline, "
            "ColumnTransformer or search around one."
        )
    return found


def _find(estimator: Any) -> FoundEncoder | None:
    estimator = unwrapped(estimator)
    if isinstance(estimator, UserEncoder):
        check_is_fitted(estimator, "fallback_vector_")
        return FoundEncoder(estimator)
    if hasattr(estimator, "encoder_"):  # a second stage on top of an encoder
        return _find(estimator.encoder_)
    if isinstance(estimator, Pipeline):
        return _find_in_pipeline(estimator)
    if isinstance(estimator, ColumnTransformer):
        return _find_in_columns(estimator)
    return None


def _find_in_pipeline(pipeline: Pipeline) -> FoundEncoder | None:
    steps = [(name, step) for name, step in pipeline.steps if not _does_nothing(step)]
    for at, (_, step) in enumerate(steps):
        found = _find(step)
        if found is None:
            continue
        for name, later in steps[at + 1 :]:
            if not hasattr(later, "transform"):
                raise ValueError(
                    f"Step {name!r} ({type(later).__name__}) after the encoder has no transform, "
                    "so the pipeline returns no user vectors. Pass pipeline[:-1]."
                )
        before = tuple(earlier.transform for _, earlier in steps[:at])
        after = tuple(later for _, later in steps[at + 1 :])
        return FoundEncoder(found.encoder, before + found.before, found.after + after)
    return None


def _find_in_columns(columns: ColumnTransformer) -> FoundEncoder | None:
    check_is_fitted(columns, "output_indices_")
    widths = {name: part.stop - part.start for name, part in columns.output_indices_.items()}
    outputs = [(name, step) for name, step, _ in columns.transformers_ if widths.get(name)]
    found = next((inside for _, step in outputs if (inside := _find(step)) is not None), None)
    if found is None:
        return None
    if len(outputs) > 1:
        raise ValueError(
            "A ColumnTransformer must have one user encoder as its only output; its outputs are "
            f"{[name for name, _ in outputs]}."
        )
    name = outputs[0][0]
    selection = next(selection for other, _, selection in columns.transformers_ if other == name)

    def select(X: Any) -> Any:
        return _safe_indexing(X, _as_labels(columns, selection, X), axis=1)

    packing = _Packing(columns, (columns.transformer_weights or {}).get(name))
    return FoundEncoder(found.encoder, (select, *found.before), (*found.after, packing))


class _Packing:
    """How a ColumnTransformer changes the output of its one encoder."""

    def __init__(self, holder: Any, weight: float | None) -> None:
        self.holder, self.weight = holder, 1 if weight is None else weight

    def transform(self, vectors: Any) -> Any:
        vectors = vectors.toarray() if sp.issparse(vectors) else np.asarray(vectors)
        return _packed(self.holder, vectors * self.weight if self.weight != 1 else vectors)

    def __getstate__(self) -> dict[str, Any]:
        # The only part that affects the space.
        return {"weight": self.weight}


def _packed(estimator: Any, vectors: np.ndarray) -> Any:
    """Return vectors in the container that the estimator's ``transform`` returns."""
    container = dense_output(estimator)
    if container == "default":
        return vectors
    names = list(estimator.get_feature_names_out())
    if container == "pandas":
        return import_optional("pandas", "io").DataFrame(vectors, columns=names)
    return import_optional("polars", "io").DataFrame(vectors, schema=names, orient="row")


def _as_labels(columns: ColumnTransformer, selection: Any, X: Any) -> Any:
    """Return positional columns as names, because a later frame may have another order."""
    names = getattr(columns, "feature_names_in_", None)
    if names is None or not hasattr(X, "columns"):
        return selection
    if isinstance(selection, slice):
        is_position = not any(isinstance(end, str) for end in (selection.start, selection.stop))
    else:
        selection = np.asarray(selection)
        is_position = selection.dtype.kind in "iub"
    picked = names[selection] if is_position else selection
    return picked if isinstance(picked, (str, slice)) else picked.tolist()


def _does_nothing(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _named_steps(estimator: Any) -> str:
    for name in ("steps", "transformers", "transformer_list"):
        if hasattr(estimator, name):
            return f"; its steps are {[step[0] for step in getattr(estimator, name)]}"
    return ""
